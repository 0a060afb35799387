"""N-Triples and N-Quads: plain lines by Arrow, all others by pyoxigraph, which gives the same for both."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kalm.graph.account import Account, Fault
from kalm.graph.building import GraphBuilder
from kalm.graph.files import Block, read_blocks
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.formats.guards import MAX_DEPTH
from kalm.graph.formats.rdf import LITERAL, TEXTS, RdfAdder, pyoxigraph

# IRIs whose every character may be where it is; many more are good, and those are left to pyoxigraph
_PART = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2}|[\x{A0}-\x{D7FF}])*"
_IRI = rf"<https?://[A-Za-z0-9.-]+(?:/{_PART})?(?:#{_PART})?>"
_TEXT = r"[\x{20}\x{21}\x{23}-\x{5B}\x{5D}-\x{7E}\x{A0}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]*"
_KIND = r"(?:@[a-z]{2}(?:-[A-Z]{2})?|\^\^<http://www\.w3\.org/2001/XMLSchema#[A-Za-z]+>)?"
_END = r" \.\r?\n?$"
_IS_TEXT = f"^{_IRI} <(?:{'|'.join(map(re.escape, TEXTS))})> "
_ERROR = re.compile(r"^Parser error (?:at|between) line \d+ (?:column (\d+)|between columns (\d+) and \d+|.*?): ")


@dataclass(frozen=True, slots=True)
class _Form:
    """N-Triples or N-Quads.

    Args:
        name: pyoxigraph's.
        num_terms: of a plain line: with N-Quads the graph is one.
        shown: a line, for messages.
    """

    name: str
    num_terms: int
    shown: str

    @property
    def plain(self) -> str:
        return "^" + " ".join([_IRI] * self.num_terms) + _END

    @property
    def literal(self) -> str:
        return f'^{_IRI} {_IRI} "{_TEXT}"{_KIND}' + f" {_IRI}" * (self.num_terms - 3) + _END


N_TRIPLES = _Form("N_TRIPLES", 3, "<subject> <predicate> <object> .")
N_QUADS = _Form("N_QUADS", 4, "<subject> <predicate> <object> <graph> .")


def read_n_triples(path: Path, split: str, builder: GraphBuilder) -> None:
    """Add the triples and texts of a file, see `kalm.graph.formats.rdf`.

    Raises:
        ValueError: pyoxigraph is missing, or more lines are bad than may be.
    """
    _read(path, split, builder, N_TRIPLES)


def read_n_quads(path: Path, split: str, builder: GraphBuilder) -> None:
    """Like `read_n_triples`; the names of graphs do not matter."""
    _read(path, split, builder, N_QUADS)


def _read(path: Path, split: str, builder: GraphBuilder, form: _Form) -> None:
    builder.start_split(split)
    account = builder.ledger.open(path)
    adder = RdfAdder(path, split, builder, account)
    for block in read_blocks(path, account):
        if not block.num_lines:
            continue
        lines = _lines(block)
        is_plain = _match(lines, form.plain)
        if is_plain.any():
            ends, relations = _labels(lines if is_plain.all() else lines.filter(pa.array(is_plain)), form.num_terms)
            builder.add_good(split, ends, relations)
            account.read += len(relations)
        places = np.flatnonzero(~is_plain)
        others = lines.take(pa.array(places))
        is_plain = _match(others, form.literal) & ~_match(others, _IS_TEXT)
        adder.leave_out(LITERAL, int(is_plain.sum()))
        _read_exactly(
            others.filter(pa.array(~is_plain)),
            places[~is_plain] + block.first_line,
            adder,
            account,
            form,
            builder.options.max_bad_lines,
        )
    adder.finish()


def _lines(block: Block) -> pa.Array:
    """The lines of a block, each with its line feed, without a copy; large_string, though not all need be UTF-8."""
    content = np.frombuffer(block.content, np.uint8)
    stops = np.flatnonzero(content == ord("\n")) + 1
    offsets = np.r_[0, stops, [] if block.content.endswith(b"\n") else len(content)]
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(block.content)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def _match(lines: pa.Array, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(lines, pattern).to_numpy(zero_copy_only=False), dtype=bool)


def _labels(lines: pa.Array, num_terms: int) -> tuple[pa.DictionaryArray, pa.DictionaryArray]:
    """Heads and tails, and relations, of plain lines: what is between the angle brackets."""
    start, stop = np.frombuffer(lines.buffers()[1], np.int64)[[lines.offset, lines.offset + len(lines)]]
    content = np.frombuffer(lines.buffers()[2], np.uint8)[start:stop]
    # each term is one piece, and what is between two terms another
    opens, closes = (np.flatnonzero(content == ord(bracket)) for bracket in "<>")
    edges = np.empty(2 * len(opens) + 1, np.int64)
    edges[:-1:2], edges[1:-1:2], edges[-1] = opens + 1, closes, len(content)
    buffers = [None, pa.py_buffer(edges), lines.buffers()[2].slice(int(start))]
    pieces = pa.Array.from_buffers(pa.large_string(), len(edges) - 1, buffers)
    heads = np.arange(0, len(pieces), 2 * num_terms)
    return (
        pieces.take(pa.array(np.r_[heads, heads + 4])).dictionary_encode(),
        pieces.take(pa.array(heads + 2)).dictionary_encode(),
    )


def _read_exactly(
    lines: pa.Array, numbers: NDArray[np.int64], adder: RdfAdder, account: Account, form: _Form, max_bad_lines: int
) -> None:
    """Add what pyoxigraph finds in some lines, each by itself.

    Args:
        lines: of one block.
        numbers: of each in the file.
        adder, account: that take them.
        form: of the lines.
        max_bad_lines: after so many bad lines the rest need not be looked at.
    """
    faults: list[Fault] = []
    rest: list[bytes] = []
    places: list[int] = []
    for line, number in zip(lines.cast(pa.large_binary()).to_pylist(), numbers.tolist(), strict=True):
        bare = line.strip(b" \t\r\n")
        if not bare:
            account.blank += 1
        elif bare.startswith(b"#") and b"\r" not in bare:
            account.comment += 1
        elif line.count(b"<<") > MAX_DEPTH:  # whether they nest or not: to find out is the parser's part
            faults.append(Fault(number, f"more than {MAX_DEPTH} times <<, of triples within triples",
                                "write such triples without others inside"))  # fmt: skip
        else:
            rest.append(bare)
            places.append(number)
    # a carriage return ends a line of N-Triples too, so that a line may hold several triples, also behind a comment
    if rest and not any(b"\r" in line for line in rest):
        quads = _parse_together(rest, form)
        if quads is not None and len(quads) == len(rest):
            adder.add(quads, places)
            rest, places = [], []
    for line, number in zip(rest, places, strict=True):
        try:
            quads = list(_parser(line, form))
        except SyntaxError as error:
            faults.append(Fault(number, _reason(error), f"write {form.shown}"))
            if len(faults) > max_bad_lines:
                break  # which `refuse_all` will say
        else:
            adder.add(quads, [number] * len(quads), ([1] + [0] * (len(quads) - 1))[: len(quads)])
            account.comment += not quads
    account.refuse_all(faults)


def _parse_together(lines: list[bytes], form: _Form) -> list[Any] | None:
    try:
        return list(_parser(b"\n".join(lines), form))
    except SyntaxError:
        return None


def _parser(content: bytes, form: _Form) -> Any:
    library = pyoxigraph()
    return library.parse(content, format=getattr(library.RdfFormat, form.name))


def _reason(error: SyntaxError) -> str:
    """What is wrong in a line, and at which column."""
    message = str(error.msg)
    found = _ERROR.match(message)
    if not found:
        return message
    column = found.group(1) or found.group(2)
    return message[found.end() :] + (f" (column {column})" if column else "")


FORMATS = (
    FileFormat("n_triples", "N-Triples (.nt)", lambda path: suffix(path) == ".nt", read_n_triples),
    FileFormat("n_quads", "N-Quads (.nq)", lambda path: suffix(path) == ".nq", read_n_quads),
)
