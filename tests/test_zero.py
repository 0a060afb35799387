"""ZeRO 0 to 3 give the losses and gradients of one process without DeepSpeed."""

import copy
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import (
    ROOT,
    cut,
    cut_questions,
    cut_texts,
    loud,
    make_encoder,
    make_objective,
    objective_config,
    perturbed_copy,
    raw_windows,
    with_lora,
)
from hydra import compose, initialize_config_dir
from plain_engine import PlainEngine, assert_same_gradients, step_gradients

from kalm.composition import load_config
from kalm.config import Compared, Dtype
from kalm.training.question_step import question_step
from kalm.training.step import train_step

WORKER = Path(__file__).with_name("zero_worker.py")
# so that the step on questions, after one on triples, finds the same weights
STANDS_STILL = ["training.learning_rate=1e-30"]
MICRO_BATCH_SIZE = 1  # of 12 triples on 1, 2 or 4 processes


Case = tuple[str, str, int, int | None]  # model, precision, ZeRO stage, micro-batch size


# each model, precision, stage and way to cut a batch, though not all together
MODELS = ("whole", "lora", "questions")
SOME: list[Case] = [
    ("whole", "float32", 0, MICRO_BATCH_SIZE),
    ("whole", "float32", 3, None),
    ("lora", "float32", 3, MICRO_BATCH_SIZE),
    ("questions", "float32", 2, MICRO_BATCH_SIZE),
    ("whole", "bfloat16", 3, MICRO_BATCH_SIZE),
]
ALL: list[Case] = [
    *((model, "float32", stage, None) for model in MODELS for stage in range(4)),
    *((model, "float32", stage, MICRO_BATCH_SIZE) for model in MODELS for stage in (0, 2, 3)),
    *(("whole", "bfloat16", stage, size) for stage in range(4) for size in (None, MICRO_BATCH_SIZE)),
]
OF_OTHER_NUMBERS: list[Case] = [
    *(("whole", "float32", stage, None) for stage in range(4)),
    *((model, "float32", 3, MICRO_BATCH_SIZE) for model in ("lora", "questions")),
]  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory, tokenizer, table, question_table, toy_graph):
    """A folder with what the processes load, and by model and precision what one process without DeepSpeed finds."""
    folder = tmp_path_factory.mktemp("zero")
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = load_config(
            compose("train", overrides=["training.batch_size=12", "training.max_gradient_norm=0", *STANDS_STILL])
        )
    directed, windows = toy_graph.directed("train")[:24], raw_windows(4)
    expected = {}
    for model in ("whole", "lora", "questions"):
        encoder = make_encoder(tokenizer)
        if model == "questions":
            loud(encoder)
        if model != "lora":
            weight, base = 0.5, perturbed_copy(encoder)
        else:
            encoder, weight, base = with_lora(encoder), 50.0, None  # which diverge little
        # tiny chunks, so that ranks with different numbers of tokens must agree on the number of chunks
        kale = {"kl_weight": 2.0, "answer_weight": 0.5, "rationale_weight": 0.1, "positions": Compared.all}
        terms = objective_config(
            logit_chunk_tokens=7, retention_weight=weight, kale=kale if model == "questions" else None
        )
        objective = make_objective(encoder, toy_graph, terms, base)
        for dtype in ("float32",) if model == "questions" else ("float32", "bfloat16"):
            precise = copy.deepcopy(objective).to(getattr(torch, dtype))
            with_dtype = replace(config, model=replace(config.model, dtype=Dtype(dtype)))
            asked = question_table if model == "questions" else None
            torch.save((precise, table, directed, windows, with_dtype, asked), folder / f"{model}-{dtype}.pt")
            step, batches = train_step, cut(directed, table, 1)
            if model == "questions":
                rows = [question % len(question_table) for question in range(12)]
                step, batches = question_step, cut_questions(question_table, rows, terms.kale, 1)
            losses = step(PlainEngine(precise), batches, cut_texts(windows, 1))
            gradients = step_gradients(precise, step, batches, cut_texts(windows, 1))
            values = [losses.total, *losses.terms().values()]
            expected[model, dtype] = ([float(value.detach()) for value in values], gradients)
            assert losses.retention > 1e-3
    return folder, expected


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((1, OF_OTHER_NUMBERS), marks=pytest.mark.slow, id="1"),
        pytest.param((2, SOME), id="2"),
        pytest.param((2, ALL), marks=pytest.mark.slow, id="2-all"),
        pytest.param((4, OF_OTHER_NUMBERS), marks=pytest.mark.slow, id="4"),
    ],
)
def results(request, task, offline_environment, warm_python):
    """By case what the engine finds with this number of processes, and what is expected."""
    folder, expected = task
    num_workers, cases = request.param
    torch.save(cases, folder / "cases.pt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    workers = [
        warm_python.start([WORKER, folder, rank, num_workers, port], environment=offline_environment)
        for rank in range(num_workers)
    ]
    for worker in workers:
        result = worker.wait()
        assert result.returncode == 0, result.stderr
        assert "Warning" not in result.stdout + result.stderr
    found = torch.load(folder / f"results-{num_workers}.pt")
    assert set(found) == set(cases)
    return found, expected


def test_losses_and_gradients_of_the_engine_are_those_of_one_process(results):
    found, expected = results
    for (model, dtype, stage, micro_batch_size), (values, gradients) in found.items():
        if dtype == "float32":
            expected_values, expected_gradients = expected[model, dtype]
            # a small divergence is a difference of logarithms, which are rounded
            assert values == pytest.approx(expected_values, rel=1e-5, abs=1e-6), (model, stage, micro_batch_size)
            assert_same_gradients(gradients, expected_gradients)


def test_bfloat16_is_no_worse_than_one_process_in_bfloat16(results):
    found, expected = results
    truth = expected["whole", "float32"][1]

    def error(gradients) -> float:
        return float(torch.cat([(gradients[name] - truth[name]).flatten() for name in truth]).norm())

    reference = error({name: gradient.float() for name, gradient in expected["whole", "bfloat16"][1].items()})
    size = error({name: torch.zeros_like(gradient) for name, gradient in truth.items()})
    assert 0 < reference < 0.1 * size
    for (_, dtype, stage, _), (_, gradients) in found.items():
        if dtype == "bfloat16":
            # half of the rows each, rounded apart: as much noise again is no surprise, a systematic error would be
            assert error(gradients) < 1.5 * reference, stage
