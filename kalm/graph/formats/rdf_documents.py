"""Turtle, TriG, RDF/XML and JSON-LD: documents, whose account counts triples.

A document with a fault is refused whole, whatever `data.max_bad_lines` says: what a parser makes of the text after a
fault need not be what was meant.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kalm.graph.building import GraphBuilder
from kalm.graph.files import BYTE_ORDER_MARK, Readable, open_unpacked, read_head
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.formats.guards import MAX_IRI, Guard, JsonGuard, TurtleGuard, XmlGuard
from kalm.graph.formats.rdf import RdfAdder, pyoxigraph

TRIPLES_AT_ONCE, CHARACTERS_AT_ONCE = 2**16, 2**25
# of IRIs that are relative in a file without a base; the file's own place would differ from machine to machine
BASE = "file:///"
GUARDS: dict[str, Callable[[Path], Guard]] = {
    "TURTLE": TurtleGuard,
    "TRIG": TurtleGuard,
    "RDF_XML": XmlGuard,
    "JSON_LD": JsonGuard,
}


def read_turtle(path: Path, split: str, builder: GraphBuilder) -> None:
    """See `_read`."""
    _read(path, split, builder, "TURTLE")


def read_trig(path: Path, split: str, builder: GraphBuilder) -> None:
    """See `_read`; the names of graphs do not matter."""
    _read(path, split, builder, "TRIG")


def read_rdf_xml(path: Path, split: str, builder: GraphBuilder) -> None:
    """See `_read`; entities from outside the file are refused."""
    _read(path, split, builder, "RDF_XML")


def read_json_ld(path: Path, split: str, builder: GraphBuilder) -> None:
    """See `_read`; a context from outside the file is refused."""
    _read(path, split, builder, "JSON_LD")


def _read(path: Path, split: str, builder: GraphBuilder, form: str) -> None:
    """Add the triples and texts of a document, see `kalm.graph.formats.rdf`.

    Raises:
        ValueError: pyoxigraph is missing, or the document is not whole and right.
    """
    library = pyoxigraph()
    builder.start_split(split)
    account = builder.ledger.open(path, unit="triples")
    adder = RdfAdder(path, split, builder, account)
    guard = GUARDS[form](path)
    with open_unpacked(path) as stream, _faults(path, guard):
        text = _Text(path, stream, guard)
        quads = library.parse(text, format=getattr(library.RdfFormat, form), base_iri=BASE)
        for chunk in _chunks(quads, path):
            lines = range(account.lines + 1, account.lines + len(chunk) + 1)
            account.lines += len(chunk)
            adder.add(chunk, lines)
    adder.finish()


def _chunks(quads: Iterable[Any], path: Path) -> Iterator[list[Any]]:
    """The triples, as many at once as memory is sure to hold: a short name may stand for a long IRI."""
    chunk: list[Any] = []
    size = 0
    for quad in quads:
        chunk.append(quad)
        size += sum(_size(term, path) for term in (quad.subject, quad.predicate, quad.object))
        if len(chunk) == TRIPLES_AT_ONCE or size > CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(term: Any, path: Path) -> int:
    """Characters of a term.

    Raises:
        ValueError: an IRI in it is longer than may be.
    """
    kind = type(term).__name__
    if kind == "Triple":
        return sum(_size(part, path) for part in (term.subject, term.predicate, term.object))
    if kind == "Literal":
        return len(term.value) + _size(term.datatype, path)
    size = len(term.value)
    if size > MAX_IRI:
        raise ValueError(f"{path}: an IRI of more than {MAX_IRI:,} characters, which begins {term.value[:60]}; shorten "
                         "it or its prefix")  # fmt: skip
    return size


class _Text:
    """The bytes of a document, as a parser reads them."""

    def __init__(self, path: Path, stream: Readable, guard: Guard) -> None:
        self._path, self._stream, self._guard = path, stream, guard
        self._is_first = True

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if self._is_first:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise ValueError(f"{self._path}:1: UTF-16 text; save the file as UTF-8")
            data = data.removeprefix(BYTE_ORDER_MARK)
            self._is_first = False
        self._guard.feed(data)
        return data


@contextmanager
def _faults(path: Path, guard: Guard) -> Iterator[None]:
    """Say where a parser's error is."""
    try:
        yield
    except SyntaxError as error:
        message = str(error.msg)
        if "LoadDocumentCallback" in message:
            raise ValueError(f"{path}: a @context is at an address, and nothing is loaded from the network; write the "
                             "context itself into the file") from None  # fmt: skip
        line = error.lineno or guard.line
        raise ValueError(f"{path}{f':{line}' if line else ''}: {message}; mend it: a document is read whole or not at "
                         "all") from None  # fmt: skip
    except MemoryError:
        raise ValueError(f"{path}: a single term of more than 16 MiB; shorten it") from None


def _says(path: Path, *signs: bytes) -> bool:
    head = read_head(path)
    return any(sign in head for sign in signs)


FORMATS = (
    FileFormat("turtle", "Turtle (.ttl)", lambda path: suffix(path) in (".ttl", ".turtle"), read_turtle),
    FileFormat("trig", "TriG (.trig)", lambda path: suffix(path) == ".trig", read_trig),
    FileFormat(
        "rdf_xml", "RDF/XML (.rdf, .owl, .xml)",
        lambda path: suffix(path) in (".rdf", ".owl")
        or (suffix(path) == ".xml" and _says(path, b"http://www.w3.org/1999/02/22-rdf-syntax-ns#")),
        read_rdf_xml,
    ),
    FileFormat(
        "json_ld", "JSON-LD (.jsonld, .json)",
        lambda path: suffix(path) == ".jsonld" or (suffix(path) == ".json" and _says(path, b'"@context"', b'"@id"')),
        read_json_ld,
    ),
)  # fmt: skip
