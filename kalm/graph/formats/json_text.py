"""JSON of others: what is wrong with it is said in one line, however it is built."""

import json
import re
from typing import Any

# half of a character beyond the first 65,536, which by itself is no text
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(content: bytes) -> Any:
    """The value that a line or a whole document holds.

    Raises:
        ValueError: it is no JSON in UTF-8, is nested too deeply, or holds text that UTF-8 cannot hold.
    """
    try:
        found = json.loads(content.decode("utf-8"))
        if _SURROGATE.search(content):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text ({error.reason})") from None
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair among its \\u escapes") from None
    except json.JSONDecodeError as error:
        line_number = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise ValueError(f"not JSON ({error.msg}, {line_number}column {error.colno})") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def one_line(text: str) -> str:
    """A text with single spaces for all white space, and for NULs."""
    return " ".join(text.replace("\0", " ").split())
