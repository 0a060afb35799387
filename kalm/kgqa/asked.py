"""What is asked: one question each, with all that is a right answer to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from kalm.config import QaTask
from kalm.evaluation.questions import Questions
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples, add_inverses
from kalm.graph.known_tails import known_relations

SCORED = "scored"
# why a question is set apart: it is counted, shown, and never right
NO_ANSWER = "no answer in the graph"
NO_TOPIC = "topic is no entity"
TOO_LONG = "longer than the window"
TOO_FEW_SHOTS = "too few examples"


@dataclass(kw_only=True, slots=True)
class Asked:
    """One question.

    Args:
        task: `head`, `tail`, `relation`, `classification` or `question`.
        number: of its triple in the sample, or of its line; questions of one number are no independent trials.
        triple: ids of what it is about, -1 for what is not known; the relation is directed for `head`.
        text: the question in natural language, empty for triples.
        topics: entities that it names.
        own: the answer that is asked for; None where any known one is.
        known: ids of all right answers, `own` among them.
        num_lost: answers that the file gives and that are no entities.
        is_true: of a classification.
        status: `SCORED`, or why it is set apart.
    """

    task: str
    number: int
    triple: tuple[int, int, int] = (-1, -1, -1)
    text: str = ""
    topics: tuple[int, ...] = ()
    own: int | None = None
    known: tuple[int, ...] = ()
    num_lost: int = 0
    is_true: bool = True
    status: str = field(default=SCORED)


def sample_triples(graph: KnowledgeGraph, split: str, size: int | None, seed: int) -> Triples:
    """Distinct triples of a split in its order, at most `size` of them, drawn without repetition.

    Raises:
        ValueError: the split is empty.
    """
    _, first = np.unique(graph.triples[split], axis=0, return_index=True)
    rows = np.sort(first)
    if len(rows) == 0:
        raise ValueError(f"split={split}: the graph has no triple in it; ask another split")
    if size is not None and size < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
    return np.asarray(graph.triples[split][rows])


def ask_entities(graph: KnowledgeGraph, triples: Triples, task: QaTask, filter_splits: Sequence[str]) -> list[Asked]:
    """(h, r, ?) or, by the inverse relation, (t, r⁻¹, ?) for each triple."""
    directed = add_inverses(triples, graph.num_relations)[int(task is QaTask.head) :: 2]
    known = _runs(len(directed), *Questions(graph, directed, filter_splits).known(slice(0, len(directed))))
    return [
        Asked(task=task.value, number=number, triple=(head, relation, tail), topics=(head,), own=tail,
              known=_with_own(tail, answers))
        for number, ((head, relation, tail), answers) in enumerate(zip(directed.tolist(), known, strict=True))
    ]  # fmt: skip


def ask_relations(graph: KnowledgeGraph, triples: Triples, filter_splits: Sequence[str]) -> list[Asked]:
    """(h, ?, t) for each triple."""
    heads, tails = (torch.from_numpy(triples[:, column].copy()) for column in (HEAD, TAIL))
    keys = torch.from_numpy(graph.known_relation_keys(filter_splits))
    sizes = {"num_relations": graph.num_relations, "num_entities": graph.num_entities}
    known = _runs(len(triples), *known_relations(keys, heads, tails, **sizes))
    return [
        Asked(task=QaTask.relation.value, number=number, triple=(head, relation, tail), topics=(head, tail),
              own=relation, known=_with_own(relation, answers))
        for number, ((head, relation, tail), answers) in enumerate(zip(triples.tolist(), known, strict=True))
    ]  # fmt: skip


def ask_truth(true: Triples, false: Triples) -> list[Asked]:
    """Whether (h, r, t) is true, of true triples and as many false ones; a pair has one number."""
    return [
        Asked(task=QaTask.classification.value, number=number, triple=(head, relation, tail), topics=(head, tail),
              is_true=is_true)
        for triples, is_true in ((true, True), (false, False))
        for number, (head, relation, tail) in enumerate(triples.tolist())
    ]  # fmt: skip


def triples_of(asked: Sequence[Asked]) -> Triples:
    """(Q, 3), int64."""
    return np.array([question.triple for question in asked], dtype=np.int64).reshape(-1, RELATION + 2)


def _with_own(own: int, others: Sequence[int]) -> tuple[int, ...]:
    """Its own answer first: the filter's splits may lack it."""
    return (own, *(other for other in others if other != own))


def _runs(num_rows: int, rows: torch.Tensor, ids: torch.Tensor) -> list[list[int]]:
    """The ids of each row, from pairs in ascending rows."""
    ends = np.searchsorted(rows.numpy(), np.arange(num_rows), side="right")
    return [part.tolist() for part in np.split(ids.numpy(), ends[:-1])]
