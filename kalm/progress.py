"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Used as a context; short work prints no line.

    Args:
        label: what is done.
        total: amount of work, > 0, in any unit.
        done: amount that was done before.
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self._label, self._total, self._done = label, total, done
        self._said = time.monotonic()
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[news]}"), disable=not sys.stdout.isatty(), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(label, total=total, completed=done, news="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, amount: int, news: str = "") -> None:
        """So much more is done; the news stand behind it."""
        self._done += amount
        self._bar.update(self._task, advance=amount, news=news)
        if self._bar.disable and time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(f"{self._label}: {self._done / self._total:.0%}{', ' if news else ''}{news}", flush=True)
