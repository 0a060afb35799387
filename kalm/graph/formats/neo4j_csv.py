"""The CSV files of `neo4j-admin database import`: nodes and relationships, told apart by their headers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kalm.graph.account import Account
from kalm.graph.building import EncodedTriples, GraphBuilder, bad_labels, encode_good
from kalm.graph.files import PACKED, Block, read_blocks, read_head
from kalm.graph.formats.format import FolderLayout, suffix
from kalm.graph.formats.neo4j_json import node_texts
from kalm.graph.rows import ANY_WIDTH, Dialect, Rows, Unfinished, count_rows, cut, parse

SEPARATORS = ",;\t|"
HEADER_END = re.compile(r"[-_]header$", re.IGNORECASE)
# what may follow NAME in the stem of a file that has its header in NAME-header.csv: nothing, or which part it is
PART = re.compile(r"$|[-_.\d]|part\d", re.IGNORECASE)
MAX_HEADER = 2**20
KEYS = ("ID", "LABEL", "START_ID", "END_ID", "TYPE", "IGNORE")
_Texts = tuple[pa.Array, list[str], list[str]]  # ids, names, descriptions
# name, type, ID space, and options that Neo4j 5 has in braces
_COLUMN = re.compile(r"^(?P<name>[^:]*)(?::(?P<type>[^({]*)(?:\((?P<space>[^)]*)\))?(?:\{[^}]*\})?)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """The columns of a file.

    Args:
        separator: between them.
        properties: their names; empty for columns of other kinds.
        types: in capitals: one of `KEYS`, or that of a property.
        spaces: of ids; empty for others, and where all ids are of one space.
    """

    separator: str
    properties: list[str]
    types: list[str]
    spaces: list[str]

    @property
    def is_of_nodes(self) -> bool:
        return "ID" in self.types

    def place(self, kind: str) -> int | None:
        return self.types.index(kind) if kind in self.types else None

    def ids(self, columns: list[Any], kind: str) -> pa.Array:
        """The ids of a column with their ID space; empty ones stay so, to be refused."""
        place = self.types.index(kind)
        cells = pc.utf8_trim_whitespace(pa.array(columns[place], pa.large_string()))
        if not self.spaces[place]:
            return cells
        space, nothing = (pa.scalar(text, pa.large_string()) for text in (self.spaces[place] + "/", ""))
        return pc.if_else(pc.equal(cells, ""), cells, pc.binary_join_element_wise(space, cells, nothing))


def read_neo4j_csv(folder: Path, builder: GraphBuilder) -> None:
    """Add the relationships of a folder as triples, and the texts of its nodes.

    Each CSV file has its header in its first line, else in a file of its own: `NAME-header.csv` for NAME and its parts,
    such as `NAME-part1.csv` and `NAME2.csv`. An entity is an id, after its ID space and a slash where the header names
    one. Without a column `:TYPE` the file's name is the relation. For texts see `node_texts`.

    Raises:
        ValueError: a header is missing or wrong, or more lines are bad than may be.
    """
    builder.start_split("train")
    paths = _files(folder)
    headers = {stem: path for path in paths if (stem := HEADER_END.sub("", _stem(path))) != _stem(path)}
    for path in paths:
        if path in headers.values():
            continue
        fitting = [stem for stem in headers if _stem(path).startswith(stem) and PART.match(_stem(path)[len(stem) :])]
        own = _find_header(path)
        apart = headers[max(fitting, key=len)] if own is None and fitting else None
        _read_file(path, own or _header(apart or path), apart, builder)
    for path in headers.values():
        account = builder.ledger.open(path)
        for block in read_blocks(path, account):
            account.comment += block.num_lines


def _read_file(path: Path, header: _Header, apart: Path | None, builder: GraphBuilder) -> None:
    account = builder.ledger.open(path)
    blocks = read_blocks(path, account)
    if apart is None:
        blocks = _after_first_line(blocks, account)
    width = len(header.types)
    dialect = Dialect(separator=header.separator, quotes=True, widths=range(width, width + 1),
                      remedy=f"the header in {(apart or path).name} has {width} columns")  # fmt: skip
    name = HEADER_END.sub("", _stem(path))
    adder = _Nodes(header, builder) if header.is_of_nodes else _Relationships(header, name, builder)
    for rows in parse(blocks, dialect, account, adder.prepare, adder.add_prepared):
        adder.add(rows, account)
    left_out = ", ".join(filter(None, header.properties))
    if not header.is_of_nodes and left_out:
        builder.note(f"{path.name}: properties of relationships were left out: {left_out}")


class _Nodes:
    """Adds the texts of nodes."""

    def __init__(self, header: _Header, builder: GraphBuilder) -> None:
        self._header, self._builder = header, builder

    def prepare(self, columns: list[pa.Array]) -> _Texts | None:
        """The texts of lines as Arrow found them, unless a line may be blank."""
        ids = self._header.ids(columns, "ID")
        return None if bad_labels(ids).any() else self._texts(ids, [column.to_pylist() for column in columns])

    def add_prepared(self, texts: _Texts) -> None:
        ids, names, descriptions = texts
        self._builder.add_texts("entity_names", ids, names)
        self._builder.add_texts("entity_descriptions", ids, descriptions)

    def add(self, rows: Rows, account: Account) -> None:
        ids = self._header.ids(rows.columns, "ID")
        is_good = count_rows(rows, ids, account)
        columns = [list(compress(column, is_good)) for column in rows.columns]
        self.add_prepared(self._texts(ids.filter(pa.array(is_good)), columns))

    def _texts(self, ids: pa.Array, columns: list[list[str]]) -> _Texts:
        header = self._header
        labels = header.place("LABEL")
        kinds = [[]] * len(ids) if labels is None else [cell.split(";") for cell in columns[labels]]
        wanted = {name: column for name, column in zip(header.properties, columns, strict=True) if name}
        texts = [
            node_texts(kind, dict(zip(wanted, cells, strict=True)))
            for kind, *cells in zip(kinds, *wanted.values(), strict=True)
        ]
        return ids, [name for name, _ in texts], [description for _, description in texts]


class _Relationships:
    """Adds relationships as triples."""

    def __init__(self, header: _Header, name: str, builder: GraphBuilder) -> None:
        self._header, self._name, self._builder = header, name, builder

    def prepare(self, columns: list[pa.Array]) -> EncodedTriples | None:
        """The triples of lines as Arrow found them, unless a label is bad."""
        return encode_good(*self._triples(columns))

    def add_prepared(self, encoded: EncodedTriples) -> None:
        self._builder.add_good("train", *encoded)

    def add(self, rows: Rows, account: Account) -> None:
        self._builder.add("train", *self._triples(rows.columns), account=account, lines=rows.lines,
                          num_lines=rows.num_lines, faults=rows.faults)  # fmt: skip

    def _triples(self, columns: list[Any]) -> tuple[pa.Array, pa.Array, pa.Array]:
        header = self._header
        heads, tails = (header.ids(columns, kind) for kind in ("START_ID", "END_ID"))
        relation = header.place("TYPE")
        same = pa.repeat(pa.scalar(self._name, pa.large_string()), len(heads))
        return heads, same if relation is None else pa.array(columns[relation], pa.large_string()), tails


def _header(path: Path) -> _Header:
    """What the first line of a file says.

    Raises:
        ValueError: it is no header of nodes or relationships.
    """
    found = _find_header(path)
    if found is None:
        raise ValueError(f"{path}:1: no header of Neo4j, and there is no {_stem(path)}-header.csv; write one :ID for "
                         "nodes, or one :START_ID and one :END_ID for relationships")  # fmt: skip
    return found


def _find_header(path: Path) -> _Header | None:
    line = read_head(path, MAX_HEADER).partition(b"\n")[0]
    for separator in SEPARATORS:
        try:
            cells, _ = cut([line], 0, Dialect(separator=separator, quotes=True, widths=ANY_WIDTH))
        except (ValueError, Unfinished):
            continue
        found = [_COLUMN.match(cell.strip()) for cell in cells]
        if not all(found):
            continue
        columns = [match for match in found if match is not None]
        types = [(match["type"] or "").strip().upper() for match in columns]
        count = {kind: types.count(kind) for kind in KEYS}
        if (count["ID"], count["START_ID"], count["END_ID"]) in ((1, 0, 0), (0, 1, 1)) and count["TYPE"] <= 1:
            properties = [
                "" if kind in KEYS else match["name"].strip() for kind, match in zip(types, columns, strict=True)
            ]
            return _Header(separator=separator, types=types, properties=properties,
                           spaces=[(match["space"] or "").strip() for match in columns])  # fmt: skip
    return None


def _after_first_line(blocks: Iterator[Block], account: Account) -> Iterator[Block]:
    account.comment += 1
    yield next(blocks).without_first_line()
    yield from blocks


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if suffix(path) in (".csv", ".tsv") and path.is_file())


def _stem(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).stem


def _matches(folder: Path) -> bool:
    return any(b":START_ID" in read_head(path, MAX_HEADER).partition(b"\n")[0].upper() for path in _files(folder))


LAYOUT = FolderLayout(
    "neo4j_csv",
    "CSV of neo4j-admin database import (headers with :ID, :START_ID, :END_ID)",
    _matches,
    read_neo4j_csv,
)
