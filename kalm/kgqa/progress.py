"""Signs of life in long work: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.progress import track

SECONDS_BETWEEN_LINES = 60

Item = TypeVar("Item")


def shown(items: Sequence[Item], label: str) -> Iterator[Item]:
    """The items one after another, while people see how far it is."""
    if sys.stdout.isatty():
        yield from track(items, description=label)
        return
    print(label, flush=True)
    said = time.monotonic()
    for place, item in enumerate(items):
        yield item
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            print(f"{label}: {place + 1} of {len(items)} parts", flush=True)
