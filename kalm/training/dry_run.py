"""A few real steps of a run, and from them what the whole of it will need."""

import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from kalm.distributed import barrier, broadcast, rank, world_size
from kalm.evaluation.report import print_facts
from kalm.text.ragged import Ids
from kalm.training.checkpoint import save_checkpoint
from kalm.training.estimate import (
    Duration,
    Spread,
    candidate_steps,
    clock,
    num_checkpoints,
    num_searches,
    num_validations,
    seconds_per_step,
    steps_of_all_lengths,
)
from kalm.training.memory import (
    Part,
    bytes_beside,
    device_bytes,
    memory_by_part,
    num_device_bytes,
    parameter_sizes,
    states_of,
)
from kalm.training.meter import Meter
from kalm.training.progress import negatives_in_words
from kalm.training.result import save_model
from kalm.training.stop import StopRequest, deepspeed_command
from kalm.training.trainer import Trainer

NUM_CANDIDATES = 512  # steps, evenly spread over the run, whose lengths are looked up
NUM_WARMUP_STEPS = 2  # not counted: threads, kernels and Adam's moments are made in the first
MEASURED_SECONDS, MIN_STEPS, MAX_STEPS = 20.0, 8, 64  # of the steps that are counted
BRIEF_SECONDS = 5.0  # what takes less is done twice, since the first time pays for imports


@dataclass(frozen=True, kw_only=True, slots=True)
class _Steps:
    """What the measured steps have shown."""

    seconds: Spread  # of a step of mean length
    num_measured: int
    num_warmup: int
    extra_seconds: float  # that the first step took
    mean_tokens: float  # of the run's steps
    metrics: dict[str, float]  # means, named as in metrics.jsonl


def dry_run(trainer: Trainer) -> None:
    """Measure a few steps of the run and what it does beside them, and print what all of it will need.

    Nothing is written to the run's folder; a checkpoint and a model are saved beside it and removed.

    Raises:
        ValueError: no step is left, a loss is not finite, or a step does not fit into the device's memory.
    """
    if trainer.step >= trainer.last_step:
        raise ValueError(f"training.dry_run: the run has done its last step, {trainer.last_step}; nothing is left")
    ready = time.time() - (deepspeed_command() or psutil.Process()).create_time()
    engine = trainer.engine
    states = states_of(engine, trainer.config.deepspeed)
    beside = bytes_beside(engine, states)
    negatives, hard_negatives = trainer.config.objective.negatives, trainer.batches.hard_negatives
    others = {}
    if hard_negatives is not None:
        num = num_searches(trainer.step, trainer.last_step, negatives.mine_every_steps)
        others["searches for hard negatives"] = (num, _seconds(lambda: hard_negatives.mine(trainer.objective.encoder)))
    try:
        steps = _measure_steps(trainer)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"a step does not fit: weights, gradients and optimizer state alone take {_mib(num_device_bytes(states))} "
            f"of {_mib(device_bytes(engine.device))}; see training.micro_batch_size and deepspeed.zero_stage"
        ) from error
    beside_steps, disk = _measure_others(trainer)
    duration = Duration(
        start_up=ready + steps.extra_seconds,
        num_steps=trainer.last_step - trainer.step,
        step=steps.seconds,
        others=others | beside_steps,
    )
    memory = memory_by_part(engine, states, trainer.objective.contrastive, trainer.table, beside=beside)
    if rank() == 0:
        rows = [*_work(trainer, steps), *_time(trainer, duration, steps, disk)]
        print_facts(f"estimate of {trainer.config.run.name}; nothing was written", rows)
        _print_memory(trainer, memory)


def _measure_steps(trainer: Trainer) -> _Steps:
    """Steps of all lengths, after some that are not counted: first the longest, which needs the most memory."""
    negatives = trainer.config.objective.negatives
    search_every = negatives.mine_every_steps if negatives.hard_per_triple else 0
    candidates = candidate_steps(trainer.step, trainer.last_step, search_every, NUM_CANDIDATES)
    triples, sampler = trainer.graph.triples["train"], trainer.batches.sampler
    lengths = np.array([trainer.batches.num_tokens(triples[sampler.rows(step)]) for step in candidates.tolist()])
    length_of = dict(zip(candidates.tolist(), lengths.tolist(), strict=True))
    meter, stop = Meter(trainer.engine.device), StopRequest()

    def measure(steps: Ids) -> list[dict[str, Any]]:
        metrics = []
        for step in steps.tolist():
            if trainer.take_step(step, meter, stop):
                raise KeyboardInterrupt
            metrics.append(meter.read_and_reset())
        return metrics

    # until the queue of earlier batches is full
    num_warmup = max(NUM_WARMUP_STEPS, 1 + negatives.queue_batches)
    longest = candidates[[lengths.argmax()]]
    warmup = measure(longest) + measure(
        np.resize(steps_of_all_lengths(candidates, lengths, num_warmup), num_warmup - 1)
    )
    wanted = broadcast(MEASURED_SECONDS / warmup[-1]["seconds_per_step"])
    counted = steps_of_all_lengths(candidates, lengths, int(np.clip(wanted, MIN_STEPS, MAX_STEPS)))
    metrics = measure(counted)
    seconds = seconds_per_step(
        [found["seconds_per_step"] for found in metrics],
        np.array([length_of[step] for step in counted.tolist()]),
        lengths.mean(),
    )
    usual = seconds.middle * lengths.max() / lengths.mean()
    return _Steps(
        seconds=seconds,
        num_measured=len(counted),
        num_warmup=num_warmup,
        extra_seconds=max(0.0, warmup[0]["seconds_per_step"] - usual),
        mean_tokens=lengths.mean(),
        metrics={name: statistics.mean(found[name] for found in metrics) for name in metrics[0]},
    )


