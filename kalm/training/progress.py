"""What people see while a run trains: a bar on a terminal, plain lines elsewhere."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressDisplay:
    """A live bar when standard output is a terminal, else one line per log step.

    Args:
        first_step, last_step: the run goes from one to the other.
    """

    def __init__(self, first_step: int, last_step: int) -> None:
        self._last_step = last_step
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("train"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[metrics]}"),
                TextColumn("ETA"), TimeRemainingColumn(), console=Console(),
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("train", total=last_step, completed=first_step, metrics="")

    def step(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def metrics(self, metrics: dict[str, Any], seconds_left: float) -> None:
        """Show the metrics of a log step."""
        text = (
            f"contrastive {metrics['loss/contrastive']:.4f}  "
            f"triple completion {metrics['loss/triple_completion']:.4f}  "
            f"{metrics['triples_per_second']:,.0f} triples/s  {metrics['tokens_per_second']:,.0f} tokens/s"
        )
        if self._bar is not None:
            self._bar.update(self._task, metrics=text)
        else:
            minutes, seconds = divmod(round(seconds_left), 60)
            line = f"step {metrics['step']}/{self._last_step}  {text}  ETA {minutes}:{seconds:02d}"
            print(line, flush=True)

    def note(self, text: str) -> None:
        """A line that stays above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
