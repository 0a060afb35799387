"""What every measurement needs: systems that take turns, peak memory, and rows of a result."""

import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import torch

from kalm.provenance import git_commit, hardware, peak_resident_bytes

Row = dict[str, Any]


def take_turns(
    systems: Mapping[str, Callable[[], object]], repeats: int, *, on_the_wall: bool = False
) -> dict[str, list[float]]:
    """Seconds of each call of each system, after one round that is not counted; `on_the_wall`, or as `clock` counts.

    They take turns, so a machine that is busy for a while slows all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for repeat in range(repeats + 1):
        for name, system in systems.items():
            elapsed = seconds_of(system, time.perf_counter if on_the_wall else clock)
            if repeat > 0:
                seconds[name].append(elapsed)
    return seconds


def seconds_of(call: Callable[[], object], now: Callable[[], float] | None = None) -> float:
    """Seconds of one call, as `clock` counts them or another one."""
    now = now or clock
    start = now()
    call()
    return now() - start


def clock() -> float:
    """Seconds on the wall when the GPU has finished; without a GPU those that this process had a core for.

    With one thread these are the same on a free machine, and on a shared one only the latter say something.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def peak_memory(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> tuple[float, float]:
    """MiB of a process at its highest while it runs `prepare(*arguments)()`, and how much of it that call added.

    In a process of its own, since memory once freed is not always returned; and with every large block mapped for
    itself, else the figure is that of a fragmented heap: up to 8 times what the tensors take. On a GPU both are what
    torch has allocated.
    """
    with (
        mock.patch.dict(os.environ, MALLOC_MMAP_THRESHOLD_=str(2**17)),
        multiprocessing.get_context("spawn").Pool(1) as pool,
    ):
        return pool.apply(_peak_of, (prepare, arguments))


def _peak_of(prepare: Callable[..., Callable[[], object]], arguments: Sequence[Any]) -> tuple[float, float]:
    return peak_of_call(prepare(*arguments))


def peak_of_call(call: Callable[[], object]) -> tuple[float, float]:
    """The same in this process, whatever its heap is like."""
    gc.collect()
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        call()
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        before = psutil.Process().memory_info().rss / 2**20
        Path("/proc/self/clear_refs").write_text("5")  # the highest so far may be of loading
        call()
        peak = peak_resident_bytes() / 2**20
    return peak, peak - before


def value_row(name: str, unit: str, values: Sequence[float]) -> Row:
    """A measurement on its own."""
    return _row(name, statistics.median(values), unit, None, None, values)


def ratio_row(name: str, unit: str, own: Sequence[float], other: Sequence[float], *, more_is_better: bool) -> Row:
    """A measurement beside that of another system; repeat i of both was measured in the same turn."""
    pairs = list(zip(own, other, strict=True))
    ratios = [a / b if more_is_better else b / a for a, b in pairs]
    return _row(name, statistics.median(own), unit, statistics.median(other), statistics.median(ratios), ratios)


def rates(amount: float, seconds: Sequence[float]) -> list[float]:
    """Amount per second of each repeat."""
    return [amount / elapsed for elapsed in seconds]


def _row(
    name: str, value: float, unit: str, baseline: float | None, ratio: float | None, spread: Sequence[float]
) -> Row:
    """One measurement; low and high are the extremes of the ratio, or of the value where there is no ratio."""
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "baseline": baseline,
        "ratio": ratio,
        "low": min(spread),
        "high": max(spread),
        "repeats": len(spread),
        "hardware": hardware(),
        "commit": git_commit(),
    }
