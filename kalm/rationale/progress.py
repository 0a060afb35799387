"""How far a long row of questions is: a bar on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 20


class Progress:
    """Counts questions.

    Args:
        num_questions: in all.
        num_done: before this run.
    """

    def __init__(self, num_questions: int, num_done: int) -> None:
        self._total, self._done, self._ok = num_questions, num_done, 0
        self._bar: Bar | None = None
        self._said = time.monotonic()
        if num_done:
            print(f"{num_done:,} of {num_questions:,} questions are done already; going on", flush=True)
        if sys.stdout.isatty():
            self._bar = Bar(TextColumn("rationales"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                            TimeRemainingColumn(), TextColumn("{task.fields[ok]} ok"))  # fmt: skip
            self._task = self._bar.add_task("rationales", total=num_questions, completed=num_done, ok=0)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, num_questions: int, num_ok: int) -> None:
        """So many more are done, and so many of them are ok."""
        self._done += num_questions
        self._ok += num_ok
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, ok=f"{self._ok:,}")
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(f"question {self._done:,}/{self._total:,}  {self._ok:,} ok", flush=True)
