"""Multiple-choice questions by subject, read from the files of MMLU (Hendrycks et al., arXiv 2009.03300)."""

import csv
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kalm.provenance import file_digest

LETTERS = string.ascii_uppercase
MAX_CHOICES = len(LETTERS)
HEADER = ("question", "answer")  # first and last column; between them the choices


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question; `number` is its place in the file, from 1."""

    subject: str
    number: int
    text: str
    choices: tuple[str, ...]
    answer: int  # its place among the choices, from 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Questions of one file, and examples that go before each."""

    name: str
    examples: list[Question]
    questions: list[Question]
    digests: dict[str, str]  # file name -> SHA-256


def read_exam(folder: Path, subjects: Sequence[str] | None, shots: int, num_questions: int | None) -> list[Subject]:
    """Questions from `test/SUBJECT_test.csv`, and the first `shots` of `dev/SUBJECT_dev.csv` as examples.

    Args:
        folder: with the folders test and, for examples, dev.
        subjects: those to read, None for all, in the order of names.
        shots: examples before each question.
        num_questions: the first so many of each subject, None for all.

    Raises:
        ValueError: a folder, file or subject is missing, a line is no question, or there are too few examples.
    """
    if not (folder / "test").is_dir():
        raise ValueError(
            f"mmlu: {folder} has no folder test; give one with test/SUBJECT_test.csv and dev/SUBJECT_dev.csv"
        )
    names = [path.name.removesuffix("_test.csv") for path in sorted((folder / "test").glob("*_test.csv"))]
    if not names:
        raise ValueError(f"mmlu: {folder / 'test'} has no file SUBJECT_test.csv")
    if unknown := sorted(set(subjects or ()) - set(names)):
        raise ValueError(f"subjects: {folder / 'test'} has no {unknown[0]}_test.csv; it has {', '.join(names)}")
    return [_read_subject(folder, name, shots, num_questions) for name in names if subjects is None or name in subjects]


def _read_subject(folder: Path, name: str, shots: int, num_questions: int | None) -> Subject:
    path = folder / "test" / f"{name}_test.csv"
    digests, examples = {path.name: file_digest(path)}, []
    if shots > 0:
        source = folder / "dev" / f"{name}_dev.csv"
        if not source.is_file():
            raise ValueError(f"shots={shots}: there is no {source} to take examples from; give shots=0")
        examples = list(read_questions(source, name))[:shots]
        digests[source.name] = file_digest(source)
        if len(examples) < shots:
            raise ValueError(f"shots={shots}: {source} holds {len(examples)} questions; give shots={len(examples)}")
    questions = list(read_questions(path, name))
    if not questions:
        raise ValueError(f"{path}: holds no question")
    return Subject(name=name, examples=examples, questions=questions[:num_questions], digests=digests)


def read_questions(path: Path, subject: str) -> Iterator[Question]:
    """Lines `question,choice,...,answer`: the answer as a letter without a header, as a number from 0 below one.

    Raises:
        ValueError: a line is no question; the message names it.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        header, number = None, 0
        try:
            for row in rows:
                place = f"{path}:{rows.line_num}"
                if rows.line_num == 1 and row and (row[0], row[-1]) == HEADER:
                    header = row
                    continue
                if not row:
                    continue
                number += 1
                if header is not None and len(row) != len(header):
                    raise ValueError(f"{place}: {len(row)} columns instead of the header's {len(header)}")
                if not 2 <= len(row) - 2 <= MAX_CHOICES:
                    raise ValueError(f"{place}: {len(row)} columns; a line is a question, 2 to {MAX_CHOICES} choices "
                                     "and the answer, with quotes around what holds a comma")  # fmt: skip
                answer = _answer(row[-1], len(row) - 2, header is not None, place)
                yield Question(subject=subject, number=number, text=row[0], choices=tuple(row[1:-1]), answer=answer)
        except csv.Error as error:
            raise ValueError(f"{path}:{rows.line_num}: no CSV ({error})") from None
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}: not UTF-8 after line {rows.line_num} ({error.reason}); save it as UTF-8"
            ) from None


def _answer(text: str, num_choices: int, is_number: bool, place: str) -> int:
    allowed = [str(number) for number in range(num_choices)] if is_number else list(LETTERS[:num_choices])
    if text.strip() not in allowed:
        raise ValueError(f"{place}: the answer is {text!r}; it must be one of {allowed[0]} to {allowed[-1]}, as there "
                         f"are {num_choices} choices{'' if is_number else ' and no header'}")  # fmt: skip
    return allowed.index(text.strip())
