"""The estimate before the run: memory against loops and against DeepSpeed, tokens, counts, and the command itself."""

import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, write_toy_graph
from hydra import compose, initialize_config_dir
from test_entry_points import DEEPSPEED, TINY

from kalm.composition import load_config, read_config, save_config
from kalm.config import Config, SeparateConfig
from kalm.training.batches import BatchMaker
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
from kalm.training.memory import ParameterSize, num_device_bytes, state_memory

FLOAT32, BFLOAT16 = 4, 2


def loaded(*overrides: str) -> Config:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return load_config(compose("train", overrides=list(overrides)), overrides)


def state_memory_of_rank_0(sizes, *, zero_stage, world_size, kept_whole):
    """Element by element: rank 0 holds all of them, or each world_size-th."""
    held = dict.fromkeys(("weights", "small weights, held whole", "gradients", "float32 copy of the weights",
                          "optimizer state"), 0)  # fmt: skip
    has_copy = any(size.is_trained and size.element_bytes != FLOAT32 for size in sizes) or zero_stage > 0
    for size in sizes:
        for element in range(size.numel):
            is_own = element % world_size == 0
            held["weights"] += size.element_bytes if is_own or zero_stage < 3 else 0
            if zero_stage == 3 and size.numel <= kept_whole:
                held["small weights, held whole"] += size.element_bytes
            if size.is_trained:
                held["gradients"] += size.element_bytes if is_own or zero_stage < 2 else 0
                if is_own or zero_stage < 1:
                    held["float32 copy of the weights"] += FLOAT32 if has_copy else 0
                    held["optimizer state"] += 2 * FLOAT32
    return held


@pytest.mark.parametrize("zero_stage", range(4))
@pytest.mark.parametrize("element_bytes", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("is_lora", [False, True])
def test_memory_of_weights_and_optimizer_equals_a_loop_over_elements(zero_stage, element_bytes, is_lora):
    sizes = [ParameterSize(12, element_bytes, not is_lora), ParameterSize(101, element_bytes, not is_lora),
             ParameterSize(7, element_bytes, True), ParameterSize(1, element_bytes, True)]  # fmt: skip
    for world_size in (1, 2, 3):
        place = {"zero_stage": zero_stage, "world_size": world_size, "kept_whole": 12}
        parts = state_memory(sizes, **place)
        assert {part.name: part.num_bytes for part in parts} == state_memory_of_rank_0(sizes, **place)
        assert num_device_bytes(parts) == sum(part.num_bytes for part in parts)


def test_what_is_offloaded_is_not_counted_on_the_device():
    sizes = [ParameterSize(100, BFLOAT16, True), ParameterSize(10, BFLOAT16, True)]
    place = {"zero_stage": 3, "world_size": 2, "kept_whole": 10}
    parts = state_memory(sizes, **place, offload_optimizer=True, offload_parameters=True)
    assert num_device_bytes(parts) == 10 * BFLOAT16, "small weights are held whole"
    assert {part.name: part.num_bytes for part in parts}["gradients"] == 55 * FLOAT32, "which AdamW on the CPU takes"


@pytest.mark.slow
def test_memory_of_weights_and_optimizer_is_what_deepspeed_holds(tmp_path, offline_environment, warm_python):
    torch.save(loaded("training.batch_size=2"), tmp_path / "config.pt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    worker = Path(__file__).with_name("memory_worker.py")
    workers = [
        warm_python.start([worker, tmp_path, rank, 2, port], environment=offline_environment) for rank in range(2)
    ]
    for result in [started.wait() for started in workers]:
        assert result.returncode == 0, result.stderr
    cases = json.loads((tmp_path / "cases.json").read_text())
    assert len(cases) == 4 * 2 * 2
    for case in cases:
        for part, held in case["held"].items():
            # DeepSpeed pads, and kalm rounds, to whole shares: by group or by parameter
            expected = None if held is None else pytest.approx(case["estimated"][part], abs=64)
            assert held == expected, f"{case['case']}: {part}"


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inverse_view": False},
        {"separate": SeparateConfig(encode_heads=False, logits_everywhere=True)},
        {"separate": SeparateConfig(encode_heads=True, logits_everywhere=False)},
        {"separate": SeparateConfig(encode_heads=True, logits_everywhere=False), "inverse_view": False},
    ],
)
def test_tokens_of_an_epoch_are_those_of_its_batches(changes, world_size, toy_graph, table, encoder):
    config = loaded("training.batch_size=2")  # 14 triples: seven steps are an epoch
    config = replace(config, objective=replace(config.objective, **changes))
    makers = [BatchMaker(config, toy_graph, table, rank=rank, world_size=world_size) for rank in range(world_size)]
    collated = [batch.num_tokens for maker in makers for step in range(7) for batch in maker.of_step(step, encoder)]
    assert makers[0].num_tokens(toy_graph.triples["train"]) == sum(collated)


