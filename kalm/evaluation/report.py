"""What an evaluation leaves behind: files in the run's folder, and a table for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.kgc import DIRECTIONS, Embeddings
from kalm.evaluation.ranking import HITS_AT, Ranks
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples
from kalm.provenance import write_text


def write_ranks(path: Path, queries: Triples, ranks: Ranks, graph: KnowledgeGraph) -> None:
    """One line per query: head, relation, tail, direction, rank (realistic), optimistic, pessimistic."""
    columns = zip(
        queries.tolist(), ranks.realistic.tolist(), ranks.optimistic.tolist(), ranks.pessimistic.tolist(), strict=True
    )
    lines = []
    for query, realistic, optimistic, pessimistic in columns:
        anchor, relation, direction = describe_query(query, graph)
        answer = graph.entity_labels[query[TAIL]]
        head, tail = (anchor, answer) if direction == "tail" else (answer, anchor)
        lines.append(f"{head}\t{relation}\t{tail}\t{direction}\t{realistic:.1f}\t{optimistic}\t{pessimistic}\n")
    write_text(path, "".join(lines))


def write_predictions(
    path: Path,
    queries: Triples,
    embeddings: Embeddings,
    index: EntityIndex,
    graph: KnowledgeGraph,
    *,
    num_predictions: int,
    filter_splits: Sequence[str],
) -> None:
    """One object per query: the query in ids and names, and its best entities, known in `filter_splits` or new."""
    splits = {split: set(map(tuple, graph.triples[split].tolist())) for split in filter_splits}
    scores, ids = index.search(embeddings.queries, num_predictions)
    lines = []
    for query, row_scores, row_ids in zip(queries.tolist(), scores.tolist(), ids.tolist(), strict=True):
        anchor, relation, direction = describe_query(query, graph)
        relation_id = query[RELATION] % graph.num_relations
        predictions = []
        for score, entity in zip(row_scores, row_ids, strict=True):
            triple = (query[HEAD], relation_id, entity) if direction == "tail" else (entity, relation_id, query[HEAD])
            predictions.append({
                "entity": graph.entity_labels[entity],
                "name": graph.entity_names[entity],
                "score": round(score, 6),
                "known_in": next((split for split, known in splits.items() if triple in known), None),
            })  # fmt: skip
            predictions[-1]["known"] = predictions[-1]["known_in"] is not None
        lines.append(json.dumps({
            "anchor": anchor,
            "anchor_name": graph.entity_names[query[HEAD]],
            "relation": relation,
            "relation_name": graph.relation_names[relation_id],
            "direction": direction,
            "answer": graph.entity_labels[query[TAIL]],
            "answer_name": graph.entity_names[query[TAIL]],
            "predictions": predictions,
        }, ensure_ascii=False) + "\n")  # fmt: skip
    write_text(path, "".join(lines))


def write_embeddings(folder: Path, queries: Triples, embeddings: Embeddings, graph: KnowledgeGraph) -> None:
    """entities.npy and queries.npy, each with a .tsv that names its rows."""
    for name, matrix in (("entities", embeddings.entities), ("queries", embeddings.queries)):
        unfinished = folder / f".unfinished-{name}.npy"
        np.save(unfinished, matrix.numpy())
        unfinished.replace(folder / f"{name}.npy")
    write_text(folder / "entities.tsv", "".join(f"{label}\n" for label in graph.entity_labels))
    write_text(
        folder / "queries.tsv", "".join("\t".join(describe_query(query, graph)) + "\n" for query in queries.tolist())
    )


def describe_query(query: list[int], graph: KnowledgeGraph) -> tuple[str, str, str]:
    """Labels of the known entity (anchor) and of the relation, and the direction asked."""
    direction = DIRECTIONS[query[RELATION] >= graph.num_relations]
    return graph.entity_labels[query[HEAD]], graph.relation_labels[query[RELATION] % graph.num_relations], direction


def print_table(title: str, rows: Mapping[str, Mapping[str, float]], caption: str) -> None:
    """Metrics side by side, one row per system."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("")
    for name in ("MR", "MRR", *(f"Hits@{k}" for k in HITS_AT), "queries"):
        table.add_column(name, justify="right")
    for name, metrics in rows.items():
        hits = [f"{metrics[f'hits@{k}']:.3f}" for k in HITS_AT]
        table.add_row(name, f"{metrics['mr']:.2f}", f"{metrics['mrr']:.3f}", *hits, f"{metrics['count']:,}")
    _console().print(table)


def print_measurements(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of `eval/speed.py` side by side."""
    table = Table(title="ratio > 1: kalm is better", title_justify="left")
    for name in ("name", "value", "unit", "baseline", "ratio", "low", "high", "repeats"):
        table.add_column(name, justify="left" if name in {"name", "unit"} else "right")
    for row in rows:
        numbers = (f"{row[key]:,.4g}" if row[key] is not None else "" for key in ("baseline", "ratio", "low", "high"))
        table.add_row(row["name"], f"{row['value']:,.4g}", row["unit"], *numbers, str(row["repeats"]))
    _console().print(table)


def print_columns(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
    """Rows of texts under their columns' names."""
    table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(escape(text) for text in row))
    _console().print(table)


def print_facts(title: str, facts: Sequence[tuple[str, str]], caption: str = "") -> None:
    """Names and what is to be said of each."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", show_header=False)
    for name, fact in facts:
        table.add_row(name, fact)
    _console().print(table)


def _console() -> Console:
    # wide enough for a table in a log file, where rich would guess 80 columns
    console = Console()
    return console if console.is_terminal else Console(width=120)