def _measure_others(trainer: Trainer) -> tuple[dict[str, tuple[int, float]], int]:
    """What is done beside the steps, how often and in how many seconds; and bytes of a checkpoint and a model."""
    config, training = trainer.config, trainer.config.training
    others = {}
    every_steps = config.evaluation.every_steps
    if every_steps:
        num = num_validations(trainer.step, trainer.last_step, every_steps)
        others["validations"] = (num, _seconds(trainer.valid_metrics))
    with StopRequest().listening(), _shared_folder(Path(config.run.root)) as folder:  # no signal may leave it behind
        apart = replace(config, run=replace(config.run, root=str(folder), name="run"))
        numbers = itertools.count()
        checkpoint = _seconds(
            lambda: save_checkpoint(trainer.engine, trainer.state(), next(numbers), folder / "checkpoints")
        )
        model = _seconds(lambda: save_model(trainer.objective, trainer.tokenizer, apart, {}))
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        barrier()  # rank 0 removes what the others still count
    num = num_checkpoints(trainer.step, trainer.last_step, training.checkpoint_every_steps, every_steps)
    # each validation may find the best model so far, which is then saved
    return others | {
        "checkpoints": (num, checkpoint),
        "saved models": (others.get("validations", (1,))[0], model),
    }, disk


def _seconds(action: Callable[[], Any]) -> float:
    """Seconds of an action that all ranks take; the same number on all of them."""

    def once() -> float:
        barrier()
        start = time.perf_counter()
        action()
        return float(broadcast(time.perf_counter() - start))

    first = once()
    return once() if first < BRIEF_SECONDS else first


@contextmanager
def _shared_folder(root: Path) -> Iterator[Path]:
    """A folder for all ranks, on the disk where the run's own would be, for as long as the context lasts."""
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    folder = Path(broadcast(tempfile.mkdtemp(prefix=".dry-run-", dir=place) if rank() == 0 else None))
    try:
        yield folder
    finally:
        if rank() == 0:
            shutil.rmtree(folder)


def _work(trainer: Trainer, steps: _Steps) -> list[tuple[str, str]]:
    sizes, batches, batch_size = parameter_sizes(trainer.objective), trainer.batches, trainer.config.training.batch_size
    trained, frozen = (sum(size.numel for size in sizes if size.is_trained is wanted) for wanted in (True, False))
    return [
        ("parameters", f"{trained:,} trained, {frozen:,} frozen"),
        ("steps", f"{trainer.last_step - trainer.step:,} of {batch_size} triples; "
                  f"{batches.num_triples / batch_size:,.1f} make an epoch"),
        ("tokens", f"{batches.num_tokens(trainer.graph.triples['train']):,} in an epoch, {steps.mean_tokens:,.0f} in a "
                   f"step{', without hard negatives' if batches.hard_negatives else ''}; "
                   f"{steps.metrics['padding']:.1%} of what is computed is padding"),
        ("negatives per query", negatives_in_words(steps.metrics)),
    ]  # fmt: skip


def _time(trainer: Trainer, duration: Duration, steps: _Steps, disk: int) -> list[tuple[str, str]]:
    seconds, total = duration.step, duration.total
    triples_per_second = trainer.config.training.batch_size / seconds.middle
    beside = [
        (f"  {name}", f"{count:,} x {each:.3g} s = {clock(count * each)}")
        for name, (count, each) in duration.others.items()
        if count
    ]
    return [
        ("seconds per step", f"{seconds.middle:.3g} [{seconds.low:.3g}, {seconds.high:.3g}]: median and quartiles of "
                             f"{steps.num_measured} steps, after {steps.num_warmup} that are not counted"),
        ("speed", f"{triples_per_second:,.0f} triples/s, {steps.metrics['tokens_per_second']:,.0f} tokens/s"),
        ("time in all", f"{clock(total.middle)} [{clock(total.low)}, {clock(total.high)}], made up of"),
        ("  start-up", clock(duration.start_up)),
        ("  steps", clock(duration.num_steps * seconds.middle)),
        *beside,
        ("disk", f"{_mib(disk)} for a checkpoint and the model"),
    ]  # fmt: skip


def _print_memory(trainer: Trainer, memory: list[Part]) -> None:
    device = trainer.engine.device
    rows = [
        (f"{part.name}, in main memory" if part.in_main_memory else part.name, _mib(part.num_bytes))
        for part in memory
        if part.num_bytes
    ]
    total = ("in all", f"{_mib(num_device_bytes(memory))} of {_mib(device_bytes(device))}")
    shared = "" if device.type == "cuda" else ", which share the machine's memory"
    print_facts(f"memory of each of {world_size()} x {device.type}{shared}", [*rows, total])


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB"
