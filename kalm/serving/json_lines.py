"""Reading JSON lines: one object of texts per line, each fault with its file and line."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from kalm.config import require_whole_characters


def read_json_lines(content: bytes, place: str, keys: Collection[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line that is not blank; values are texts or null, an `id` may be a whole number.

    Args:
        content: UTF-8 text.
        place: where it comes from, for messages.
        keys: what an object may have.

    Raises:
        ValueError: a line is no such object.
    """
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}:{number}: not UTF-8 text ({error.reason} at byte {error.start})") from None
        except ValueError as error:
            raise ValueError(f"{place}:{number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{place}:{number}: expected an object with keys among {', '.join(keys)}")
        for key, value in row.items():
            if key not in keys:
                raise ValueError(f"{place}:{number}: unknown key {key!r}; the keys are {', '.join(keys)}")
            if key == "id" and type(value) is int:
                continue
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{place}:{number}: {key} must be a text or null, got {value!r}")
            require_whole_characters(f"{place}:{number}: {key}", value or "")
        yield number, row
