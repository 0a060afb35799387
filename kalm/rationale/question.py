"""A question with its answer, and reading them from files."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from kalm.graph.account import Ledger
from kalm.graph.files import PACKED, read_blocks
from kalm.graph.formats.json_text import parse_json
from kalm.kgqa.question_lines import read_question_lines

KEYS = ("question", "answers", "answer", "choices", "kind", "id", "links", "answer_links")
FORM = '{"question": "...", "answers": ["...", ...]}; with choices, {"question", "choices", "answer"}'


class Kind(Enum):
    """How a question is answered."""

    short_answer = "short_answer"  # by names; several may be right
    multiple_choice = "multiple_choice"  # by one of the texts it lists
    free_answer = "free_answer"  # by sentences, in which entities may be named


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Everything that is known of a question.

    Args:
        number: its place among the questions of its file, from 0.
        line: of the file, from 1.
        own_id: the asker's; None where there is none.
        kind: how it is answered.
        text: without brackets.
        answers: what is right, each once; a multiple-choice or free question has one, a broken line of a data set none.
        choices: of a multiple-choice question.
        links: entities of the question by name or label, given in the data; None leaves them to be found.
        answer_links: those of the answers.
    """

    number: int
    line: int
    own_id: str | int | None
    kind: Kind
    text: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    links: tuple[str, ...] | None = None
    answer_links: tuple[str, ...] | None = None


def read_questions(path: Path) -> Iterator[Question]:
    """The questions of a file, packed or not, in bounded memory: `.jsonl`, else lines as MetaQA has them.

    Raises:
        ValueError: there is no such file, or a line is no question.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; expected questions with their answers, as .jsonl or as lines of "
                         "`question with the [topic]<TAB>answer|answer`")  # fmt: skip
    return _of_json(path) if _is_json(path) else _of_lines(path)


def _is_json(path: Path) -> bool:
    return (path.with_suffix("") if path.suffix in PACKED else path).suffix in (".jsonl", ".json")


def _of_lines(path: Path) -> Iterator[Question]:
    for number, (line, text, topics, answers) in enumerate(read_question_lines(path)):
        yield Question(number=number, line=line, own_id=None, kind=Kind.short_answer, text=text, answers=answers,
                       links=topics or None)  # fmt: skip


def _of_json(path: Path) -> Iterator[Question]:
    number = 0
    for block in read_blocks(path, Ledger(max_bad_lines=None).open(path)):
        for line, content in block.numbered_lines():
            if not content.strip():
                continue
            try:
                yield _question(parse_json(content), number, line)
            except ValueError as error:
                raise ValueError(f"{path}:{line}: {error}") from None
            number += 1


def _question(row: Any, number: int, line: int) -> Question:
    if not isinstance(row, dict):
        raise ValueError(f"expected an object such as {FORM}")
    if unknown := [key for key in row if key not in KEYS]:
        raise ValueError(f"unknown key {unknown[0]!r}; the keys are {', '.join(KEYS)}")
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"question must be a text, got {text!r}; expected {FORM}")
    own_id = row.get("id")
    if own_id is not None and type(own_id) not in (str, int):
        raise ValueError(f"id must be a text or a whole number, got {own_id!r}")
    choices = _choices(row)
    kind = _kind(row, choices)
    return Question(
        number=number, line=line, own_id=own_id, kind=kind, text=text.strip(), answers=_answers(row, kind, choices),
        choices=choices, links=_texts(row, "links"), answer_links=_texts(row, "answer_links"),
    )  # fmt: skip


def _kind(row: dict[str, Any], choices: tuple[str, ...]) -> Kind:
    names = [kind.value for kind in Kind]
    implied = Kind.multiple_choice if choices else Kind.short_answer
    given = row.get("kind")
    if given is None:
        return implied
    if given not in names:
        raise ValueError(f"kind must be one of {', '.join(names)}, got {given!r}")
    if (given == Kind.multiple_choice.value) != bool(choices):
        raise ValueError(f"kind {given} does not go with {'choices' if choices else 'a question without choices'}")
    return Kind(given)


def _answers(row: dict[str, Any], kind: Kind, choices: tuple[str, ...]) -> tuple[str, ...]:
    if row.get("answer") is not None and row.get("answers") is not None:
        raise ValueError("answer and answers are both given: take one of them")
    if row.get("answer") is None:
        answers = _texts(row, "answers") or ()
    else:
        answer = row["answer"]
        if choices and type(answer) is int:
            if not 0 <= answer < len(choices):
                raise ValueError(f"answer must be a choice's place from 0 to {len(choices) - 1}, got {answer}")
            answer = choices[answer]
        if not isinstance(answer, str):
            raise ValueError(f"answer must be a text{', or a place among the choices' if choices else ''}, "
                             f"got {answer!r}")  # fmt: skip
        answers = (answer.strip(),) if answer.strip() else ()
    if kind is not Kind.short_answer and len(answers) > 1:
        raise ValueError(f"a {kind.value} question has one answer, got {len(answers)}")
    if missing := [answer for answer in answers if choices and answer not in choices]:
        raise ValueError(f"the answer {missing[0]!r} is none of the choices")
    return answers


def _choices(row: dict[str, Any]) -> tuple[str, ...]:
    """As they are given, since an answer may be a place among them."""
    choices = _stripped(row, "choices") or ()
    if "" in choices or len(set(choices)) < len(choices):
        raise ValueError(f"choices must be different texts, none of them empty, got {list(choices)!r}; give each "
                         "choice once, and an answer that is a place by that in the mended list")  # fmt: skip
    return choices


def _texts(row: dict[str, Any], key: str) -> tuple[str, ...] | None:
    """Each once, without empty ones."""
    found = _stripped(row, key)
    return None if found is None else tuple(dict.fromkeys(filter(None, found)))


def _stripped(row: dict[str, Any], key: str) -> tuple[str, ...] | None:
    found = row.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{key} must be a list of texts, got {found!r}")
    return tuple(text.strip() for text in found)
