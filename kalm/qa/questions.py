"""The questions of a file as they are asked, with the entities that they name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.kgqa.asked import NO_ANSWER, NO_TOPIC, SCORED, Asked
from kalm.kgqa.question_files import TASK, each_once, sample_questions
from kalm.kgqa.scoring import Vocabulary
from kalm.rationale.question import Kind, Question, read_questions


class Item(NamedTuple):
    """A question as the file has it, and as it is asked."""

    question: Question
    asked: Asked


def read_items(
    path: Path, graph: KnowledgeGraph, entities: Vocabulary, num_questions: int | None, seed: int
) -> list[Item]:
    """The questions in their order, at most so many, drawn without repetition.

    What cannot be scored is there with its status: a short question whose topic, given in the file, or whose answers
    are no entities; any question without an answer.

    Raises:
        ValueError: there is no such file, a line is no question, or the file has none.
    """
    questions = list(read_questions(path))
    if not questions:
        raise ValueError(f"{path}: the file has no question")
    place_of = {label: place for place, label in enumerate(graph.entity_labels)}
    drawn = sample_questions(questions, num_questions, seed)
    return [Item(question, _asked(question, entities, place_of)) for question in drawn]


def _asked(question: Question, entities: Vocabulary, place_of: Mapping[str, int]) -> Asked:
    is_short = question.kind is Kind.short_answer
    topics = _named(question.links or (), entities, place_of)
    texts = question.answers if question.answer_links is None else question.answer_links
    meant = _named(texts, entities, place_of) if is_short else []
    known = each_once(meant)
    status = SCORED
    if is_short and not all(topics):
        status = NO_TOPIC
    elif not question.answers or (is_short and not known):
        status = NO_ANSWER
    return Asked(
        task=TASK, number=question.number, text=question.text, topics=each_once(topics), known=known,
        num_lost=sum(not ids for ids in meant), status=status,
    )  # fmt: skip


def _named(texts: Sequence[str], entities: Vocabulary, place_of: Mapping[str, int]) -> list[tuple[int, ...]]:
    """The entities of each name, or else of each label."""
    found = []
    for text in texts:
        label = place_of.get(text)
        found.append(entities.named(text) or (() if label is None else (label,)))
    return found
