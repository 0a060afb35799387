"""Questions by lines: `question with the [topic entity]<TAB>answer|answer|...`, as MetaQA writes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kalm.graph.rows import read_rows


class QuestionLine(NamedTuple):
    """One question and what answers it, by name."""

    line: int  # of the file, from 1
    text: str  # without the brackets
    topics: tuple[str, ...]  # what stands in brackets
    answers: tuple[str, ...]  # each once; none where the line has none


def read_question_lines(path: Path) -> Iterator[QuestionLine]:
    """The questions of a file, packed or not, in bounded memory; blank lines are left out.

    Raises:
        ValueError: a line has not one or two columns, has no question, or is not UTF-8 text.
    """
    for line, (marked, *rest) in read_rows(path, range(1, 3)):
        text, topics = without_brackets(marked)
        if not text:
            raise ValueError(f"{path}:{line}: no question; expected `question with the [topic]`, a tab, and answers "
                             "with | between them")  # fmt: skip
        answers = (answer.strip() for answer in "".join(rest).split("|"))
        yield QuestionLine(line, text, topics, tuple(dict.fromkeys(filter(None, answers))))


def without_brackets(marked: str) -> tuple[str, tuple[str, ...]]:
    """The text without its outermost pairs of square brackets, and what stands in them.

    Names may hold brackets themselves: `[[REC] 2]` is the film `[REC] 2`. A bracket without its other half is text.
    """
    text, topics, depth, start = [], [], 0, 0
    for place, character in enumerate(marked):
        if character == "[":
            depth += 1
            if depth == 1:
                text.append(marked[start:place])
                start = place + 1
        elif character == "]" and depth:
            depth -= 1
            if depth == 0:
                topics.append(marked[start:place].strip())
                text.append(marked[start:place])
                start = place + 1
    if depth:
        return " ".join(marked.split()), ()
    return " ".join(("".join(text) + marked[start:]).split()), tuple(dict.fromkeys(filter(None, topics)))
