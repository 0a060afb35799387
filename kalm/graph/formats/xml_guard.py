"""Looks at XML before a parser does that follows the standard wherever it leads."""

from pathlib import Path
from xml.parsers import expat

MAX_DEPTH = 256  # pyoxigraph's time grows with its square
MAX_ENTITY = 256  # characters; entities abbreviate namespaces
MAX_RUN = 2**20  # bytes of text or a tag


class XmlGuard:
    """Refuses what is not well-formed, what would unpack to many times its size, and what is outside the file.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._run = 0  # bytes since the last `<`
        self._is_done = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._declare

    @property
    def line(self) -> int:
        """The line that has been reached; a parser may be a few lines behind."""
        return self._parser.CurrentLineNumber

    def feed(self, data: bytes) -> None:
        """Look at the next bytes; none at the end of the file.

        Raises:
            ValueError: they may not be.
        """
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
        if self._depth > MAX_DEPTH:
            raise ValueError(f"{self._path}:{self.line}: elements nested more than {MAX_DEPTH} deep; write them one "
                             "after the other")  # fmt: skip

    def _end(self, name: str) -> None:
        self._depth -= 1

    def _declare(self, name: str, is_parameter: bool, value: str | None, *place: str | None) -> None:
        if is_parameter or value is None or "&" in value or len(value) > MAX_ENTITY:
            raise ValueError(f"{self._path}:{self.line}: the entity {name} is outside the file, made of other entities "
                             f"or longer than {MAX_ENTITY} characters; write out what it stands for")  # fmt: skip
