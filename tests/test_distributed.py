"""1, 2 and 4 gloo processes give the same losses and gradients for the same global batch, term by term."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kalm.config import ObjectiveConfig
from kalm.objective.joint import JointObjective

WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture
def task(tmp_path, encoder, table, toy_graph):
    config = ObjectiveConfig(
        name="test", contrastive_weight=1.0, triple_completion_weight=0.3, temperature=0.07, learn_temperature=True,
        additive_margin=0.02, false_negative_rate=0.1, logit_chunk_tokens=5,
    )  # fmt: skip
    objective = JointObjective(
        encoder, config, torch.from_numpy(toy_graph.known_tail_keys(["train"])),
        num_relations=toy_graph.num_relations, num_entities=toy_graph.num_entities,
    )  # fmt: skip
    # 12 triples; their lengths differ, so a mean of per-rank means would be another number
    torch.save((objective, table, toy_graph.directed("train")[:24]), tmp_path / "task.pt")
    return tmp_path


def run_workers(folder: Path, num_workers: int, environment) -> list[dict]:
    workers = [
        subprocess.Popen([sys.executable, str(WORKER), str(folder), str(rank), str(num_workers)], env=environment)
        for rank in range(num_workers)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0] * num_workers
    return [torch.load(folder / f"results-{num_workers}-{rank}.pt") for rank in range(num_workers)]


def test_each_term_and_its_gradient_are_those_of_one_process(task, offline_environment):
    (single,) = run_workers(task, 1, offline_environment)
    for num_workers in (2, 4):
        for results in run_workers(task, num_workers, offline_environment):
            for term in ("total", "contrastive", "triple_completion"):
                value, gradients = results[term]
                expected_value, expected = single[term]
                assert value == pytest.approx(expected_value, rel=1e-5)
                assert set(gradients) == set(expected)
                for name in expected:
                    # float32 sums in another order: noise grows with the tensor's largest gradient
                    noise = 2e-5 * float(expected[name].abs().max())
                    assert float((gradients[name] - expected[name]).abs().max()) <= noise, (num_workers, name)
    assert float(single["contrastive"][1]["log_temperature"].abs()) > 0, "the temperature must be learned"
    assert not single["triple_completion"][1]["log_temperature"].any()


def test_gathered_rows_receive_what_all_ranks_send_them(task, offline_environment):
    results = run_workers(task, 2, offline_environment)
    for rank, result in enumerate(results):
        gathered, gradient = result["gather"]
        assert gathered[:, 0].tolist() == [1, 1, 2, 2]
        # sum over ranks r of (r + 1) * position of the row
        assert gradient[:, 0].tolist() == [(1 + 2) * (2 * rank), (1 + 2) * (2 * rank + 1)]
