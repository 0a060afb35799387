"""Checks of values, and how a value is shown in a message."""

import math
import re
from enum import Enum
from pathlib import Path
from string import Formatter
from typing import Any


def looks_like_folder(path: str) -> bool:
    """True for what is, or was surely meant as, a folder; hub names have at most one slash."""
    place = Path(path).expanduser()
    return place.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1


def slots_of(text: str) -> list[str]:
    """The {names} in a text, in their order; one that is no name where the text cannot be read."""
    try:
        return [slot for _, slot, _, _ in Formatter().parse(text) if slot is not None]
    except ValueError:
        return ["?"]


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key} must be {allowed}, got {in_yaml(value)}")


def in_yaml(value: Any) -> str:
    """A value as the command line and config files have it, with quotes around text alone."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list):
        return f"[{', '.join(map(in_yaml, value))}]"
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(repr(value), repr(value))


def require_whole_characters(key: str, text: str) -> None:
    """Python's strings may hold half a character, from bad bytes on the command line or JSON's escapes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{key} holds half a character at place {error.start + 1}; write it in UTF-8") from None


def require_folder_name(key: str, value: str | None) -> None:
    good = value is None or (re.fullmatch(r"[\w.=,+-]+", value) is not None and value not in (".", ".."))
    require(good, key, value, "letters, digits and any of . _ - = , +")


def require_at_least(key: str, value: int, least: int) -> None:
    require(value >= least, key, value, f"a whole number >= {least}")


def require_positive(key: str, value: float) -> None:
    require(math.isfinite(value) and value > 0, key, value, "a finite number > 0")


def require_not_negative(key: str, value: float) -> None:
    require(math.isfinite(value) and value >= 0, key, value, "a finite number >= 0")


def require_share(key: str, value: float) -> None:
    require(math.isfinite(value) and 0 <= value < 1, key, value, "a number in [0, 1)")
