"""A sequence of strings in two Arrow buffers: millions of them cost their bytes and 8 more each."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK = 65_536  # strings made at once when all are walked through


class Strings(Sequence[str]):
    """What a list of strings is, read only.

    Args:
        values: an Arrow array of strings, or any strings.
    """

    __slots__ = ("array",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any) -> None:
        if isinstance(values, Strings):
            values = values.array
        elif not isinstance(values, pa.Array):
            values = pa.array(values, type=pa.large_string())
        # 64-bit offsets: descriptions together may be longer than 2 GB
        self.array: Any = values if values.type == pa.large_string() else values.cast(pa.large_string())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Strings": ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Strings(self.array[place])
        return self.array[int(place)].as_py()  # numpy's integers come here too

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self.array), CHUNK):
            yield from self.array.slice(start, CHUNK).to_pylist()

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and pc.index(self.array, text, end=len(self)).as_py() >= 0

    def index(self, text: str, start: int = 0, stop: int | None = None) -> int:
        """The first place of the text.

        Raises:
            ValueError: it is not there.
        """
        end = len(self) if stop is None else stop
        place = int(pc.index(self.array, text, start=start, end=end).as_py())
        if place < 0:
            raise ValueError(f"{text!r} is not among the {len(self):,} strings")
        return place

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Strings):
            return bool(self.array.equals(other.array))
        return isinstance(other, Sequence) and len(self) == len(other) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Strings({list(self[:10])!r}{', ...' if len(self) > 10 else ''})"

    @property
    def num_filled(self) -> int:
        """How many are not empty."""
        return int(pc.sum(pc.not_equal(pc.binary_length(self.array), 0)).as_py() or 0)

    def update(self, digest: "_Hash") -> None:
        """Feed the strings to a digest, so that two sequences have the same one if and only if they are equal."""
        digest.update(len(self).to_bytes(8, "little"))
        parts = [self.array.slice(start, CHUNK) for start in range(0, len(self), CHUNK)]
        for part in parts:
            digest.update(np.diff(_offsets(part)).data)
        for part in parts:
            if (characters := part.buffers()[2]) is not None:
                offsets = _offsets(part)
                digest.update(memoryview(characters)[offsets[0] : offsets[-1]])


def _offsets(part: Any) -> NDArray[np.int64]:
    """Where each string begins, and the last ends."""
    offsets = np.frombuffer(part.buffers()[1], np.int64)
    return offsets[part.offset : part.offset + len(part) + 1]
