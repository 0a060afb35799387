"""From what people type to an entity's or relation's id: by label, else by name."""

import textwrap
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

NUM_NEAREST = 3  # names suggested for one that is unknown
NUM_LISTED = 10  # of those that share a name
CHUNK = 100_000  # names compared at once


class Names:
    """The labels and names of one kind of thing.

    Args:
        kind: its plural for messages, `entities` or `relations`.
        labels: as the files write them, each once.
        names: what people call them; several may share one.
        descriptions: shown beside those that share a name; empty where there is none.
    """

    def __init__(self, kind: str, labels: Sequence[str], names: Sequence[str], descriptions: Sequence[str]) -> None:
        self._kind, self._labels, self._names, self._descriptions = kind, labels, names, descriptions
        self._by_label = {label: i for i, label in enumerate(labels)}
        self._first_named: dict[str, int] = {}
        self._sharing: dict[str, list[int]] = {}  # only the names of several, since a list for each takes much memory
        for i, name in enumerate(names):
            key = name.casefold()
            first = self._first_named.setdefault(key, i)
            if first != i:
                self._sharing.setdefault(key, [first]).append(i)

    def find(self, text: str) -> int:
        """The id of a label; else of a name as it is written, else of a name in any case.

        Raises:
            ValueError: nothing is called so (the nearest names are listed), or several are (they are listed).
        """
        if text in self._by_label:
            return self._by_label[text]
        key = text.strip().casefold()
        if key not in self._first_named:
            raise ValueError(f"none of the {len(self._labels):,} {self._kind} has the label or name {text!r}; "
                             f"{self._suggestion(key)}")  # fmt: skip
        found = self._sharing.get(key, [self._first_named[key]])
        found = [i for i in found if self._names[i] == text] or found
        if len(found) > 1:
            listed = ", ".join(self._describe(i) for i in found[:NUM_LISTED])
            more = f" and {len(found) - NUM_LISTED} more" if len(found) > NUM_LISTED else ""
            raise ValueError(
                f"{len(found)} {self._kind} share the name {text!r}, give the label of one: {listed}{more}"
            )
        return found[0]

    def nearest(self, text: str) -> list[int]:
        """Ids of the names most like the text, the nearest first; at most one per name.

        A shortlist of the names with the most character trigrams in common keeps this at seconds for millions of
        names, where comparing each takes minutes.
        """
        key = text.strip().casefold()
        overlap = np.concatenate(
            [_trigram_overlap(key, self._names[start : start + CHUNK]) for start in range(0, len(self._names), CHUNK)]
        )
        shortlist = np.argsort(-overlap, kind="stable")[:50]
        likely = {self._names[i].casefold(): int(i) for i in shortlist[::-1] if overlap[i] > 0}
        return [likely[name] for name in get_close_matches(key, likely, n=NUM_NEAREST, cutoff=0.0)]

    def _suggestion(self, key: str) -> str:
        near = [f"{self._names[i]!r} (label {self._labels[i]})" for i in self.nearest(key)]
        return f"nearest: {', '.join(near)}" if near else "no name is like it"

    def _describe(self, i: int) -> str:
        description = textwrap.shorten(self._descriptions[i], 60, placeholder="...")
        return f"{self._labels[i]} ({self._names[i]}{': ' if description else ''}{description})"


def _trigram_overlap(text: str, names: Sequence[str]) -> NDArray[np.float64]:
    """Share of byte trigrams in common between the text and each name (Dice), ends counted as letters; (names,)."""
    wanted = np.zeros(2**24, dtype=bool)
    wanted[_trigrams(_framed(text))] = True
    rows = [_framed(name.casefold()) for name in names]
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    # a trigram across two rows holds both their frames, which no trigram of one text does
    common = np.concatenate([wanted[_trigrams(b"".join(rows))], [False, False]])
    counts = np.add.reduceat(common.astype(np.int64), lengths.cumsum() - lengths)
    return np.asarray(2 * counts / (lengths - 2 + len(_framed(text)) - 2))


def _framed(text: str) -> bytes:
    return b"\n" + text.encode() + b"\n"


def _trigrams(text: bytes) -> NDArray[np.int32]:
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int32)
    return np.asarray(codes[:-2] << 16 | codes[1:-1] << 8 | codes[2:])
