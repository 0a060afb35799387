"""Questions in natural language from files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from kalm.config import QuestionsFormat
from kalm.graph.account import Account, Ledger
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.rows import read_rows
from kalm.kgqa.asked import NO_ANSWER, NO_TOPIC, SCORED, Asked
from kalm.kgqa.question_lines import WITH_ANSWERS, read_question_lines
from kalm.kgqa.scoring import Vocabulary

TASK = "question"
T = TypeVar("T")
_FREEBASE = "www.freebase.com"


class QuestionFile(NamedTuple):
    """The questions of a file, and what its lines came to."""

    asked: list[Asked]
    account: Account


def read_questions(
    path: Path, file_format: QuestionsFormat, graph: KnowledgeGraph, entities: Vocabulary, max_bad_lines: int
) -> QuestionFile:
    """The questions of a file, each with the entities that are its topic and its answers.

    A question without an answer that is an entity, or with a topic that is none, is there with its status.

    Args:
        path: the file, packed or not.
        file_format: of its lines.
        graph: that is asked about.
        entities: its names and aliases.
        max_bad_lines: that may be left out and counted.

    Raises:
        ValueError: it holds no question, or more of its lines are bad than may be.
    """
    account = Ledger(max_bad_lines, "max_bad_lines").open(path)
    if file_format is QuestionsFormat.answers:
        asked = list(_read_answers(path, account, entities))
    else:
        asked = list(_read_simplequestions(path, account, graph))
    if not asked:
        raise ValueError(f"{path}: no question; expected lines such as {_SHOWN[file_format]}")
    return QuestionFile(asked, account)


_SHOWN = {
    QuestionsFormat.answers: "`which films did [Ann] write<TAB>Moss|Fern`",
    QuestionsFormat.simplequestions: "`www.freebase.com/m/0a<TAB>www.freebase.com/r<TAB>www.freebase.com/m/0b<TAB>?`",
}


def sample_questions(asked: list[T], size: int | None, seed: int) -> list[T]:
    """At most `size` of them in their order, drawn without repetition, those set apart among them."""
    if size is None or size >= len(asked):
        return asked
    return [asked[row] for row in np.sort(np.random.default_rng(seed).choice(len(asked), size, replace=False))]


def _read_answers(path: Path, account: Account, entities: Vocabulary) -> Iterator[Asked]:
    """`question<TAB>answer|answer`; the topic entities stand in brackets, if any are marked."""
    for line, text, names, answers in read_question_lines(path, WITH_ANSWERS, account):
        topics = [entities.named(name) for name in names]
        meant = [entities.named(answer) for answer in answers]
        # a name of several entities is right for each of them: the file does not say which is meant
        known = each_once(meant)
        yield Asked(
            task=TASK,
            number=line,
            text=text,
            topics=each_once(topics),
            known=known,
            num_lost=sum(not ids for ids in meant),
            status=_status(all(topics), bool(known)),
        )


def each_once(groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """All entities of the groups in their order."""
    return tuple(dict.fromkeys(entity for group in groups for entity in group))


def _read_simplequestions(path: Path, account: Account, graph: KnowledgeGraph) -> Iterator[Asked]:
    """`subject<TAB>relation<TAB>object<TAB>question` with Freebase's addresses; the object is the answer."""
    place_of = {label: place for place, label in enumerate(graph.entity_labels)}

    def fault(row: list[str]) -> str | None:
        if not row[3].strip():
            return "no question"
        return next((f"{part[:80]!r} is no address of Freebase" for part in row[:3] if _label(part) is None), None)

    for line, (subject, _, answer, text) in read_rows(path, range(4, 5), account, fault):
        topic, known = (place_of.get(_label(part) or "") for part in (subject, answer))
        yield Asked(
            task=TASK,
            number=line,
            text=text.strip(),
            topics=() if topic is None else (topic,),
            known=() if known is None else (known,),
            num_lost=int(known is None),
            status=_status(topic is not None, known is not None),
        )


def _status(has_topic: bool, has_answer: bool) -> str:
    if not has_topic:
        return NO_TOPIC
    return SCORED if has_answer else NO_ANSWER


def _label(address: str) -> str | None:
    """`www.freebase.com/m/0abc` -> `/m/0abc`, as FB15k-237 calls entities."""
    address = address.strip()
    return address.removeprefix(_FREEBASE) if address.startswith(f"{_FREEBASE}/") else None
