"""Ask a trained run: name two parts of a triple, get the third."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kalm.config import PredictConfig
from kalm.evaluation import report
from kalm.evaluation.embedding_cache import cached_entity_embeddings
from kalm.evaluation.encoding import encode_entities, encode_new_entities
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.loaded_run import LoadedRun, load_run
from kalm.evaluation.triple_scores import SCORE
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples
from kalm.provenance import write_text
from kalm.serving.answers import Answers, best_entities, best_relations, known_in
from kalm.serving.new_entities import read_candidates, with_new_entities
from kalm.serving.questions import UNKNOWN, Placed, read_questions, resolve
from kalm.text.ragged import Ids

QUESTIONS_AT_ONCE = 1024
PARTS = {HEAD: "head", RELATION: "relation", TAIL: "tail"}


def predict(config: PredictConfig) -> list[dict[str, Any]]:
    """Answer the question, or the questions of a file; print the answers or write them.

    Everything that is asked is looked up before the first answer, so a fault in one line leaves no answers.

    Returns:
        Per question the object that is its line in JSON, in the order they were asked.

    Raises:
        ValueError: a question or a candidate is at fault, or the run is (see `load_run`).
    """
    questions = [Placed("", config)] if config.input is None else read_questions(config.input)
    candidates = [] if config.candidates is None else read_candidates(Path(config.candidates).expanduser())
    output = None if config.output is None else Path(config.output).expanduser()
    if output is not None and not output.absolute().parent.is_dir():
        raise ValueError(f"output: there is no folder {output.parent} for {output.name}")
    seen = load_run(Path(config.run).expanduser())
    run = with_new_entities(seen, candidates)
    num_candidates = run.graph.num_entities
    asked = resolve(questions, run.graph)
    run = with_new_entities(run, asked.described)
    entities = _embeddings(seen, run, config)
    answers = [
        answer if own_id is None else {"id": own_id, **answer}
        for (*_, own_id), answer in zip(
            questions, _answer(run, entities, asked.triples, num_candidates, config), strict=True
        )
    ]
    lines = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    if output is not None:
        write_text(output, lines)
    elif config.json or config.input is not None:
        print(lines, end="")
    else:
        _print(answers[0], run, num_candidates)
    return answers


def _embeddings(seen: LoadedRun, run: LoadedRun, config: PredictConfig) -> Tensor:
    """Unit vectors of all entities: those of the graph from the cache, then the new ones."""
    batch_tokens = config.ranking.batch_tokens
    if config.cache_embeddings:
        known = cached_entity_embeddings(seen, batch_tokens)
    else:
        known = encode_entities(seen.encoder, seen.table, batch_tokens)
    return encode_new_entities(run.encoder, run.table, batch_tokens, known)


def _answer(
    run: LoadedRun, entities: Tensor, asked: Triples, num_candidates: int, config: PredictConfig
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = [{} for _ in asked]
    asks_relation = asked[:, RELATION] == UNKNOWN
    candidates = EntityIndex(entities[:num_candidates])
    for rows in (np.flatnonzero(~asks_relation), np.flatnonzero(asks_relation)):
        if len(rows) == 0:
            continue
        blocks = [
            best_relations(run, entities, asked[block], k=config.k, config=config.ranking)
            if asks_relation[rows[0]]
            else best_entities(run, candidates, asked[block], k=config.k, config=config.ranking)
            for block in _blocks(rows)
        ]
        best = Answers(*(torch.cat(column) for column in zip(*blocks, strict=True)))
        splits = known_in(run.graph, asked[rows], best.ids)
        columns = (best.ids.tolist(), best.scores.tolist(), best.ranks.tolist(), splits)
        for row, *found in zip(rows, *columns, strict=True):
            answers[row] = _in_words(run.graph, asked[row].tolist(), zip(*found, strict=True))
    return answers


def _blocks(rows: Ids) -> list[Ids]:
    return [rows[start : start + QUESTIONS_AT_ONCE] for start in range(0, len(rows), QUESTIONS_AT_ONCE)]


def _in_words(
    graph: KnowledgeGraph, asked: list[int], predictions: Iterable[tuple[int, float, float, str | None]]
) -> dict[str, Any]:
    """One question with its answers, in labels and names; an answer is its id, score, rank and split."""
    column = asked.index(UNKNOWN)
    kind = "relation" if column == RELATION else "entity"
    line: dict[str, Any] = {"unknown": PARTS[column]}
    for part, name in PARTS.items():
        if part != column:
            line[name], line[f"{name}_name"] = _label_and_name(graph, part, asked[part])
    line["predictions"] = []
    for answer, score, rank, split in predictions:
        label, name = _label_and_name(graph, column, answer)
        line["predictions"].append({
            "rank": rank, kind: label, "name": name, "score": round(score, 6), "known": split is not None,
            "known_in": split,
        })  # fmt: skip
    return line


def _label_and_name(graph: KnowledgeGraph, column: int, number: int) -> tuple[str | None, str]:
    if column == RELATION:
        return graph.relation_labels[number], graph.relation_names[number]
    # an entity that a question brought with it has no label
    return graph.entity_labels[number] or None, graph.entity_names[number]


def _print(answer: dict[str, Any], run: LoadedRun, num_candidates: int) -> None:
    parts = ", ".join(answer.get(f"{name}_name", "?") for name in PARTS.values())
    if answer["unknown"] == "relation":
        how = f"{SCORE}; {run.graph.num_relations:,} relations"
    else:
        how = f"cosine of query and entity; {num_candidates:,} entities"
    rows = [
        (f"{found['rank']:g}", found["name"], found.get("entity") or found.get("relation") or "",
         f"{found['score']:.4f}", found["known_in"] or "new")
        for found in answer["predictions"]
    ]  # fmt: skip
    report.print_columns(f"({parts})  {run.folder.name}, step {run.description['step']}",
                         ("rank", "name", "label", "score", "known in"), rows, f"score: {how}")  # fmt: skip
