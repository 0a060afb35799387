"""TSV and CSV of triples, with a header or without."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pyarrow as pa

from kalm.graph.account import Account
from kalm.graph.building import EncodedTriples, GraphBuilder, encode_good
from kalm.graph.columns import Places, find_columns, names_columns
from kalm.graph.files import Block, read_blocks
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.labelled import ReadOptions
from kalm.graph.rows import ANY_WIDTH, Dialect, Unfinished, cut, parse


def read_tsv(path: Path, split: str, builder: GraphBuilder) -> None:
    """Columns by tabs; quotes mean nothing. See `_read`."""
    _read(path, split, builder, separators="\t", quotes=False)


def read_csv(path: Path, split: str, builder: GraphBuilder) -> None:
    """Columns by commas, semicolons, tabs or bars, quoted as in RFC 4180. See `_read`."""
    _read(path, split, builder, separators=",;\t|", quotes=True)


def _read(path: Path, split: str, builder: GraphBuilder, *, separators: str, quotes: bool) -> None:
    """Add the triples of a file.

    Args:
        path: the file, plain or gzipped.
        split: that its triples are of.
        builder: takes them; its options may tell columns and header.
        separators: of several the first counts that cuts the first line into columns as they should be.
        quotes: see `Dialect`.

    Raises:
        ValueError: the columns are not those of triples, or more lines are bad than may be.
    """
    builder.start_split(split)
    account = builder.ledger.open(path)
    blocks = read_blocks(path, account)
    first = _skip_blank(blocks, account, separators)
    if first is None:
        return
    layout = _find_layout(first, path, builder.options, separators, quotes)
    if layout.has_header:
        account.comment += 1
        first = first.without_first_line()
        builder.note(f"{path.name}: the first line names the columns")

    def prepare(columns: list[pa.Array]) -> EncodedTriples | None:
        return encode_good(*(columns[place] for place in layout.places))

    def add(encoded: EncodedTriples) -> None:
        builder.add_good(split, *encoded)

    for rows in parse(chain([first], blocks), layout.dialect, account, prepare, add):
        builder.add(split, *(rows.columns[place] for place in layout.places), account=account, lines=rows.lines,
                    num_lines=rows.num_lines, faults=rows.faults)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """What the first line of a file says of the others."""

    dialect: Dialect
    places: Places
    has_header: bool


def _find_layout(first: Block, path: Path, options: ReadOptions, separators: str, quotes: bool) -> _Layout:
    """Args:
    first: a block that begins with the first line that is not blank.
    """
    line = first.content.partition(b"\n")[0]
    cuts = [_cells(line, Dialect(separator=separator, quotes=quotes, widths=ANY_WIDTH)) for separator in separators]
    is_fit = [
        len(cells) >= 3 if options.columns else len(cells) == 3 or names_columns(cells, options) for cells in cuts
    ]
    chosen = is_fit.index(True) if any(is_fit) else 0
    cells, separator = cuts[chosen], separators[chosen]
    has_header = names_columns(cells, options)
    places, width = (0, 1, 2), 3
    if has_header or options.columns:
        place = f"{path}:{first.first_line}: "
        places, width = find_columns(cells if has_header else None, len(cells), options, place), len(cells)
    remedy = "" if options.columns else "say which are meant with data.columns=[1,2,3]"
    dialect = Dialect(separator=separator, quotes=quotes, widths=range(width, width + 1), remedy=remedy)
    return _Layout(dialect=dialect, places=places, has_header=has_header)


def _cells(line: bytes, dialect: Dialect) -> list[str]:
    try:
        return cut([line], 0, dialect)[0]
    except (ValueError, Unfinished):
        return []  # a bad line; it is refused with the others


def _skip_blank(blocks: Iterator[Block], account: Account, separators: str) -> Block | None:
    """The first block that is not blank, from its first line that is not; None where there is none."""
    filled = re.compile(rb"[^\s%b]" % re.escape(separators.encode()))
    for block in blocks:
        found = filled.search(block.content)
        if found is None:
            account.blank += block.num_lines
            continue
        start = block.content.rfind(b"\n", 0, found.start()) + 1
        num_blank = block.content.count(b"\n", 0, start)
        account.blank += num_blank
        return replace(block, content=block.content[start:], first_line=block.first_line + num_blank,
                       num_lines=block.num_lines - num_blank)  # fmt: skip
    return None


FORMATS = (
    FileFormat(
        "tsv", "head, relation, tail by tabs (.tsv, .txt)", lambda path: suffix(path) in (".tsv", ".txt"), read_tsv
    ),
    FileFormat("csv", "head, relation, tail by commas (.csv)", lambda path: suffix(path) == ".csv", read_csv),
)
