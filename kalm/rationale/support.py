"""Whether a rationale says what the paths say, and nothing of other entities."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from kalm.graph.paths import Path
from kalm.rationale.name_index import Mention, NameIndex

SENTENCE_ENDS = (".", "!", "?", ":", ";", "\n")


class Verdict(Enum):
    """What is wrong with a rationale."""

    good = "good"
    empty = "empty"
    only_answer = "only_answer"  # it repeats the answer alone
    foreign_entity = "foreign_entity"  # it names an entity that is neither in the paths nor in the question
    no_fact = "no_fact"  # it names both ends of no fact of the paths


class Judgement(NamedTuple):
    """A verdict and what shows it."""

    verdict: Verdict
    reason: str


class Support:
    """The rule, which looks at names alone:

    1. The rationale has words, and other words than those of the answers.
    2. An entity that it names is one of the paths, or is named in what the writer was given (question, answers,
       choices, facts). A name counts where it is written just as the graph writes it, with a capital letter or a digit
       in it. A single word that begins a sentence does not count: films are called `It`, `Who` and `The Day`.
    3. It names both ends of at least one fact of the paths.

    Composed and decomposed accents are the same (NFC). A wrong relation between the right entities passes; only a
    reader of the text could tell.

    Args:
        index: the names.
        ignored: casefolded names that are no mention.
    """

    def __init__(self, index: NameIndex, names: Sequence[str], ignored: frozenset[str] = frozenset()) -> None:
        self._index, self._names, self._ignored = index, names, ignored

    def judge(self, text: str, paths: Collection[Path], given: Iterable[str], answers: Iterable[str]) -> Judgement:
        """Judge a rationale.

        Args:
            text: the rationale.
            paths: their facts are to be told.
            given: what the writer has read.
            answers: of the question.
        """
        text = _composed(text)  # as mentions count places
        words = _words(text)
        if not words:
            return Judgement(Verdict.empty, "the rationale has no words")
        if words <= {word for answer in answers for word in _words(answer)}:
            return Judgement(Verdict.only_answer, "the rationale repeats the answer alone")
        allowed = {entity for path in paths for entity in path.entities}
        read = " \n ".join(given)
        named = {mention.text.casefold() for mention in self._index.mentions(read)}
        for mention in self._index.mentions(text, self._ignored):
            is_known = allowed & set(mention.entity_ids) or mention.text.casefold() in named
            if not is_known and self._counts(mention, text):
                return Judgement(Verdict.foreign_entity, f"it names {mention.text!r}, which is not in the paths")
        if not any(self._tells(text, triple[0], triple[2]) for path in paths for triple in path.triples):
            return Judgement(Verdict.no_fact, "it names both ends of no fact of the paths")
        return Judgement(Verdict.good, "")

    def _counts(self, mention: Mention, text: str) -> bool:
        is_exact = any(_composed(self._names[entity]) == mention.text for entity in mention.entity_ids)
        if not is_exact or mention.text.islower() or not any(map(str.isalnum, mention.text)):
            return False
        is_word = len(mention.text.split()) == 1 and not any(map(str.isdigit, mention.text))
        before = text[: mention.start].rstrip(" \"'(*-")
        return not (is_word and (not before or before.endswith(SENTENCE_ENDS)))

    def _tells(self, text: str, head: int, tail: int) -> bool:
        return all(names_entity(text, self._names[entity]) for entity in (head, tail))


def names_entity(text: str, name: str) -> bool:
    """Whether a text holds a name as words of its own, in any case."""
    text, name = _composed(text).casefold(), _composed(name).casefold()
    start = text.find(name)
    while start >= 0:
        ends = text[start - 1 : start], text[start + len(name) : start + len(name) + 1]
        if not any(map(_is_word, ends)):
            return True
        start = text.find(name, start + 1)
    return False


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", _composed(text).casefold()))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
