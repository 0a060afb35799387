"""A sweep from its command line to its table."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from hydra import compose, initialize_config_dir

from kalm.command_line import CONF
from kalm.composition import complete_groups, load_config, to_dataclass, validate
from kalm.config import Algorithm, Config, SweepConfig
from kalm.sweep.job import VALID_METRICS, Stopped, deepspeed_command, has_checkpoint, num_processes, run_job
from kalm.sweep.plan import Job, Plan
from kalm.sweep.search import corners, search, search_space
from kalm.sweep.table import Row, Status, SweepTable, render
from kalm.training.lock import lock_folder
from kalm.training.progress import ProgressDisplay
from kalm.training.stop import StopRequest

FAILED, STOPPED = 1, 130  # exit codes


def sweep(overrides: Sequence[str]) -> int:
    """Run the jobs that have no result yet, one after the other, and print the table of all.

    Args:
        overrides: what stands on the command line beside --multirun.

    Returns:
        The exit code: 0, 1 if a job failed, 130 if the sweep was told to stop.

    Raises:
        ValueError: the overrides make no sweep, or the folder holds another one.
        HydraException, OmegaConfBaseException: an override is wrong.
    """
    if "RANK" in os.environ or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("--multirun starts deepspeed for each job: use python launch/train.py --multirun ..., and "
                         "give deepspeed's own arguments as sweep.deepspeed_arguments=[--num_gpus,2]")  # fmt: skip
    deepspeed_command()
    plan = Plan(overrides)
    with initialize_config_dir(str(CONF), version_base=None):
        own = to_dataclass(compose("train", overrides=plan.settings), Config)
        is_grid = own.sweep.algorithm is Algorithm.grid
        space = {} if is_grid else search_space(plan)
        jobs = plan.grid() if is_grid else corners(plan, space)
        world_size = num_processes(own.sweep.deepspeed_arguments)
        for job in jobs:
            composed = compose("train", overrides=complete_groups(job.overrides))
            validate(load_config(composed, job.overrides), world_size)
    folder = Path(own.run.root) / f"sweep-{own.sweep.name or plan.name}"
    total = len(jobs) if own.sweep.num_trials is None else own.sweep.num_trials
    stop = StopRequest()
    with lock_folder(folder, "sweep.name"), stop.listening():
        table = SweepTable(folder, plan.grid_identity if is_grid else plan.identity)
        runner = _Runner(folder, own.sweep, table, stop, total)
        try:
            if is_grid:
                for number, job in enumerate(jobs, start=1):
                    runner.finish(job, number)
            else:
                search(plan, space, own.sweep, folder / "optuna.db", runner.finish)
        except Stopped:
            pass
        finally:
            runner.display.close()
    return runner.conclude()


class _Runner:
    """Runs jobs that are not done, and keeps table and display up to date."""

    def __init__(self, folder: Path, settings: SweepConfig, table: SweepTable, stop: StopRequest, total: int) -> None:
        self.display = ProgressDisplay(0, total, label="sweep")
        self._folder = folder
        self._settings = settings
        self._table = table
        self._stop = stop
        self._total = total
        self._num_failed = 0
        self._seconds: list[float] = []  # of the jobs run in this call

    def finish(self, job: Job, number: int) -> float | None:
        """The job's valid MRR, from its row if it is done; None if it failed.

        Raises:
            Stopped: the sweep was told to stop.
        """
        if self._stop.asked:
            raise Stopped
        label = f"[{number}/{self._total}] {' '.join(f'{key}={value}' for key, value in job.swept.items())}"
        row = self._table.get(job.name)
        if row is not None and row.status is Status.done and (self._folder / job.name / VALID_METRICS).is_file():
            self.display.note(f"{label}: was done before, {_outcome(row)}")
        else:
            row = self._run(job, number, label, row)
        self.display.step(number)
        if row.status is Status.stopped:
            raise Stopped
        self._num_failed += row.status is Status.failed
        return row.metrics["mrr"] if row.metrics else None

    def _run(self, job: Job, number: int, label: str, before: Row | None) -> Row:
        resumed = has_checkpoint(self._folder / job.name)
        self.display.note(f"{label}: {'continues from its checkpoint' if resumed else 'starts'}")
        seconds_left = mean(self._seconds) * (self._total - number + 1) if self._seconds else None
        self.display.below_bar(f"log: {self._folder / job.name}.log", seconds_left)
        start = time.monotonic()
        row = run_job(job, self._folder, self._settings.deepspeed_arguments, self._stop,
                      seconds_before=before.seconds if before and resumed else 0.0)  # fmt: skip
        self._seconds.append(time.monotonic() - start)
        self._table.put(row)
        self.display.note(f"{label}: {_outcome(row)}")
        return row

    def conclude(self) -> int:
        """Print the table and, as the last line, what is left to do; the exit code."""
        rows = self._table.rows
        if rows:
            print(f"\n{render(rows)}")
        num_done = sum(row.status is Status.done for row in rows)
        place = f"table in {self._folder / 'sweep.md'}, a log beside each run's folder"
        if self._stop.asked:
            print(f"stopped; jobs done: {num_done}; the same command continues; {place}")
            return STOPPED
        if self._num_failed:
            # optuna does not ask for the same values twice
            again = "; the same command tries them again" if self._settings.algorithm is Algorithm.grid else ""
            print(f"jobs failed: {self._num_failed} of {self._total}{again}; {place}")
            return FAILED
        print(f"jobs done: {num_done}; {place}")
        return 0


def _outcome(row: Row) -> str:
    if row.metrics:
        return f"valid MRR {row.metrics['mrr']:.4f} in {row.seconds:,.0f} s"
    return row.status.value if row.error is None else f"{row.status.value}: {row.error} (see {row.log})"
