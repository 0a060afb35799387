"""Text files as blocks of whole lines, plain or packed by gzip or bzip2, in bounded memory."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kalm.graph.account import Account, Fault

BLOCK_BYTES = 2**25  # larger ones hold fewer labels twice
MAX_LINE_BYTES = 2**24
PACKED = (".gz", ".bz2")
# a packed file may unpack to so much, or to so many times its own size: text packs 3 to 30 times, a bomb 1,000 times
MIN_UNPACKED_LIMIT, MAX_UNPACKING = 2**26, 200
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines of a file.

    Args:
        content: their bytes; the last line of a file may lack its line feed.
        first_line: the number of the first, from 1.
        num_lines: how many there are.
        is_last: whether the file ends here.
    """

    content: bytes
    first_line: int
    num_lines: int
    is_last: bool

    def numbered_lines(self) -> Iterator[tuple[int, bytes]]:
        """Each line's number in the file, and its bytes without the line feed."""
        return enumerate(self.content.split(b"\n")[: self.num_lines], start=self.first_line)

    def without_first_line(self) -> "Block":
        content = self.content.partition(b"\n")[2]
        return replace(self, content=content, first_line=self.first_line + 1, num_lines=self.num_lines - 1)


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of the names that exists in the folder, as it is or packed."""
    for name in names:
        for path in (folder / f"{name}{ending}" for ending in ("", *PACKED)):
            if path.is_file():
                return path
    return None


def require_file(folder: Path, *names: str) -> Path:
    """Like `find_file`.

    Raises:
        ValueError: none of them exists.
    """
    path = find_file(folder, *names)
    if path is None:
        wanted = " or ".join(names)
        folders = [name for name in names if (folder / name).is_dir()]
        hint = f"; {folders[0]} is a folder" if folders else ""
        raise ValueError(f"{folder}: there is no file {wanted} (nor one with {' or '.join(PACKED)}){hint}")
    return path


def read_blocks(path: Path, account: Account) -> Iterator[Block]:
    """The lines of a file in blocks of about `BLOCK_BYTES`; only a line feed ends a line.

    Counts lines on the account. A byte order mark is left out. A line of more than `MAX_LINE_BYTES` is refused.

    Raises:
        ValueError: the file is packed and not whole, unpacks to too much, is UTF-16, or has more bad lines than may be.
    """
    rest, line = b"", 1
    is_overlong = False  # inside a line that has been refused
    with open_unpacked(path) as stream:
        while data := stream.read(BLOCK_BYTES):
            if line == 1 and not rest and not is_overlong:
                if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise ValueError(f"{path}:1: UTF-16 text; save the file as UTF-8")
                data = data.removeprefix(BYTE_ORDER_MARK)
            if is_overlong:
                end = data.find(b"\n")
                if end < 0:
                    continue
                data, line, is_overlong = data[end + 1 :], line + 1, False
            end = data.rfind(b"\n") + 1
            if end:
                content, rest = rest + data[:end], data[end:]
                yield from _without_overlong(content, line, account)
                line += content.count(b"\n")
            else:
                rest += data
            if len(rest) > MAX_LINE_BYTES:
                _refuse_overlong(line, account)
                rest, is_overlong = b"", True
    account.lines += bool(rest)
    yield Block(rest, line, int(bool(rest)), is_last=True)


def _without_overlong(content: bytes, line: int, account: Account) -> Iterator[Block]:
    """Whole lines in blocks, counted, between those that are too long, which are refused."""
    start = place = 0  # of the next block, and of the first line that has not been measured
    while len(content) - place > MAX_LINE_BYTES:
        if end := content.rfind(b"\n", place, place + MAX_LINE_BYTES + 1) + 1:
            place = end
            continue
        yield from _counted(content[start:place], line, account)
        line += content.count(b"\n", start, place) + 1
        _refuse_overlong(line - 1, account)
        start = place = content.index(b"\n", place) + 1
    yield from _counted(content[start:], line, account)


def _counted(content: bytes, line: int, account: Account) -> Iterator[Block]:
    if content:
        num_lines = content.count(b"\n")
        account.lines += num_lines
        yield Block(content, line, num_lines, is_last=False)


def _refuse_overlong(line: int, account: Account) -> None:
    account.lines += 1
    account.refuse(Fault(line, f"a line of more than {MAX_LINE_BYTES // 2**20} MiB", "split the line"))


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_head(path: Path, size: int = 2**16) -> bytes:
    """The first bytes of a file, unpacked.

    Raises:
        ValueError: it is packed and not whole.
    """
    head = b""
    with open_unpacked(path) as stream:
        while len(head) < size and (data := stream.read(size - len(head))):
            head += data
    return head.removeprefix(BYTE_ORDER_MARK)


@contextmanager
def open_unpacked(path: Path) -> Iterator[Readable]:
    """The bytes of a file, unpacked if it is called so, in bounded amount.

    Raises:
        ValueError: within the context, where the file is packed and not whole, or unpacks to too much.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        with path.open("rb", buffering=0) as stream:
            yield stream
        return
    unpack, name = (gzip.open, "gzip") if suffix == ".gz" else (bz2.open, "bzip2")
    with path.open("rb") as packed:
        try:
            with unpack(packed, "rb") as unpacked:
                limit = max(MIN_UNPACKED_LIMIT, MAX_UNPACKING * path.stat().st_size)
                yield Bounded(unpacked, path, limit, MAX_UNPACKING)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: not a whole {name} file ({error}); pack it again") from None


class Bounded:
    """A stream of unpacked bytes that may not grow beyond measure.

    Args:
        stream: of the bytes.
        path: what they are unpacked from, for messages.
        left: how many may be read.
        times: what that is of the size of the file, for messages.
    """

    def __init__(self, stream: Readable, path: Path, left: int, times: int) -> None:
        self._stream, self._path, self._times = stream, path, times
        self.left = left

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"{self._path}: unpacks to more than {self._times} times its size; unpack it yourself "
                             "if that is meant")  # fmt: skip
        return data
