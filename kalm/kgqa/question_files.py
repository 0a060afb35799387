"""Questions in natural language from files, and further names of entities."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kalm.config import QuestionsFormat
from kalm.graph.account import Account, Fault, Ledger
from kalm.graph.files import read_blocks
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.rows import Dialect, parse_exactly
from kalm.kgqa.asked import NO_ANSWER, NO_TOPIC, SCORED, Asked
from kalm.kgqa.scoring import Vocabulary

TASK = "question"
_TOPIC = re.compile(r"\[([^\[\]]+)\]")
_FREEBASE = "www.freebase.com"
SEPARATOR = "|"  # between answers, and between aliases


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
    account = Ledger(max_bad_lines).open(path)
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


def sample_questions(asked: list[Asked], size: int | None, seed: int) -> list[Asked]:
    """At most `size` of them in their order, drawn without repetition, those set apart among them."""
    if size is None or size >= len(asked):
        return asked
    return [asked[row] for row in np.sort(np.random.default_rng(seed).choice(len(asked), size, replace=False))]


def read_aliases(path: Path, graph: KnowledgeGraph, max_bad_lines: int) -> tuple[dict[int, list[str]], int]:
    """Entity id -> further names, from lines `label<TAB>name|name`; and how many labels are no entity's.

    Raises:
        ValueError: more of its lines are bad than may be.
    """
    place_of = {label: place for place, label in enumerate(graph.entity_labels)}
    aliases: dict[int, list[str]] = {}
    num_others = 0
    account = Ledger(max_bad_lines).open(path)
    for _, (label, names) in _rows(path, account, 2, lambda row: None if row[1].strip() else "no name"):
        if (place := place_of.get(label)) is None:
            num_others += 1
        else:
            aliases.setdefault(place, []).extend(_parts(names))
    return aliases, num_others


def _read_answers(path: Path, account: Account, entities: Vocabulary) -> Iterator[Asked]:
    """`question<TAB>answer|answer`; the topic entities stand in brackets, if any are marked."""
    for line, (text, answers) in _rows(path, account, 2, lambda row: None if row[0].strip() else "no question"):
        topics = [entities.named(name) for name in _TOPIC.findall(text)]
        meant = [entities.named(answer) for answer in dict.fromkeys(_parts(answers))]
        # a name of several entities is right for each of them: the file does not say which is meant
        known = tuple(dict.fromkeys(place for ids in meant for place in ids))
        yield Asked(
            task=TASK,
            number=line,
            text=_TOPIC.sub(r"\1", text).strip(),
            topics=tuple(dict.fromkeys(place for ids in topics for place in ids)),
            known=known,
            num_lost=sum(not ids for ids in meant),
            status=_status(all(topics), bool(known)),
        )


def _read_simplequestions(path: Path, account: Account, graph: KnowledgeGraph) -> Iterator[Asked]:
    """`subject<TAB>relation<TAB>object<TAB>question` with Freebase's addresses; the object is the answer."""
    place_of = {label: place for place, label in enumerate(graph.entity_labels)}

    def fault(row: list[str]) -> str | None:
        if not row[3].strip():
            return "no question"
        return next((f"{part[:80]!r} is no address of Freebase" for part in row[:3] if _label(part) is None), None)

    for line, (subject, _, answer, text) in _rows(path, account, 4, fault):
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


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def _rows(
    path: Path, account: Account, num_columns: int, fault: Callable[[list[str]], str | None]
) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of each good line; the others are counted as refused.

    Raises:
        ValueError: more lines are bad than may be.
    """
    dialect = Dialect(separator="\t", quotes=False, widths=range(num_columns, num_columns + 1))
    limit = account.ledger.max_bad_lines or 0
    for block in read_blocks(path, account):
        rows = parse_exactly(block, dialect, limit)
        account.blank += rows.num_blank
        faults, good = list(rows.faults), []
        for line, *columns in zip(rows.lines, *rows.columns, strict=True):
            if reason := fault(columns):
                faults.append(Fault(line, reason, "mend the line"))
            else:
                good.append((line, columns))
        _refuse_all(account, faults)
        account.read += len(good)
        yield from good


def _refuse_all(account: Account, faults: list[Fault]) -> None:
    try:
        account.refuse_all(faults)
    except ValueError as error:  # the key is another one here
        raise ValueError(str(error).replace("data.max_bad_lines", "max_bad_lines")) from None
