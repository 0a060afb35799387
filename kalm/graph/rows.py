"""Rows of text whose columns a character separates: at Arrow's speed where that reads the same, else line by line.

Every block of lines goes to Arrow first, which raises for most of what it would read in another way than
`parse_exactly`; the rest is looked for before. Such a block is read again line by line, which finds the exact fault.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from kalm.graph.account import Account, Fault, Ledger
from kalm.graph.building import bad_labels
from kalm.graph.files import BYTE_ORDER_MARK, MAX_LINE_BYTES, Block, read_blocks

ANY_WIDTH = range(1, 2**16)  # columns of a line of which nothing is known
MAX_RECORD_LINES = 100  # of a record with line feeds between quotes
NUM_THREADS = 2  # blocks that are read at once; Arrow has threads of its own besides
SHOWN = 80  # characters of a bad line in a message
SEPARATOR_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", " ": "space"}

Item = TypeVar("Item")

csv.field_size_limit(MAX_LINE_BYTES)  # Python's own limit is 131,072 characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a line is cut into columns.

    Args:
        separator: one character.
        quotes: whether double quotes have the meaning of RFC 4180. In files by tabs they have none, since an
            unbalanced one would swallow the lines after it.
        widths: how many columns a line may have.
        remedy: what to do about a line with more.
    """

    separator: str
    quotes: bool
    widths: range
    remedy: str = ""


@dataclass(slots=True)
class Rows:
    """What `parse_exactly` finds in a block."""

    columns: list[list[str]]  # as many as a line may have; empty text where a line has fewer
    lines: list[int] = field(default_factory=list)  # the first line of each row
    num_lines: list[int] = field(default_factory=list)  # that each row takes
    faults: list[Fault] = field(default_factory=list)
    num_blank: int = 0
    unfinished: bytes = b""  # a record that ends in the next block


def parse_quickly(content: bytes, dialect: Dialect) -> list[pa.Array] | None:
    """The columns of a block as Arrow strings, or None where only `parse_exactly` can tell.

    Rows may hold nothing but white space, which the caller looks for. Lines without a character are skipped.
    """
    if (b"\r" in content and content.count(b"\r") != content.count(b"\r\n")) or content.startswith(BYTE_ORDER_MARK):
        return None
    if dialect.quotes and b'"' in content:
        return None
    first = content.lstrip(b"\r\n")
    width = first[: first.find(b"\n") + 1 or None].count(dialect.separator.encode()) + 1
    if width not in dialect.widths:
        return None
    names = [str(place) for place in range(width)]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            pyarrow.csv.ReadOptions(column_names=names),
            pyarrow.csv.ParseOptions(
                delimiter=dialect.separator, quote_char=False, double_quote=False, escape_char=False,
                newlines_in_values=False, ignore_empty_lines=True,
            ),
            pyarrow.csv.ConvertOptions(strings_can_be_null=False, column_types=dict.fromkeys(names, pa.string())),
        )  # fmt: skip
    except pa.ArrowInvalid:
        return None
    columns = [table[name].combine_chunks().cast(pa.large_string()) for name in names]
    return columns + [pa.repeat(pa.scalar("", pa.large_string()), len(table))] * (dialect.widths[-1] - width)


