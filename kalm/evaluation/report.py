"""What an evaluation leaves behind: files in the run's folder, and a table for people."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from kalm.distributed import rank
from kalm.evaluation import sections
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.kgc import Embedded
from kalm.evaluation.metrics import HITS_AT, METRICS
from kalm.evaluation.questions import DIRECTIONS, Questions
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, first_split_with
from kalm.provenance import file_digest, whole_file, write_text

ENTITIES_AT_ONCE = 2**16  # vectors copied together


def write_ranks(path: Path, questions: Questions, ranks: Ranks) -> None:
    """One line per query: head, relation, tail, direction, rank (realistic), optimistic, pessimistic, candidates."""
    graph = questions.graph
    columns = zip(
        questions.directed.tolist(), ranks.realistic.tolist(), *(column.tolist() for column in ranks), strict=True
    )
    lines = []
    for query, realistic, optimistic, pessimistic, num_candidates in columns:
        anchor, relation, direction = describe_query(query, graph)
        answer = graph.entity_labels[query[TAIL]]
        head, tail = (anchor, answer) if direction == "tail" else (answer, anchor)
        lines.append(
            f"{head}\t{relation}\t{tail}\t{direction}\t{realistic:.1f}\t{optimistic}\t{pessimistic}\t{num_candidates}\n"
        )
    write_text(path, "".join(lines))


def write_predictions(
    path: Path, questions: Questions, embedded: Embedded, *, num_predictions: int, filter_splits: Sequence[str]
) -> None:
    """One object per query: the query in ids and names, and its best entities, known in `filter_splits` or new.

    All processes call it, since each may hold a part of the entities; one writes.
    """
    graph = questions.graph
    scores, ids = embedded.index.search(embedded.queries, num_predictions)
    if rank() > 0:
        return
    answered = np.repeat(questions.directed, ids.shape[1], axis=0)
    answered[:, TAIL] = ids.flatten().numpy()
    known_in = first_split_with(graph, answered, filter_splits).reshape(ids.shape)
    columns = (questions.directed.tolist(), scores.tolist(), ids.tolist(), known_in.tolist())
    lines = []
    for query, row_scores, row_ids, row_splits in zip(*columns, strict=True):
        anchor, relation, direction = describe_query(query, graph)
        relation_id = query[RELATION] % graph.num_relations
        predictions = []
        for score, entity, split in zip(row_scores, row_ids, row_splits, strict=True):
            if score == -np.inf:  # an approximate index found no more
                break
            predictions.append({
                "entity": graph.entity_labels[entity],
                "name": graph.entity_names[entity],
                "score": round(score, 6),
                "known_in": split,
                "known": split is not None,
            })  # fmt: skip
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


def write_embeddings(folder: Path, questions: Questions, embedded: Embedded) -> dict[str, str]:
    """entities.npy and queries.npy, each with a .tsv that names its rows; all processes call it, one writes.

    Returns:
        File name -> its SHA-256, which tells whether a later evaluation has written others in its place.
    """
    graph = questions.graph
    blocks = _blocks_of_entities(embedded.index)
    if rank() > 0:
        for _ in blocks:  # its part in each
            pass
        return {}
    paths = [folder / name for name in ("entities.npy", "queries.npy")]
    with whole_file(paths[0]) as entities, whole_file(paths[1]) as queries:
        # not through a memory map, which a full disk ends without a word
        with entities.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (graph.num_entities, embedded.index.size)}
            np.lib.format.write_array_header_1_0(file, header)
            for vectors in blocks:
                vectors.numpy().tofile(file)
        np.save(queries, embedded.queries.numpy())
    write_text(folder / "entities.tsv", "".join(f"{label}\n" for label in graph.entity_labels))
    write_text(
        folder / "queries.tsv",
        "".join("\t".join(describe_query(query, graph)) + "\n" for query in questions.directed.tolist()),
    )
    return {path.name: file_digest(path) for path in paths}


def _blocks_of_entities(index: EntityIndex) -> Iterator[Tensor]:
    """All entities' vectors in the order of ids, whichever process holds them; all processes take part."""
    for start in range(0, index.num_entities, ENTITIES_AT_ONCE):
        yield index.vectors_of(np.arange(start, min(start + ENTITIES_AT_ONCE, index.num_entities)))


