"""Entities by what texts call them: a whole text, or the names inside a sentence."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kalm.text.ragged import Ids


class Mention(NamedTuple):
    """A part of a text that is a name."""

    start: int  # in the text's NFC form
    stop: int
    text: str
    entity_ids: tuple[int, ...]  # all that are called so, ascending


class NameIndex:
    """Names and aliases of a graph's entities in one Aho-Corasick automaton (Aho and Corasick 1975).

    Texts and names are compared in Unicode's composed form (NFC) and without regard to case (`str.casefold`). Where
    several entities are called so, those that are written just as in the text are meant, if there are any; else all
    of them are, and all are kept.

    Args:
        names: of the entities, (N,).
        aliases: further names, as (entity id, name).

    Raises:
        ValueError: ahocorasick_rs is not installed.
    """

    def __init__(self, names: Sequence[str], aliases: Iterable[tuple[int, str]] = ()) -> None:
        try:
            import ahocorasick_rs
        except ImportError:
            raise ValueError("entity linking needs ahocorasick_rs: pip install 'kalm[kale]'") from None
        written, owners = [], []
        for owner, name in (*enumerate(names), *aliases):
            if text := unicodedata.normalize("NFC", name.strip()):
                written.append(text)
                owners.append(owner)
        place_of: dict[str, int] = {}
        codes = np.fromiter((place_of.setdefault(name.casefold(), len(place_of)) for name in written), np.int64,
                            count=len(written))  # fmt: skip
        order = np.argsort(codes, kind="stable")
        self._written, self._owners = written, np.array(owners, np.int64)
        self._rows: Ids = order
        self._starts: Ids = np.searchsorted(codes[order], np.arange(len(place_of) + 1))
        self._automaton = ahocorasick_rs.AhoCorasick(list(place_of), store_patterns=False)

    def find(self, text: str) -> tuple[int, ...]:
        """The entities that the whole text is a name of, ascending; none where it is no name."""
        text = unicodedata.normalize("NFC", text.strip())
        folded = text.casefold()
        for code, start, stop in self._automaton.find_matches_as_indexes(folded, overlapping=True):
            if start == 0 and stop == len(folded):
                return self._called(code, text)
        return ()

    def mentions(self, text: str, ignored: frozenset[str] = frozenset()) -> list[Mention]:
        """The names inside a text, from left to right and without overlap; of those that begin together the longest.

        A name counts where it is no part of a longer word: at neither of its ends two letters or digits meet.

        Args:
            text: any.
            ignored: casefolded names that are no mention, such as `what`.
        """
        text = unicodedata.normalize("NFC", text)
        folded, places = _folded(text)
        found = self._automaton.find_matches_as_indexes(folded, overlapping=True)
        mentions: list[Mention] = []
        reached = 0
        for code, start, stop in sorted(found, key=lambda match: (match[1], -match[2])):
            if start < reached or not (_is_boundary(folded, start) and _is_boundary(folded, stop)):
                continue
            if folded[start:stop] in ignored or _cuts(places, start) or _cuts(places, stop):
                continue
            first, last = places[start], places[stop]
            mention = text[first:last]
            mentions.append(Mention(first, last, mention, self._called(code, mention)))
            reached = stop
        return mentions

    def _called(self, code: int, text: str) -> tuple[int, ...]:
        rows: list[int] = self._rows[self._starts[code] : self._starts[code + 1]].tolist()
        exact = [row for row in rows if self._written[row] == text]
        return tuple(sorted({int(self._owners[row]) for row in exact or rows}))


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The text without case, and for each of its places, the end included, the place in the text it stems from."""
    folded = text.casefold()
    if len(folded) == len(text):  # no character folds to none, so each has become one
        return folded, range(len(text) + 1)
    places = [place for place, character in enumerate(text) for _ in character.casefold()]
    return folded, [*places, len(text)]


def _cuts(places: Sequence[int], place: int) -> bool:
    """Whether a place lies within what one character has become: `İ` is two without case."""
    return 0 < place < len(places) and places[place - 1] == places[place]


def _is_boundary(text: str, place: int) -> bool:
    return place in (0, len(text)) or not (text[place - 1].isalnum() and text[place].isalnum())