def parse_exactly(block: Block, dialect: Dialect, max_faults: int = 0) -> Rows:
    """The rows of a block, and what is wrong with the other lines.

    Blank is a line of white space and separators alone. With more than `max_faults` faults the rest is left.
    """
    rows = Rows([[] for _ in range(dialect.widths[-1])])
    blank = b" \t\r\v\f" + dialect.separator.encode()
    lines = block.content.split(b"\n")
    if not lines[-1]:
        lines.pop()  # what follows the last line feed is no line
    place = 0
    while place < len(lines) and len(rows.faults) <= max_faults:
        number = block.first_line + place
        if not lines[place].strip(blank):
            rows.num_blank += 1
            place += 1
            continue
        try:
            columns, num_lines = cut(lines, place, dialect)
        except Unfinished:
            if not block.is_last:
                rows.unfinished = b"\n".join(lines[place:]) + b"\n"
                return rows
            columns, num_lines = None, 1
            rows.faults.append(
                Fault(number, "a quote that is never closed", "close it, or double each quote in a text")
            )
        except ValueError as error:
            columns, num_lines = None, 1
            rows.faults.append(Fault(number, str(error), "mend the line"))
        if columns is not None and len(columns) in dialect.widths:
            padded = columns + [""] * (len(rows.columns) - len(columns))
            for column, cell in zip(rows.columns, padded, strict=True):
                column.append(cell)
            rows.lines.append(number)
            rows.num_lines.append(num_lines)
        elif columns is not None:
            rows.faults.append(_wrong_width(columns, number, num_lines, dialect))
        place += num_lines
    return rows


def cut(lines: Sequence[bytes], place: int, dialect: Dialect) -> tuple[list[str], int]:
    """The columns of the record that begins at a line, and how many lines it takes.

    Raises:
        ValueError: it is not UTF-8, or its quotes are wrong.
        Unfinished: a quote is not closed by the last of the lines.
    """
    text = _decode(lines[place])
    if not dialect.quotes or '"' not in text:
        return text.split(dialect.separator), 1
    for num_lines in range(1, MAX_RECORD_LINES + 1):
        if num_lines > 1:
            if place + num_lines > len(lines):
                raise Unfinished
            text += "\n" + _decode(lines[place + num_lines - 1])
        try:
            reader = csv.reader([text], delimiter=dialect.separator, strict=True, skipinitialspace=True)
            return next(reader), num_lines
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                raise ValueError(f"the quotes are wrong ({error})") from None
    raise ValueError(f"a quote that is not closed within {MAX_RECORD_LINES} lines")


class Unfinished(Exception):  # noqa: N818
    """A record goes on in the next block."""


def _decode(line: bytes) -> str:
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text ({error.reason})") from None


def _wrong_width(columns: Sequence[str], line: int, num_lines: int, dialect: Dialect) -> Fault:
    name, text = SEPARATOR_NAMES[dialect.separator], dialect.separator.join(columns)
    remedy = f"separate the columns by one {name} each"
    others = [other for separator, other in SEPARATOR_NAMES.items() if text.count(separator) + 1 in dialect.widths]
    if text.count("\r") > 1:
        remedy = "the line ends are lone CR: write LF or CRLF"
    elif len(columns) == 1 and others:
        remedy += f" (they look separated by a {others[0]})"
    elif len(columns) > dialect.widths[-1] and dialect.remedy:
        remedy = dialect.remedy
    shown = text[:SHOWN].replace("\t", "\\t").replace("\r", "\\r") + ("..." if len(text) > SHOWN else "")
    allowed = " or ".join(map(str, dialect.widths))
    return Fault(line, f"{len(columns)} {name}-separated columns, expected {allowed}: {shown}", remedy, num_lines)


