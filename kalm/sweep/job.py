"""One job: training under the `deepspeed` command, then metrics of the valid split, as processes of their own."""

import argparse
import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from hydra.core.override_parser.types import Quote, QuotedString

from kalm.command_line import ROOT
from kalm.composition import read_config
from kalm.config import require_at_least
from kalm.logged import read_logged
from kalm.sweep.plan import Job
from kalm.sweep.table import Row, Status
from kalm.training.port import free_port
from kalm.training.stop import StopRequest

VALID_METRICS = Path("eval") / "kgc-valid.json"  # in a run's folder
# what a traceback ends with; torch puts the rank before it
RAISED = re.compile(r"(?:\[rank\d+\]: )?((?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b.*)")


class JobError(Exception):
    """A command failed; the message is one line."""


class Stopped(Exception):  # noqa: N818 (it is no error)
    """A command ended because the sweep was asked to stop."""


def run_job(
    job: Job,
    folder: Path,
    deepspeed_arguments: Sequence[str],
    stop: StopRequest,
    *,
    seconds_before: float,
) -> Row:
    """Train, from the newest checkpoint if there is one, and rank the valid split.

    Args:
        job: what to run.
        folder: of the sweep; the run's folder and the log are made in it.
        deepspeed_arguments: for the `deepspeed` command.
        stop: once it is asked for, the running command is told, and awaited while it saves.
        seconds_before: what the job took in earlier calls.
    """
    start = time.monotonic()
    run, log = folder / job.name, folder / f"{job.name}.log"

    def row(status: Status, error: str | None = None, report: dict[str, Any] | None = None) -> Row:
        return Row(
            name=job.name,
            swept=job.swept,
            overrides=job.overrides,
            status=status,
            error=error,
            metrics=report["metrics"]["both"] if report else None,
            step=report["step"] if report else None,
            git_commit=report["environment"]["git_commit"] if report else None,
            seconds=round(seconds_before + time.monotonic() - start, 1),
            folder=str(run),
            log=str(log),
        )

    try:
        _call(training_command(job, run, deepspeed_arguments), log, stop, _ranks)
        _check_trained_to_the_end(run)
        _call(evaluation_command(job, run), log, stop, lambda evaluation: [evaluation])
    except JobError as failure:
        return row(Status.failed, error=str(failure))
    except Stopped:
        return row(Status.stopped)
    return row(Status.done, report=json.loads((run / VALID_METRICS).read_text(encoding="utf-8")))


def training_command(job: Job, run: Path, deepspeed_arguments: Sequence[str]) -> list[str]:
    """The `deepspeed` launch that starts the run, or continues it from its newest checkpoint.

    Raises:
        ValueError: there is no `deepspeed` command.
    """
    # a start without a checkpoint may find what a killed run has left
    how = "training.resume=true" if has_checkpoint(run) else "run.overwrite=true"
    return [
        deepspeed_command(), "--master_port", str(free_port()), *deepspeed_arguments, str(ROOT / "launch" / "train.py"),
        *job.overrides, f"run.root={_quoted(str(run.parent))}", f"run.name={_quoted(run.name)}", how,
    ]  # fmt: skip


def num_processes(deepspeed_arguments: Sequence[str]) -> int:
    """Of each job, as far as the arguments tell; 1 where they leave it to `deepspeed`.

    Raises:
        ValueError: --num_gpus has no number.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--num_gpus", type=int, default=1)
    try:
        found: int = parser.parse_known_args(list(deepspeed_arguments))[0].num_gpus
    except argparse.ArgumentError as error:
        raise ValueError(f"sweep.deepspeed_arguments: {error}; it takes a whole number, like [--num_gpus,2]") from error
    require_at_least("sweep.deepspeed_arguments: --num_gpus", found, 1)
    return found


def has_checkpoint(run: Path) -> bool:
    return any((run / "checkpoints").glob("step-*"))


def evaluation_command(job: Job, run: Path) -> list[str]:
    """Ranks valid queries, with test neither among the queries nor in the filter."""
    settings = [override for override in job.overrides if override.startswith(("ranking=", "ranking."))]
    return [
        sys.executable, str(ROOT / "eval" / "kgc.py"), f"run={_quoted(str(run))}", "split=valid",
        "protocol.filter=[train,valid]", "baselines=false", *settings,
    ]  # fmt: skip


def deepspeed_command() -> str:
    """The one beside this Python, else the first on PATH.

    Raises:
        ValueError: there is none.
    """
    beside = Path(sys.executable).with_name("deepspeed")
    command = str(beside) if beside.is_file() else shutil.which("deepspeed")
    if command is None:
        raise ValueError(f"there is no deepspeed command, neither beside {sys.executable} nor on PATH")
    return command


def _call(
    command: Sequence[str],
    log: Path,
    stop: StopRequest,
    listeners: Callable[[psutil.Process], list[psutil.Process]],
) -> None:
    """Run a command to its end, its output at the end of the log; SIGTERM goes to `listeners` when the sweep stops.

    Raises:
        JobError: the command failed.
        Stopped: the sweep was asked to stop.
    """
    with log.open("ab") as output:
        output.write(f"$ {shlex.join(command)}\n".encode())
        output.flush()
        begin = output.tell()
        # in a process group of its own Ctrl-C reaches the sweep alone, which passes it on
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    told: set[int] = set()
    while process.poll() is None:
        if stop.asked:
            _terminate(listeners, process.pid, told)
        time.sleep(0.1)
    if stop.asked:
        raise Stopped
    if process.returncode != 0:
        raise JobError(_reason(log, begin, process.returncode))


def _terminate(listeners: Callable[[psutil.Process], list[psutil.Process]], pid: int, told: set[int]) -> None:
    """Send SIGTERM once to each listener; those that start later get it in a later call."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
        for listener in listeners(psutil.Process(pid)):
            if listener.pid not in told:
                told.add(listener.pid)
                listener.terminate()


def _ranks(command: psutil.Process) -> list[psutil.Process]:
    """The training processes: `deepspeed` starts launch.py, which starts them.

    They are told alone. SIGTERM to `deepspeed` would leave the others behind, unseen; SIGTERM to launch.py would make
    it kill ranks that take more than 30 seconds to save. Both end when the ranks have ended.
    """
    return [rank for launch in command.children() for rank in launch.children()]


def _check_trained_to_the_end(run: Path) -> None:
    """Training that was told to stop by someone else has saved, and ended without an error.

    Raises:
        JobError: the run has steps left.
    """
    training = read_config(run / "config.yaml").training
    steps = [line for line in read_logged(run / "metrics.jsonl") if "epoch" in line]  # others hold validations
    if not steps:
        raise JobError("left no line in metrics.jsonl")
    last = steps[-1]
    if training.max_steps is None:
        # steps are rounded up to cover the epochs; the tolerance is for the division
        ended = last["epoch"] >= training.epochs * (1 - 1e-9)
    else:
        ended = last["step"] >= training.max_steps
    if not ended:
        raise JobError(f"was stopped at step {last['step']}, before its end")


def _reason(log: Path, begin: int, exit_code: int) -> str:
    lines = log.read_bytes()[begin:].decode(errors="replace").splitlines()
    if said := next((line for line in lines if line.startswith("error: ")), None):
        return said.removeprefix("error: ")
    raised = [match[1] for line in lines if (match := RAISED.match(line))]
    return raised[-1][:300] if raised else f"exit code {exit_code}"


def _quoted(text: str) -> str:
    """For hydra, to which commas and more would mean something."""
    return QuotedString(text, Quote.single).with_quotes()
