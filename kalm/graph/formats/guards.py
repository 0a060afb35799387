"""Look at a document before a parser does that follows the standard wherever it leads."""

import re
from pathlib import Path
from typing import Protocol
from xml.parsers import expat

MAX_DEPTH = 256  # of elements or brackets: pyoxigraph's time grows with its square, and its stack with JSON's
MAX_ENTITY = 256  # characters; entities abbreviate namespaces
MAX_RUN = 2**20  # bytes of text or a tag
MAX_IRI = 4096  # bytes; also of a namespace, as each name that it abbreviates is written out in memory
MAX_CONTEXT_BYTES = 2**15
# a whole IRI or plain text, else what begins one or a comment; a triple within a triple; the keyword before a base
_TURTLE_MARKS = re.compile(
    rb"<[^<>]{1,%d}>" % MAX_IRI
    + rb"""|"[^"\\]+"|\\.|\#|<<|<|>>|"{1,3}|'{1,3}"""
    + rb"|@base(?=[\s<#])|[bB](?<![@\w:.%-].)[aA][sS][eE](?=[\s<#])",
    re.DOTALL,
)
# what ends each of them
_TURTLE_ENDS = {
    b"#": re.compile(rb"[\r\n]"),
    b"<": re.compile(rb">"),
    **{mark: re.compile(rb"\\.|" + mark, re.DOTALL) for mark in (b'"', b"'", b'"""', b"'''")},
}
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_JSON_MARKS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


class Guard(Protocol):
    @property
    def line(self) -> int:
        """The line that has been reached; a parser may be a few lines behind."""
        ...

    def feed(self, data: bytes) -> None:
        """Look at the next bytes; none at the end of the file.

        Raises:
            ValueError: they may not be.
        """
        ...


class JsonGuard:
    """Refuses JSON that is nested without end, and a @context that is long, whose texts are written out for each name.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._is_in_text = False
        self._text = b""  # the one that is being read, or the last, up to a little more than an IRI may have
        self._context: int | None = None  # the depth outside the @context that has been reached
        self._num_context_bytes = 0  # of its texts
        self._rest = b""  # a backslash, whose character is in the next bytes
        self.line = 1

    def feed(self, data: bytes) -> None:
        """See `Guard`."""
        self.line += data.count(b"\n")
        data = self._rest + data
        end = start = 0  # of the rest of a text
        for found in _JSON_MARKS.finditer(data):
            mark, end = found.group(), found.end()
            if mark == b'"':
                if self._is_in_text:
                    self._take_text(data[start : found.start()])
                else:
                    self._text = b""
                self._is_in_text, start = not self._is_in_text, end
            elif self._is_in_text or len(mark) > 1:
                continue
            elif mark in b"[{":
                if self._context is None and _is_context(self._text):
                    self._context, self._num_context_bytes = self._depth, 0
                self._text = b""
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise ValueError(f"{self._path}:{self.line}: nested more than {MAX_DEPTH} deep; give the inner "
                                     "objects an @id and write them one after the other")  # fmt: skip
            else:
                self._depth -= 1
                if self._depth == self._context:
                    self._context = None
        self._rest = b"\\" if data.endswith(b"\\") and end < len(data) else b""
        if self._is_in_text:
            self._take_text(data[start : len(data) - len(self._rest)])

    def _take_text(self, part: bytes) -> None:
        self._text = (self._text + part)[: MAX_IRI + 1]
        if self._context is None:
            return
        self._num_context_bytes += len(part)
        if self._num_context_bytes > MAX_CONTEXT_BYTES:  # each name may stand for the one after it, down to any depth
            raise ValueError(f"{self._path}:{self.line}: a @context of more than {MAX_CONTEXT_BYTES:,} bytes; leave "
                             "out what the document does not use")  # fmt: skip
        if len(self._text) > MAX_IRI:
            raise ValueError(f"{self._path}:{self.line}: a text of more than {MAX_IRI:,} bytes in a @context; shorten "
                             "the IRI")  # fmt: skip


def _is_context(key: bytes) -> bool:
    """Whether it is @context, with escapes or without."""
    return len(key) <= 6 * len("@context") and b"context" in re.sub(
        rb"\\u00([0-7][0-9a-fA-F])", lambda found: bytes([int(found.group(1), 16)]), key
    )


class TurtleGuard:
    """Refuses triples within triples within triples without end, and IRIs that would fill the memory; also for TriG.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._inside = b""  # what began the comment, IRI or text that has not ended
        self._iri = b""
        self._is_base = False  # whether the next IRI is one
        self._base = 0  # bytes
        self._rest, self._place = b"", 0  # what may go on in the next bytes, and how much of it is only to look back at
        self.line = 1

    def feed(self, data: bytes) -> None:
        """See `Guard`."""
        self.line += data.count(b"\n")
        # a mark is whole if it begins before `stop`: none is longer than @base and the byte behind it
        stop = len(self._rest) + len(data) - (5 if data else 0)
        data, place = self._rest + data, self._place
        while place < stop:
            found = (_TURTLE_ENDS.get(self._inside) or _TURTLE_MARKS).search(data, place)
            is_whole = found is not None and found.start() < stop
            end = found.start() if found is not None and is_whole else stop
            if self._inside == b"<":
                self._take_iri(data[place:end], is_whole)
            if found is None or not is_whole:
                place = stop
                break
            place = found.end()
            self._take(found.group())
        kept = max(place - 1, 0)
        self._rest, self._place = data[kept:], place - kept

    def _take(self, mark: bytes) -> None:
        if self._inside:
            if not mark.startswith(b"\\"):
                self._inside = b""
        elif mark in _TURTLE_ENDS:
            self._inside = mark
        elif mark.endswith(b">") and mark != b">>":
            self._take_iri(mark[1:-1], is_whole=True)
        elif mark == b"<<":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise ValueError(f"{self._path}:{self.line}: triples nested more than {MAX_DEPTH} deep; write such "
                                 "triples without others inside")  # fmt: skip
        elif mark == b">>":
            self._depth -= 1
        elif mark.lower().endswith(b"base"):
            self._is_base = True

    def _take_iri(self, part: bytes, is_whole: bool) -> None:
        self._iri += part
        # a base that is relative goes on from the one before
        base = self._base if self._is_base and not _SCHEME.match(self._iri) else 0
        if base + len(self._iri) > MAX_IRI:
            raise ValueError(f"{self._path}:{self.line}: an IRI of more than {MAX_IRI:,} bytes; shorten it")
        if is_whole:
            if self._is_base:
                self._base, self._is_base = base + len(self._iri), False
            self._iri = b""