def parse(
    blocks: Iterable[Block],
    dialect: Dialect,
    account: Account,
    prepare: Callable[[list[pa.Array]], Any],
    add: Callable[[Any], None],
) -> Iterator[Rows]:
    """The rows of the blocks that had to be read exactly; what Arrow finds in the others is prepared and added.

    Arrow works on the next blocks meanwhile; all is added in the order of the file. Blank lines are counted here, and
    the lines of what is added; the others are the caller's to count.

    Args:
        blocks: of one file.
        dialect: of its lines.
        account: of the file.
        prepare: makes something of a block's columns, or None where the block must be read exactly; in a thread.
        add: takes what was prepared.
    """

    def quickly(content: bytes) -> tuple[int, Any] | None:
        columns = parse_quickly(content, dialect) if content else None
        prepared = None if columns is None else prepare(columns)
        return None if columns is None or prepared is None else (len(columns[0]), prepared)

    unfinished, begun = b"", 0
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for fresh, future in _ahead((block, pool.submit(quickly, block.content)) for block in blocks):
            if (found := future.result()) is not None and not unfinished:
                num_rows, prepared = found
                add(prepared)
                account.read += num_rows
                account.blank += fresh.num_lines - num_rows  # lines without a character, which Arrow skips
                continue
            num_lines = unfinished.count(b"\n") + fresh.num_lines
            first_line = begun if unfinished else fresh.first_line
            block = Block(unfinished + fresh.content, first_line, num_lines, fresh.is_last)
            rows = parse_exactly(block, dialect, account.ledger.max_bad_lines or 0)
            unfinished = rows.unfinished
            begun = first_line + num_lines - unfinished.count(b"\n")
            account.blank += rows.num_blank
            yield rows


def _ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, of which `NUM_THREADS` are made before they are asked for."""
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > NUM_THREADS:
            yield waiting.popleft()
    yield from waiting


def read_texts(path: Path, account: Account, widths: range) -> Iterator[list[pa.Array]]:
    """The columns of a file of tab-separated texts, block by block; as many as a line may have, some of them empty.

    Raises:
        ValueError: more lines are bad than may be.
    """
    taken: list[list[pa.Array]] = []

    def prepare(columns: list[pa.Array]) -> list[pa.Array] | None:
        # a line of white space is blank, which only the exact parser says
        return None if bad_labels(columns[0]).any() else columns

    dialect = Dialect(separator="\t", quotes=False, widths=widths)
    for rows in parse(read_blocks(path, account), dialect, account, prepare, taken.append):
        # in the order of the file, since a later text of a label counts
        yield from taken
        taken.clear()
        columns = [pa.array(column, pa.large_string()) for column in rows.columns]
        is_good = pa.array(count_rows(rows, columns[0], account))
        yield [column.filter(is_good) for column in columns]
    yield from taken


def count_rows(rows: Rows, ids: pa.Array, account: Account) -> NDArray[np.bool_]:
    """Which rows have an id that can be a label, (n,); counts these as read, and refuses the others with the faults.

    Raises:
        ValueError: more lines are bad than may be.
    """
    is_bad = bad_labels(ids)
    for row in np.flatnonzero(is_bad)[: (account.ledger.max_bad_lines or 0) + 1].tolist():
        reason = "a NUL byte in an id" if "\0" in ids[row].as_py() else "an empty id"
        rows.faults.append(Fault(rows.lines[row], reason, "mend the line", rows.num_lines[row]))
    account.refuse_all(rows.faults)
    account.read += int(np.asarray(rows.num_lines, np.int64)[~is_bad].sum())
    return ~is_bad


def read_rows(
    path: Path,
    widths: range,
    account: Account | None = None,
    fault: Callable[[list[str]], str | None] = lambda columns: None,
) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of each good line, of a small file by tabs; blank lines are left out.

    Args:
        path: the file, packed or not.
        widths: how many columns a line may have; empty text stands for those that it lacks.
        account: where lines are counted, and how many may be bad; None: not one.
        fault: what is wrong with the columns of a line, if anything is.

    Raises:
        ValueError: more lines than may be have another number of columns, a fault, or are not UTF-8 text.
    """
    dialect = Dialect(separator="\t", quotes=False, widths=widths)
    account = account or Ledger(max_bad_lines=None).open(path)
    for block in read_blocks(path, account):
        rows = parse_exactly(block, dialect, account.ledger.max_bad_lines or 0)
        good = []
        for line, *columns in zip(rows.lines, *rows.columns, strict=True):
            if reason := fault(columns):
                rows.faults.append(Fault(line, reason, "mend the line"))
            else:
                good.append((line, columns))
        account.refuse_all(rows.faults)
        account.read += len(good)
        account.blank += rows.num_blank
        yield from good
