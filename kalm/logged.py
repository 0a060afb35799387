"""What training has logged: the lines of metrics.jsonl."""

import json
from pathlib import Path
from typing import Any


def read_logged(path: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl; without the last one if a kill has cut it short, and none without the file."""
    if not path.is_file():
        return []
    logged = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            logged.append(json.loads(line))
        except ValueError:  # the line that a kill cut short, or the nothing behind the last one
            break
    return logged