class XmlGuard:
    """Refuses what is not well-formed, what would unpack to many times its size, and what is outside the file.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._bases = [0]  # characters of xml:base, inside each element
        self._run = 0  # bytes since the last `<`
        self._is_done = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._declare

    @property
    def line(self) -> int:
        """See `Guard`."""
        return self._parser.CurrentLineNumber

    def feed(self, data: bytes) -> None:
        """See `Guard`."""
        if self._is_done:
            return
        self._is_done = not data
        last = data.rfind(b"<")
        self._run = self._run + len(data) if last < 0 else len(data) - last
        if self._run > MAX_RUN:
            raise ValueError(f"{self._path}:{self.line}: a text or tag of more than 1 MiB; shorten it")
        try:
            self._parser.Parse(data, not data)
        except expat.ExpatError as error:
            raise ValueError(f"{self._path}:{error.lineno}: not well-formed XML ({expat.ErrorString(error.code)}); "
                             "mend it") from None  # fmt: skip

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        spaces = [value for key, value in attributes.items() if key == "xmlns" or key.startswith("xmlns:")]
        # each goes on from the ones outside, if it is relative
        self._bases.append(self._bases[-1] + len(attributes.get("xml:base", "")))
        if max(map(len, spaces), default=0) > MAX_IRI or self._bases[-1] > MAX_IRI:
            raise ValueError(f"{self._path}:{self.line}: a namespace or base of more than {MAX_IRI:,} characters; "
                             "shorten it")  # fmt: skip
        if self._depth > MAX_DEPTH:
            raise ValueError(f"{self._path}:{self.line}: elements nested more than {MAX_DEPTH} deep; write them one "
                             "after the other")  # fmt: skip

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._bases.pop()

    def _declare(self, name: str, is_parameter: bool, value: str | None, *place: str | None) -> None:
        if is_parameter or value is None or "&" in value or len(value) > MAX_ENTITY:
            raise ValueError(f"{self._path}:{self.line}: the entity {name} is outside the file, made of other entities "
                             f"or longer than {MAX_ENTITY} characters; write out what it stands for")  # fmt: skip
