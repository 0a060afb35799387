"""What training has logged: the lines of metrics.jsonl."""

import json
from pathlib import Path
from typing import Any


def read_logged(path: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl; without the last one if a kill has cut it short, and none without the file.

    Raises:
        ValueError: another line is damaged.
    """
    if not path.is_file():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")  # behind the last line feed is nothing, or half a line
    logged = []
    for number, line in enumerate(lines, start=1):
        try:
            logged.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error}); take the line out") from None
    return logged
