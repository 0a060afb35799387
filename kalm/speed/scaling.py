"""Two processes against one with the same global batch: time per step, and whether the losses agree."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from kalm.speed.measure import Row, rates, ratio_row, value_row
from kalm.speed.task import ROOT

BATCH_SIZE = 128
UNCOUNTED = 3  # steps at the start


def measure_scaling(*, repeats: int, num_steps: int = 20, overrides: tuple[str, ...] = ()) -> list[Row]:
    """Training on UMLS by `deepspeed launch/train.py`, one thread per process; without dropout, which differs by rank.

    Args:
        repeats: runs with each number of processes, in turns.
        num_steps: of each run.
        overrides: of the config, as on the command line.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise ValueError(f"scaling needs two cores, and this process may use {len(cores)}")
    seconds: dict[int, list[float]] = {1: [], 2: []}
    losses: dict[int, list[float]] = {}
    for _ in range(repeats):
        for num_processes, times in seconds.items():
            steps = _run(num_processes, cores, num_steps, overrides)
            times.append(statistics.median(step["seconds_per_step"] for step in steps[UNCOUNTED:]))
            losses[num_processes] = [step["loss/contrastive"] + step["loss/triple_completion"] for step in steps]
    difference = max(abs(a - b) / abs(a) for a, b in zip(losses[1], losses[2], strict=True))
    one, two = (rates(BATCH_SIZE, seconds[number]) for number in (1, 2))
    return [
        ratio_row("two_processes_vs_one", "triples/s", two, one, more_is_better=True),
        value_row("scaling_efficiency", "share of twice the speed", [b / a / 2 for a, b in zip(one, two, strict=True)]),
        value_row(f"largest_relative_difference_of_loss_over_{num_steps}_steps", "share", [difference]),
    ]


def _run(num_processes: int, cores: list[int], num_steps: int, overrides: tuple[str, ...]) -> list[dict[str, float]]:
    """The logged steps of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", str(num_processes),
            str(ROOT / "launch/train.py"), "model.dropout=0", f"training.batch_size={BATCH_SIZE}",
            f"training.max_steps={num_steps}", "training.log_every_steps=1", f"run.root={folder}", "run.name=scaling",
            *overrides,
        ]  # fmt: skip
        subprocess.run(
            command, check=True, capture_output=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, cores[:num_processes]),
        )  # fmt: skip
        lines = (Path(folder) / "scaling" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
