"""Two systems on the same questions: intervals and tests against plain loops."""

import math
from itertools import product

import numpy as np
import pytest

from kalm.evaluation.metrics import NUM_RESAMPLES
from kalm.evaluation.paired import accuracy, compare_accuracy, compare_ratio, mcnemar, ratio

CLUSTERS = np.array([5, 5, 1, 7, 7, 7, 2])
BITS = np.array([[3.0, 1, 4, 1, 5, 9, 2], [6.0, 5, 3, 5, 8, 9, 7]])
BYTES = np.array([2.0, 7, 1, 8, 2, 8, 1])


def resamples():
    """The rows of each resample, by a loop: clusters in ascending order, drawn with replacement."""
    groups = [np.flatnonzero(cluster == CLUSTERS) for cluster in sorted(set(CLUSTERS.tolist()))]
    generator = np.random.default_rng(0)
    for _ in range(NUM_RESAMPLES):
        yield np.concatenate([groups[i] for i in generator.integers(len(groups), size=len(groups))])


def test_a_ratio_of_totals_draws_whole_clusters():
    drawn = [BITS[0][rows].sum() / BYTES[rows].sum() for rows in resamples()]
    found = ratio(BITS[0], BYTES, CLUSTERS)
    assert found["value"] == pytest.approx(25 / 29)
    assert found["interval"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_a_difference_draws_the_same_clusters_for_both():
    drawn = [(BITS[1][rows].sum() - BITS[0][rows].sum()) / BYTES[rows].sum() for rows in resamples()]
    found = compare_ratio(BITS[0], BITS[1], BYTES, CLUSTERS)
    assert found["difference"] == pytest.approx((43 - 25) / 29)
    assert found["interval"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())
    swapped = compare_ratio(BITS[1], BITS[0], BYTES, CLUSTERS)
    assert swapped["interval"] == pytest.approx([-found["interval"][1], -found["interval"][0]])


def test_one_cluster_gives_no_interval_and_no_answers_no_accuracy():
    assert accuracy(np.array([True, False]), np.array([3, 3])) == {"accuracy": 0.5, "interval": None, "count": 2}
    none = accuracy(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))
    assert math.isnan(none["accuracy"]) and none["count"] == 0


@pytest.mark.parametrize("num_discordant", [0, 1, 5, 8])
def test_mcnemar_counts_the_splits_that_are_no_likelier(num_discordant):
    splits = [sum(coins) for coins in product([0, 1], repeat=num_discordant)]  # all equally likely
    for first_only in range(num_discordant + 1):
        first = np.array([True] * first_only + [False] * (num_discordant - first_only) + [True, False])
        second = np.array([False] * first_only + [True] * (num_discordant - first_only) + [True, False])
        far = abs(first_only - num_discordant / 2)
        expected = sum(abs(split - num_discordant / 2) >= far for split in splits) / len(splits)
        found = mcnemar(first, second)
        assert found["p_value"] == pytest.approx(expected)
        assert (found["first_only"], found["second_only"]) == (first_only, num_discordant - first_only)


def test_accuracies_are_compared_question_by_question():
    first, second = np.array([1, 0, 1, 0, 1, 0, 0], dtype=bool), np.array([1, 1, 1, 1, 0, 1, 0], dtype=bool)
    found = compare_accuracy(first, second, np.arange(7))
    assert found["difference"] == pytest.approx(5 / 7 - 3 / 7)
    assert found["interval"][0] < found["difference"] < found["interval"][1]
    assert found["mcnemar"] == mcnemar(first, second)
    assert accuracy(first, np.arange(7))["accuracy"] == pytest.approx(3 / 7)
