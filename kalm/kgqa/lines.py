"""The stored form of a question and its answers: one object per question and system."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.kgqa.asked import SCORED, Asked
from kalm.kgqa.options import Options
from kalm.kgqa.scoring import score

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One answer.

    Args:
        text: as it counts: a name, or what was written up to a description.
        ids: of all options that it may mean.
        log_probability: of the text; its score, see `likelihood.SCORE`, where options were tried one by one.
        num_tokens: with the end; None where options were tried one by one.
        is_complete: it has ended.
        path: the triples that lead to it, where such were walked.
    """

    text: str
    ids: tuple[int, ...]
    log_probability: float
    num_tokens: int | None
    is_complete: bool
    path: Sequence[tuple[int, int, int]] | None = None


def question_line(question: Asked, graph: KnowledgeGraph, prompt: str) -> Line:
    """What was asked, with the labels of the graph's files."""
    line: Line = {"task": question.task, "question": question.number, "status": question.status}
    if question.text:
        line["text"] = question.text
        line["topics"] = [graph.entity_labels[place] for place in question.topics]
        line["answers_lost"] = question.num_lost
    else:
        line["triple"] = _in_labels(question.triple, graph)
    return {**line, "prompt": prompt}


def answered_line(
    line: Line, question: Asked, answers: Sequence[Found], ranks: Ranks | None, options: Options, graph: KnowledgeGraph
) -> Line:
    """The line with what is right, what was answered, and what that is worth."""
    names = options.vocabulary
    line["right"] = [[options.labels[place], *names.texts_of(place)] for place in question.known]
    line["own"] = None if question.own is None else options.labels[question.own]
    if question.status != SCORED:
        return line
    line["answers"] = [
        {
            "text": found.text,
            "ids": [options.labels[place] for place in found.ids],
            "log_probability": round(found.log_probability, 6),
            "num_tokens": found.num_tokens,
            "complete": found.is_complete,
        }
        | ({} if found.path is None else {"path": [_in_labels(triple, graph) for triple in found.path]})
        for found in answers
    ]
    texts, ids = [found.text for found in answers], [found.ids for found in answers]
    line["scores"] = score(texts, ids, question.own, question.known, names).as_json()
    if ranks is not None:  # one per right answer that is ranked: optimistic, pessimistic, candidates
        line["ranks"] = [list(row) for row in zip(*(column.tolist() for column in ranks), strict=True)]
    return line


def judged_line(line: Line, question: Asked, verdict: Line) -> Line:
    """The line of a judgement: whether the triple is true, what was found, and what the system says."""
    line["is_true"] = question.is_true
    return line | (verdict if question.status == SCORED else {})


def _in_labels(directed: tuple[int, int, int], graph: KnowledgeGraph) -> list[str]:
    """A triple as the graph has it, whichever way it was asked or walked."""
    head, relation, tail = directed
    if relation >= graph.num_relations:
        head, relation, tail = tail, relation - graph.num_relations, head
    return [graph.entity_labels[head], graph.relation_labels[relation], graph.entity_labels[tail]]
