"""A file of JSON lines that only grows, whose whole lines outlive a kill or a full disk."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLOCK_BYTES = 2**20


class LineFile:
    """Lines are added in groups: a group is on the disk when `append` returns, or none of it is in the file.

    A last line without its end, which a kill leaves behind, is cut off when the file is opened.

    Args:
        path: made where it does not exist.
        beginning: of each line; a file that begins or ends otherwise is someone else's, and stays as it is.

    Raises:
        ValueError: another process, or another object of this class, has it open, or it holds something else.
        OSError: it cannot be opened or written to.
    """

    def __init__(self, path: Path, beginning: bytes) -> None:
        self.path = path
        self._beginning = beginning
        self._file = _open_locked(path)
        size = os.fstat(self._file).st_size
        self._end = _end_of_whole_lines(self._file, size)
        for place in (0, self._end):
            found = os.pread(self._file, len(beginning), place)
            if found != beginning[: len(found)]:  # a torn line may be shorter
                os.close(self._file)
                raise ValueError(f"{path} exists and holds something else than kalm writes there; take another file")
        self.was_torn = self._end < size
        if self.was_torn:
            os.ftruncate(self._file, self._end)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Add one line per row, and wait for the disk.

        Returns:
            Where the first of them begins, for `at`.

        Raises:
            OSError: they cannot be written, as on a full disk; the file is then as it was.
        """
        content = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(self._file, content[written:], self._end + written)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise OSError(f"{self.path}: {error.strerror or error}; its {self._end:,} bytes are whole lines. Make "
                          "room and run the same command again: it goes on from there") from error  # fmt: skip
        place, self._end = self._end, self._end + len(content)
        return place

    @property
    def size(self) -> int:
        """Bytes of whole lines."""
        return self._end

    def clear(self) -> None:
        """Take all lines out."""
        os.ftruncate(self._file, 0)
        self._end = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines that are in the file now.

        Raises:
            ValueError: a line is no JSON object, so that something else has written to the file.
        """
        for _, row in self.with_places():
            yield row

    def with_places(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each line and where it begins, for `at`."""
        place = 0
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if place >= self._end:
                    return
                yield place, self._parse(line, number)
                place += len(line)

    def at(self, place: int) -> dict[str, Any]:
        """The line that begins there."""
        with self.path.open("rb") as stream:
            stream.seek(place)
            return self._parse(stream.readline(), 0)

    def move_to(self, path: Path) -> None:
        """Take the place of another file, or of none.

        Raises:
            ValueError: another run is writing to that one; both are then as they were.
        """
        with locked(path):
            self.path = self.path.replace(path)

    def close(self) -> None:
        """No file is left where nothing was written."""
        if self._end == 0 and self.path.is_file():
            self.path.unlink()
        os.close(self._file)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not line.startswith(self._beginning):
            raise ValueError(f"{self.path}:{number}: not a line that kalm has written; take another file, or delete "
                             "this one")  # fmt: skip
        return row


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """No other run writes to the file meanwhile.

    Raises:
        ValueError: one does.
    """
    file = _open_locked(path)
    try:
        yield
    finally:
        os.close(file)


def _open_locked(path: Path) -> int:
    while True:
        # a+b would write at the end, but places of lines are wanted
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise ValueError(f"{path}: another run is writing to it; wait for that one, or take another file") from None
        # between the two calls the other run may have removed the file, or put another in its place
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file)):
            return file
        os.close(file)


def _end_of_whole_lines(file: int, size: int) -> int:
    """The place after the last line feed; 0 where there is none."""
    stop = size
    while stop > 0:
        start = max(0, stop - BLOCK_BYTES)
        found = os.pread(file, stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0
