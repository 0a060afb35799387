"""1, 2 and 4 gloo processes give the same losses and gradients for the same global batch, term by term."""

from pathlib import Path

import pytest
import torch
from conftest import make_encoder, make_objective, objective_config, perturbed_copy, raw_windows
from distributed_worker import KALE_TERMS
from plain_engine import assert_same_gradients

WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture(
    scope="module", params=[pytest.param((1, 2), id="2"), pytest.param((1, 2, 4), marks=pytest.mark.slow, id="4")]
)
def results(
    request, tmp_path_factory, table, question_table, toy_graph, tokenizer, offline_environment, warm_python
) -> dict[int, list[dict]]:
    """By number of processes, what each of them found."""
    folder = tmp_path_factory.mktemp("distributed")
    # both directions, a queue and hard negatives: whatever crosses ranks
    config = objective_config(negatives={"queue_batches": 2}, query_chunk=3)
    encoder = make_encoder(tokenizer)
    objective = make_objective(encoder, toy_graph, config, perturbed_copy(encoder))
    directed = toy_graph.directed("train")
    hard = torch.randint(toy_graph.num_entities, (12,), generator=torch.Generator().manual_seed(0)).numpy()
    # 24 rows whose lengths differ, so a mean of per-rank means would be another number
    torch.save((objective, table, directed[:24], hard, directed[20:28], raw_windows(12), question_table),
               folder / "task.pt")  # fmt: skip
    found = {}
    for num_workers in request.param:
        workers = [
            warm_python.start([WORKER, folder, rank, num_workers], environment=offline_environment)
            for rank in range(num_workers)
        ]
        for worker in workers:
            result = worker.wait()
            assert result.returncode == 0, result.stderr
        found[num_workers] = [torch.load(folder / f"results-{num_workers}-{rank}.pt") for rank in range(num_workers)]
    return found


@pytest.mark.parametrize("num_micro_batches", [1, 3])
@pytest.mark.parametrize("term", ["contrastive", "triple_completion", "retention", "total"])
def test_each_term_and_its_gradient_are_those_of_one_process(term, num_micro_batches, results):
    expected_values, expected = results[1][0][term, 1]
    for num_workers, of_ranks in results.items():
        for of_rank in of_ranks:
            values, gradients = of_rank[term, num_micro_batches]
            for name, value in expected_values.items():
                torch.testing.assert_close(values[name], value, rtol=1e-5, atol=1e-6, msg=f"{num_workers} {name}")
            assert_same_gradients(gradients, expected)
    assert float(expected["log_temperature_change"].abs()) > 0 or term in ("triple_completion", "retention")


@pytest.mark.parametrize("num_micro_batches", [1, 2])
@pytest.mark.parametrize("term", KALE_TERMS)
def test_each_term_of_questions_and_its_gradient_are_those_of_one_process(term, num_micro_batches, results):
    expected_values, expected = results[1][0][term, 1]
    assert term in ("kale", "kale_self") or {term, "total"} <= set(expected_values)
    for num_workers, of_ranks in results.items():
        if 8 // num_workers < num_micro_batches:
            continue
        for of_rank in of_ranks:
            values, gradients = of_rank[term, num_micro_batches]
            for name, value in expected_values.items():
                torch.testing.assert_close(values[name], value, rtol=1e-5, atol=1e-6, msg=f"{num_workers} {name}")
            assert_same_gradients(gradients, expected)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3
    assert float(expected["log_temperature_change"].abs()) == 0


def test_the_balance_of_the_terms_does_not_depend_on_the_number_of_processes(results):
    ratios = []
    for of_ranks in results.values():
        first, *others = [
            torch.cat([gradient.flatten() for gradient in of_ranks[0][term, 1][1].values()]).norm()
            for term in ("contrastive", "triple_completion", "retention")
        ]
        ratios.append(float(first / other) for other in others)
    completion, retention = zip(*ratios, strict=True)
    assert completion == pytest.approx([completion[0]] * len(results), rel=1e-5)
    assert retention == pytest.approx([retention[0]] * len(results), rel=1e-5)


def test_negatives_of_the_own_share_are_those_of_that_share_alone(results):
    (expected,) = (of_rank["own share"] for of_rank in results[1])  # its halves, one after the other
    for of_rank in results[2]:
        assert_same_gradients(of_rank["own share"], expected)
    assert not torch.allclose(expected["loss"], results[1][0]["contrastive", 1][0]["contrastive"], rtol=1e-2)


def test_a_bad_loss_on_one_process_stops_all(results):
    for of_ranks in results.values():
        assert all("contrastive nan" in of_rank["bad loss"] for of_rank in of_ranks)


def test_gathered_rows_receive_what_all_ranks_send_them(results):
    for rank, result in enumerate(results[2]):
        gathered, gradient = result["gather"]
        assert gathered[:, 0].tolist() == [1, 1, 2, 2]
        # sum over ranks r of (r + 1) * position of the row
        assert gradient[:, 0].tolist() == [(1 + 2) * (2 * rank), (1 + 2) * (2 * rank + 1)]