def test_steps_to_measure_are_of_all_lengths_and_without_a_search():
    candidates = candidate_steps(3, 100, search_every=5, count=1000)
    assert candidates.tolist() == [step for step in range(3, 100) if step % 5]
    assert candidate_steps(0, 4, search_every=1, count=9).tolist() == [0, 1, 2, 3], "where all begin with one"
    assert candidate_steps(0, 10**6, search_every=10, count=100).size == 100
    lengths = np.random.default_rng(0).permutation(len(candidates))
    chosen = steps_of_all_lengths(candidates, lengths, 10)
    assert chosen.tolist() == sorted(chosen)
    places = sorted(lengths[np.isin(candidates, chosen)] * 10 // len(candidates))
    assert places == list(range(10)), "one of each tenth"
    assert len(steps_of_all_lengths(candidates[:3], lengths[:3], 10)) == 3


def test_seconds_of_steps_are_scaled_to_the_mean_length():
    seconds = seconds_per_step([1.0, 2.0, 30.0], np.array([100, 200, 300]), mean_tokens=150.0)
    assert seconds.middle == pytest.approx(1.5), "one that was disturbed does not count"
    assert seconds.low <= seconds.middle <= seconds.high
    duration = Duration(start_up=5.0, num_steps=10, step=Spread(1.0, 1.5, 2.0), others={"checkpoints": (2, 0.5)})
    assert duration.total == (16.0, 21.0, 26.0)
    assert clock(3 * 3600 + 59.7) == "3:01:00"


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 10), (3, 10), (4, 12), (0, 12)])
@pytest.mark.parametrize("every", [0, 2, 4, 5])
@pytest.mark.parametrize("validate_every", [0, 3, 4])
def test_counts_are_those_of_a_loop_like_the_trainers(first, last, every, validate_every):
    validations, checkpoints = 0, set()
    for step in range(first + 1, last + 1):
        if every and step % every == 0:
            checkpoints.add(step)
        if validate_every and (step % validate_every == 0 or step == last):
            validations += 1
            checkpoints.add(step)
    assert num_validations(first, last, validate_every) == validations
    assert num_checkpoints(first, last, every, validate_every) == len(checkpoints | {last})
    if every:
        assert num_searches(first, last, every) == sum(step % every == 0 for step in range(first, last))


def test_a_dry_run_is_no_part_of_a_runs_name_or_config(tmp_path):
    config = loaded("training.dry_run=true")
    assert config.run.name == loaded().run.name
    save_config(config, tmp_path / "config.yaml")
    assert not read_config(tmp_path / "config.yaml").training.dry_run


def dry_run(folder: Path, environment: dict[str, str], *arguments: str, launcher: tuple[str, ...]) -> str:
    write_toy_graph(folder / "toy")
    command = [*launcher, str(ROOT / "launch" / "train.py"), f"data.path={folder / 'toy'}",
               f"data.cache={folder / 'cache'}", f"run.root={folder / 'runs'}", *TINY, "training.dry_run=true",
               *arguments]  # fmt: skip
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_dry_run_prints_what_the_run_needs_and_leaves_the_old_one(tmp_path, offline_environment):
    run = tmp_path / "runs" / "old"
    (run / "model").mkdir(parents=True)
    save_config(loaded(), run / "config.yaml")
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    before = contents(run)
    printed = dry_run(tmp_path, offline_environment, "run.name=old", launcher=(sys.executable,))
    for row in ("parameters", "10 of 8 triples; 1.8 make an epoch", "negatives per query", "seconds per step",
                "start-up", "1 x", "weights", "gradients", "optimizer state", "activations"):  # fmt: skip
        assert row in printed, row
    assert re.search(r"time in all +│ \d:\d\d:\d\d \[\d:\d\d:\d\d, \d:\d\d:\d\d\]", printed)
    assert contents(run) == before
    assert list((tmp_path / "runs").iterdir()) == [run]


@pytest.mark.slow
def test_a_dry_run_on_two_processes_counts_what_is_done_beside_the_steps_and_leaves_nothing(
    tmp_path, offline_environment
):
    printed = dry_run(
        tmp_path, offline_environment, "training.micro_batch_size=2", "objective.negatives.hard_per_triple=1",
        "objective.negatives.mine_every_steps=4", "objective.negatives.queue_batches=2", "deepspeed.zero_stage=3",
        "evaluation.every_steps=5", launcher=(DEEPSPEED, "--num_gpus", "2", "--master_port", "29614"),
    )  # fmt: skip
    for row in (r"searches for hard negatives +│ 3 x", r"validations +│ 2 x", r"checkpoints +│ 2 x", r"\d hard",
                r"targets of earlier batches", r"small weights, held whole", r"each of 2 x cpu"):  # fmt: skip
        assert re.search(row, printed), row
    assert not (tmp_path / "runs").exists()
    assert not list(tmp_path.glob(".dry-run-*"))
