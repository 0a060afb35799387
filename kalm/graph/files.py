"""Reading tab-separated text exactly: no quoting, any line end, each fault with its file and line."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of the names that exists in the folder, as it is or gzipped."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
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
        raise ValueError(f"{folder}: there is no file {wanted} (also looked for {names[0]}.gz)")
    return path


def read_rows(path: Path, num_columns: range) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of each line that is not blank.

    Quotes have no meaning here: in real files an unbalanced one would swallow the lines after it.

    Args:
        path: a UTF-8 text file, plain or gzipped.
        num_columns: how many columns a line may have.

    Raises:
        ValueError: a line has too few or too many columns, or the file is not UTF-8 text.
    """
    content = _read(path).removeprefix(b"\xef\xbb\xbf")
    # bytes are split before decoding, since str.splitlines would also split at U+2028 and form feeds
    for number, raw_line in enumerate(content.split(b"\n"), start=1):
        line = raw_line.removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            columns = line.decode("utf-8").split("\t")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{number}: not UTF-8 text ({error.reason})") from None
        if len(columns) not in num_columns:
            allowed = " or ".join(str(number) for number in num_columns)
            raise ValueError(
                f"{path}:{number}: {len(columns)} tab-separated columns, expected {allowed}: {_shown(columns)}"
            )
        yield number, columns


def _read(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error})") from None


def _shown(columns: list[str]) -> str:
    text = "\\t".join(columns)
    return text if len(text) <= 80 else text[:77] + "..."