def describe_query(query: list[int], graph: KnowledgeGraph) -> tuple[str, str, str]:
    """Labels of the known entity (anchor) and of the relation, and the direction asked."""
    direction = DIRECTIONS[query[RELATION] >= graph.num_relations]
    return graph.entity_labels[query[HEAD]], graph.relation_labels[query[RELATION] % graph.num_relations], direction


def print_table(
    title: str, rows: Mapping[str, Mapping[str, float]], caption: str, mrr_intervals: Mapping[str, Sequence[float]]
) -> None:
    """Metrics side by side, one row per system, some with the interval of their MRR."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("")
    for name in ("MR", "MRR", "95 % of MRR", *(f"Hits@{k}" for k in HITS_AT), "AMRI", "queries"):
        table.add_column(name, justify="right")
    for name, metrics in rows.items():
        hits = [f"{metrics[f'hits@{k}']:.3f}" for k in HITS_AT]
        low_high = " - ".join(f"{value:.3f}" for value in mrr_intervals.get(name, ()))
        table.add_row(
            name, f"{metrics['mr']:.2f}", f"{metrics['mrr']:.3f}", low_high, *hits, f"{metrics['amri']:.3f}",
            f"{metrics['count']:,}",
        )  # fmt: skip
    _console().print(table)


def in_words(protocol: dict[str, Any]) -> str:
    """The protocol, for the line under a table."""
    parts = [
        f"filtered by {' + '.join(protocol['filter'])}",
        f"ties {protocol['ties']}",
        f"{protocol['num_candidates']:,} candidates ({protocol['candidates']})",
    ]
    if protocol["num_unseen"]:
        parts.append(f"triples with an entity unseen in training: {protocol['num_unseen']:,}, {protocol['unseen']}")
    if protocol["num_duplicates"]:
        parts.append(f"duplicated triples: {protocol['num_duplicates']:,}, {protocol['duplicates']}")
    return "; ".join([*parts, "intervals over triples"])


def print_differences(title: str, result: Mapping[str, Any], caption: str) -> None:
    """Paired differences by metric and direction; those whose interval leaves out 0 are marked."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    names = (Path(result[place]).name for place in ("first", "second"))
    for name in ("", "metric", *names, "difference", "95 %", ""):
        table.add_column(name, justify="left" if not name or name == "metric" else "right")
    for group in ("both", "tail", "head"):
        for metric in METRICS:
            row = result[group][metric]
            low, high = row["interval"]
            table.add_row(
                group if metric == METRICS[0] else "", metric, f"{row['first']:.3f}", f"{row['second']:.3f}",
                f"{row['difference']:+.3f}", f"{low:+.3f} - {high:+.3f}", "" if low <= 0 <= high else "*",
            )  # fmt: skip
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


def low_high(interval: Sequence[float] | None, *, digits: int = 3, sign: str = "") -> str:
    """An interval in a table; a dash where there is none, as of one cluster alone."""
    return "–" if interval is None else " - ".join(f"{value:{sign}.{digits}f}" for value in interval)


def print_columns(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
    """Rows of texts under their columns' names."""
    table = Table(title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(escape(text) for text in row))
    _console().print(table)


def print_section_tables(tables: Iterable[sections.Table]) -> None:
    """Tables of a run's page, as they stand there."""
    for table in tables:
        print_columns(table.title, table.header, [[str(cell) for cell in row] for row in table.rows], table.caption)


def print_classification(result: Mapping[str, Any]) -> None:
    """Accuracies of triple classification, in one row."""
    metrics = result["metrics"]
    negatives = " and ".join(f"{how} for {split}" for split, how in result["protocol"]["negatives"].items())
    shares = (f"{metrics[key]:.3f}" for key in ("accuracy", "balanced_accuracy", "f1"))
    counts = (f"{metrics[key]:,}" for key in ("num_true", "num_false"))
    print_columns(
        "triple classification",
        ("", "accuracy", "balanced", "F1", "true", "false"),
        [("trained LM", *shares, *counts)],
        f"thresholds per relation, chosen on valid; false triples {negatives}",
    )


def print_facts(title: str, facts: Sequence[tuple[str, str]], caption: str = "") -> None:
    """Names and what is to be said of each."""
    table = Table(
        title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left", show_header=False
    )
    for name, fact in facts:
        table.add_row(escape(name), escape(fact))
    _console().print(table)


def _console() -> Console:
    # wide enough for a table in a log file, where rich would guess 80 columns
    console = Console()
    return console if console.is_terminal else Console(width=120)
