"""Which steps to measure, and from their seconds those of a whole run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kalm.text.ragged import Ids


class Spread(NamedTuple):
    """Quartiles."""

    low: float
    middle: float
    high: float


def candidate_steps(first: int, last: int, search_every: int, count: int) -> Ids:
    """At most `count` of the steps first ... last - 1, evenly spread.

    A step that begins with a search for hard negatives is not among them, unless all do.
    """
    steps = np.arange(first, last)
    if search_every and (usual := steps[steps % search_every > 0]).size:
        steps = usual
    return steps[np.unique(np.linspace(0, len(steps) - 1, count).astype(np.int64))]


def steps_of_all_lengths(steps: Ids, num_tokens: Ids, count: int) -> Ids:
    """The middle step of each of `count` equal parts of the steps in order of their tokens; in the order of the run."""
    by_length = steps[np.argsort(num_tokens, kind="stable")]
    parts = np.array_split(by_length, min(count, len(steps)))
    return np.sort(np.array([part[len(part) // 2] for part in parts]))


def seconds_per_step(seconds: Sequence[float], num_tokens: Ids, mean_tokens: float) -> Spread:
    """Quartiles over measured steps of the time that each says a step of mean length takes.

    Args:
        seconds, num_tokens: of each measured step.
        mean_tokens: of the run's steps.
    """
    low, middle, high = np.quantile(np.asarray(seconds) / num_tokens, (0.25, 0.5, 0.75)) * mean_tokens
    return Spread(float(low), float(middle), float(high))


def num_searches(first: int, last: int, every: int) -> int:
    """Searches for hard negatives before the steps first ... last - 1; 0 if each of them has one, as a part of it."""
    return 0 if every == 1 else (last - 1) // every - (first - 1) // every


def num_validations(first: int, last: int, every: int) -> int:
    """After steps first + 1 ... last: those that are due, and one after the last."""
    return -(-last // every) - first // every if every else 0


def num_checkpoints(first: int, last: int, every: int, validate_every: int) -> int:
    """After steps first + 1 ... last: those that are due, one before each validation, and one after the last."""
    due = {last}
    for interval in (every, validate_every):
        if interval:
            due.update(range(first - first % interval + interval, last + 1, interval))
    return len(due)


def clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Duration:
    """Parts of a run's time."""

    start_up: float  # seconds from the command to the first step
    num_steps: int
    step: Spread  # seconds
    others: dict[str, tuple[int, float]]  # what is done beside the steps: how often, seconds each time

    @property
    def total(self) -> Spread:
        beside = self.start_up + sum(count * seconds for count, seconds in self.others.values())
        return Spread(*(beside + self.num_steps * seconds for seconds in self.step))
