"""Metrics and their intervals against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.evaluation import metrics
from kalm.evaluation.metrics import METRICS, intervals, paired_differences, rank_metrics


def by_hand(ranks: list[float], num_candidates: list[int]) -> dict[str, float]:
    n = len(ranks)
    chance = sum((candidates + 1) / 2 for candidates in num_candidates) / n
    return {
        "mr": sum(ranks) / n,
        "mrr": sum(1 / rank for rank in ranks) / n,
        "hits@1": sum(rank <= 1 for rank in ranks) / n,
        "hits@3": sum(rank <= 3 for rank in ranks) / n,
        "hits@10": sum(rank <= 10 for rank in ranks) / n,
        "amri": 1 - (sum(ranks) / n - 1) / (chance - 1),
    }


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(50, 90)), min_size=1, max_size=20))
def test_metrics_equal_a_loop(rows):
    ranks, num_candidates = zip(*rows, strict=True)
    found = rank_metrics(np.array(ranks, dtype=float), np.array(num_candidates))
    assert found.pop("count") == len(rows)
    assert found == pytest.approx(by_hand(ranks, num_candidates), abs=1e-12)


def test_no_ranks_have_no_metrics():
    found = rank_metrics(np.array([]), np.array([]))
    assert found.pop("count") == 0
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.parametrize("paired", [False, True])
def test_intervals_equal_a_loop_over_resampled_triples(paired, monkeypatch):
    monkeypatch.setattr(metrics, "NUM_RESAMPLES", 20)
    generator = np.random.default_rng(1)
    clusters = np.repeat(np.arange(7), 2)
    systems = [generator.integers(1, 30, 14).astype(float) for _ in range(2)]
    num_candidates = np.full(14, 40)

    draws = np.random.default_rng(0)
    values = []
    for _ in range(20):
        rows = [row for cluster in draws.integers(7, size=7) for row in np.flatnonzero(clusters == cluster)]
        first, second = (by_hand(system[rows].tolist(), num_candidates[rows].tolist()) for system in systems)
        values.append([second[name] - first[name] if paired else first[name] for name in METRICS])
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    if paired:
        found = paired_differences(systems, [num_candidates] * 2, clusters)
        first, second = (by_hand(system.tolist(), num_candidates.tolist()) for system in systems)
        for name in METRICS:
            assert found[name]["difference"] == pytest.approx(second[name] - first[name], abs=1e-12)
        found = {name: found[name]["interval"] for name in METRICS}
    else:
        found = intervals(systems[0], num_candidates, clusters)
    for place, name in enumerate(METRICS):
        assert found[name] == pytest.approx([low[place], high[place]], abs=1e-12)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 100))
def test_an_interval_covers_what_it_is_drawn_from(seed):
    """Of 40 samples of 100 triples at least 33 intervals hold the true mean: 38 are expected."""
    generator = np.random.default_rng(seed)
    covered = 0
    for _ in range(40):
        ranks = np.repeat(generator.integers(1, 21, 100), 2).astype(float)  # the directions of a triple agree
        low, high = intervals(ranks, np.full(200, 40), np.repeat(np.arange(100), 2))["mr"]
        covered += low <= 10.5 <= high
    assert covered >= 33
