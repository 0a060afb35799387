"""Rows of unequal length in one flat array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

HASHED_AT_ONCE = 4_000_000  # values whose weights are in memory together


@dataclass(frozen=True, slots=True)
class RaggedArray:
    """Row i is values[offsets[i] : offsets[i + 1]].

    Args:
        values: (T,), int32.
        offsets: (rows + 1,), int64, ascending from 0.
    """

    values: NDArray[np.int32]
    offsets: Ids

    @classmethod
    def from_lengths(cls, values: NDArray[np.int32], lengths: Ids) -> "RaggedArray":
        """Rows of these lengths, (rows,), one after another in the values."""
        return cls(values, np.concatenate([[0], lengths.cumsum()]).astype(np.int64))

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int]]) -> "RaggedArray":
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        values = np.fromiter((value for row in rows for value in row), dtype=np.int32, count=int(lengths.sum()))
        return cls.from_lengths(values, lengths)

    @classmethod
    def stack(cls, parts: Sequence["RaggedArray"]) -> "RaggedArray":
        """All rows of the first part, then those of the second, and so on; a copy."""
        lengths = np.concatenate([part.lengths for part in parts])
        values = np.concatenate([part.values for part in parts])
        return cls(values, np.concatenate([[0], lengths.cumsum()]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ids:
        return np.diff(self.offsets)

    def lengths_of(self, rows: Ids) -> Ids:
        return np.asarray(self.offsets[rows + 1] - self.offsets[rows])

    def take(self, rows: Ids, lengths: Ids | None = None) -> tuple[Ids, Ids]:
        """The rows' values one after another, (sum of lengths,), and the rows' lengths, both int64.

        With `lengths` only the first so many of each row.
        """
        lengths = self.lengths_of(rows) if lengths is None else lengths
        return self.values[run_positions(self.offsets[rows], lengths)].astype(np.int64), lengths

    def select(self, rows: Ids, lengths: Ids | None = None) -> "RaggedArray":
        """The rows as an array of their own; with `lengths` only the first so many values of each."""
        values, lengths = self.take(rows, lengths)
        return RaggedArray.from_lengths(values.astype(np.int32), lengths)

    def distinct(self, rows: Ids) -> tuple[Ids, Ids]:
        """Which of the rows differ: the first row of each content, and for every row the place of its content there.

        Rows are told apart by a hash; contents are then compared, so that two of one hash are noticed.
        """
        hashes = _row_hashes(self, rows, seed := 0)
        while True:
            _, first, place_of = np.unique(hashes, return_index=True, return_inverse=True)
            if self._are_equal(rows, rows[first][place_of]):
                break
            hashes = _row_hashes(self, rows, seed := seed + 1)
        order = first.argsort()  # contents in the order in which they first occur
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return rows[first[order]], place[place_of]

    def _are_equal(self, rows: Ids, others: Ids) -> bool:
        """Whether each row has the content of the other."""
        differ = rows != others
        rows, others = rows[differ], others[differ]
        lengths = self.lengths_of(rows)
        if not np.array_equal(lengths, self.lengths_of(others)):
            return False
        return all(np.array_equal(self.take(rows[block])[0], self.take(others[block])[0]) for block in _blocks(lengths))

    def save(self, folder: Path, name: str) -> None:
        np.save(folder / f"{name}.values.npy", self.values)
        np.save(folder / f"{name}.offsets.npy", self.offsets)

    @staticmethod
    def is_saved(folder: Path, name: str) -> bool:
        return (folder / f"{name}.offsets.npy").is_file()

    @classmethod
    def open(cls, folder: Path, name: str) -> "RaggedArray":
        """Memory-mapped: opening reads no values."""
        return cls(
            np.load(folder / f"{name}.values.npy", mmap_mode="r"),
            np.load(folder / f"{name}.offsets.npy", mmap_mode="r"),
        )


def join_rows(parts: Sequence[tuple[Ids, Ids]]) -> tuple[RaggedArray, list[Ids]]:
    """Row i of the result is row i of every part, one after another.

    Args:
        parts: values and lengths of the same number of rows each, as `RaggedArray.take` gives them.

    Returns:
        The joined rows, and per part where it ends within its row, (rows,).
    """
    ends = list(np.cumsum([lengths for _, lengths in parts], axis=0))
    joined = RaggedArray.from_lengths(np.empty(int(ends[-1].sum()), dtype=np.int32), ends[-1])
    for (values, lengths), end in zip(parts, ends, strict=True):
        joined.values[run_positions(joined.offsets[:-1] + end - lengths, lengths)] = values
    return joined, ends


def run_positions(starts: Ids, lengths: Ids) -> Ids:
    """starts[0], starts[0] + 1, ... for lengths[0] positions, then the same for the next run; (sum of lengths,)."""
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(starts - (lengths.cumsum() - lengths), lengths))


def _row_hashes(array: RaggedArray, rows: Ids, seed: int) -> NDArray[np.uint64]:
    """A number per row: its values, each times a random weight of its place, added up modulo 2^64."""
    lengths = array.lengths_of(rows)
    weights = np.random.default_rng(seed).integers(2**64, size=int(lengths.max(initial=0)) + 1, dtype=np.uint64) | 1
    hashes = np.empty(len(rows), dtype=np.uint64)
    for block in _blocks(lengths):
        values, sizes = array.take(rows[block])
        terms = (values.astype(np.uint64) + 1) * weights[run_positions(np.zeros_like(sizes), sizes)]
        totals = np.concatenate([np.zeros(1, dtype=np.uint64), terms.cumsum()])
        ends = sizes.cumsum()
        hashes[block] = totals[ends] - totals[ends - sizes] + sizes.astype(np.uint64) * weights[-1]
    return hashes


def _blocks(lengths: Ids) -> Iterator[slice]:
    """Ranges of rows with about `HASHED_AT_ONCE` values each; at least one row."""
    ends = lengths.cumsum()
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + HASHED_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
