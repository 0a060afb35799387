"""What people see while a run trains or a sweep goes on: a bar on a terminal, plain lines elsewhere."""

import sys
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


def negatives_in_words(metrics: dict[str, Any]) -> str:
    """What a query is compared with, by source and number."""
    names = {"batch": "of the batch", "self": "the own head", "hard": "hard", "queue": "of earlier batches"}
    counts = {name: metrics[f"negatives/{name}"] for name in (*names, "masked", "queries")}
    parts = [f"{counts[name]:.1f} {words}" for name, words in names.items() if counts[name] > 0]
    words = f"{', '.join(parts) or 'none'}; {counts['masked']:.1f} known tails left out"
    return f"{words}; and {counts['queries']:.1f} queries per target" if counts["queries"] > 0 else words


class ProgressDisplay:
    """A live bar, with a line of news below it, when standard output is a terminal; else plain lines.

    Args:
        first_step, last_step: the bar goes from one to the other.
        label: stands before the bar.
    """

    def __init__(self, first_step: int, last_step: int, label: str = "train") -> None:
        self._last_step = last_step
        self._live: Live | None = None
        if sys.stdout.isatty():
            self._bar = Progress(TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                                 TextColumn("ETA {task.fields[eta]}"))  # fmt: skip
            self._task = self._bar.add_task(label, total=last_step, completed=first_step, eta="-:--")
            self._news = Text()
            self._live = Live(Group(self._bar, self._news), console=Console(), refresh_per_second=4)
            self._live.start()

    def step(self, step: int) -> None:
        if self._live is not None:
            self._bar.update(self._task, completed=step)

    def metrics(self, metrics: dict[str, Any], seconds_left: float) -> None:
        """Show the metrics of a log step."""
        losses = [
            f"{name.removeprefix('loss/').replace('_', ' ')} {value:.4f}"
            for name, value in metrics.items()
            if name.startswith("loss/")
        ]
        units = [unit for unit in ("triples", "questions", "tokens") if f"{unit}_per_second" in metrics]
        text = "  ".join([*losses, *(f"{metrics[f'{unit}_per_second']:,.0f} {unit}/s" for unit in units)])
        if self._live is not None:
            self.below_bar(text, seconds_left)
        else:
            eta = _minutes(seconds_left)
            print(f"step {metrics['step']}/{self._last_step}  {text}  ETA {eta}", flush=True)

    def below_bar(self, text: str, seconds_left: float | None) -> None:
        """What is going on, and how long it will last if that is known; seen on a terminal alone."""
        if self._live is not None:
            self._bar.update(self._task, eta="-:--" if seconds_left is None else _minutes(seconds_left))
            self._news.plain = text

    def note(self, text: str) -> None:
        """A line that stays above the bar."""
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def _minutes(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
