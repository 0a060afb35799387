"""Signs of life in long work: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.progress import track

Item = TypeVar("Item")


def shown(items: Sequence[Item], label: str) -> Iterator[Item]:
    """The items one after another, while people see how far it is."""
    if sys.stdout.isatty():
        yield from track(items, description=label)
        return
    print(label, flush=True)
    yield from items
