"""Measures of a set of embeddings against loops over pairs, queries and samples."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from kalm.evaluation.geometry import (
    BINS,
    alignment,
    all_pairs,
    effective_rank,
    mean_cosine,
    singular_values,
    uniformity,
)
from kalm.evaluation.hubness import hubness, k_occurrences, skewness
from kalm.evaluation.jackknife import difference, interval, mean

CPU = torch.device("cpu")


def unit_vectors(num=14, size=5, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num, size, generator=generator) + shift, dim=1)


def without(vectors, place):
    return torch.cat([vectors[:place], vectors[place + 1 :]])


def plain_mean_cosine(vectors):
    return np.mean([float(x.double() @ y.double()) for x, y in itertools.combinations(vectors, 2)])


def plain_uniformity(vectors):
    pairs = itertools.combinations(vectors.double(), 2)
    return np.log(np.mean([np.exp(-2 * float((x - y).square().sum())) for x, y in pairs]))


def plain_effective_rank(vectors, centred):
    matrix = vectors.double().numpy()
    values = np.linalg.svd(matrix - matrix.mean(axis=0) if centred else matrix, compute_uv=False)
    shares = [value / values.sum() for value in values if value > 1e-7]
    return np.exp(-sum(share * np.log(share) for share in shares))


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_anisotropy_is_the_mean_over_pairs_and_so_it_is_without_each_vector(shift):
    vectors = unit_vectors(shift=shift)
    found = mean_cosine(vectors)
    assert found.value == pytest.approx(plain_mean_cosine(vectors), abs=1e-12)
    plain = [plain_mean_cosine(without(vectors, place)) for place in range(len(vectors))]
    np.testing.assert_allclose(found.left_out, plain, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_uniformity_is_the_log_of_the_mean_over_pairs_and_so_it_is_without_each_vector(shift):
    vectors = unit_vectors(shift=shift)
    found = uniformity(all_pairs(vectors, 1, CPU))
    assert found.value == pytest.approx(plain_uniformity(vectors), abs=1e-6)  # float32 cosines
    plain = [plain_uniformity(without(vectors, place)) for place in range(len(vectors))]
    np.testing.assert_allclose(found.left_out, plain, atol=1e-6)


def test_pairs_do_not_depend_on_the_size_of_a_tile():
    vectors = unit_vectors(600, 8)
    small, large = (all_pairs(vectors, memory_mib, CPU) for memory_mib in (1, 64))
    assert 600 * 600 * 12 > 2**20, "more than one tile"
    np.testing.assert_allclose(small.kernel_sums, large.kernel_sums, rtol=1e-6)
    assert small.histogram.sum() == large.histogram.sum() == 600 * 599
    cosines = (vectors @ vectors.T)[~torch.eye(600, dtype=torch.bool)]
    plain = np.histogram(cosines.clamp(-1, 1).numpy(), BINS)[0]
    assert np.abs(small.histogram - plain).sum() < 50  # rounding at the edges of bins


def test_alignment_is_the_mean_distance_of_true_pairs_and_triples_are_left_out_whole():
    queries, tails = unit_vectors(12, seed=1), unit_vectors(12, seed=2)
    found = alignment(queries, tails)
    distances = [float((q - t).double().square().sum()) for q, t in zip(queries, tails, strict=True)]
    assert found.value == pytest.approx(np.mean(distances), abs=1e-6)
    plain = [np.mean(distances[: 2 * place] + distances[2 * place + 2 :]) for place in range(6)]
    np.testing.assert_allclose(found.left_out, plain, atol=1e-6)
    assert alignment(queries, queries).value == 0


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("num", "size"), [(14, 5), (6, 20)])
def test_effective_rank_is_that_of_a_plain_decomposition(num, size, centred):
    vectors = unit_vectors(num, size, shift=0.5)
    found = effective_rank(vectors, 3, CPU, centred=centred)
    assert found.value == pytest.approx(plain_effective_rank(vectors, centred), rel=1e-5)
    for place, value in enumerate(found.left_out):
        rest = vectors[[row for row in range(num) if row % 3 != place]]
        assert value == pytest.approx(plain_effective_rank(rest, centred), rel=1e-5)


def test_effective_rank_counts_directions():
    assert effective_rank(torch.eye(6), 3, CPU, centred=False).value == pytest.approx(6)
    alike = unit_vectors(1, 6).repeat(9, 1)
    assert effective_rank(alike, 3, CPU, centred=False).value == pytest.approx(1)
    assert effective_rank(alike, 3, CPU, centred=True).value == 0
    assert mean_cosine(alike).value == pytest.approx(1)
    assert uniformity(all_pairs(alike, 1, CPU)).value == pytest.approx(0, abs=1e-6)
    values = singular_values(torch.eye(6), CPU, centred=False)
    np.testing.assert_allclose(values, 1)


def test_k_occurrences_and_their_measures_are_those_of_a_loop():
    neighbours = np.array([[0, 1], [0, 2], [0, 1], [0, 3], [2, 0], [1, 0]])
    counts = [sum(entity in row for row in neighbours) for entity in range(6)]
    np.testing.assert_array_equal(k_occurrences(neighbours, 6), counts)
    found = hubness(neighbours, 6, 3)
    middle, spread = np.mean(counts), np.std(counts)
    assert found["skewness"].value == pytest.approx(np.mean([((c - middle) / spread) ** 3 for c in counts]))
    assert found["never"].value == pytest.approx(2 / 6)
    assert found["largest"].value == 6
    rest = neighbours[[1, 2, 4, 5]]
    assert found["largest"].left_out[0] == pytest.approx(max(k_occurrences(rest, 6)) * 6 / 4)
    assert found["never"].left_out[0] == pytest.approx(np.mean(k_occurrences(rest, 6) == 0))
    assert skewness(np.ones(4)) == 0


@given(st.integers(0, 1000), st.integers(2, 30))
def test_the_jackknife_of_a_mean_is_its_usual_interval(seed, num):
    from scipy import stats

    values = np.random.default_rng(seed).normal(size=num)
    usual = stats.t.interval(0.95, num - 1, values.mean(), values.std(ddof=1) / num**0.5)
    np.testing.assert_allclose(interval(mean(values)), usual, atol=1e-10)


def test_a_difference_is_paired():
    noise = np.random.default_rng(0).normal(size=20) * 100
    first, second = mean(noise), mean(noise + 1)
    low, high = interval(difference(first, second))
    assert low == pytest.approx(1) == high
    assert interval(second)[1] - interval(second)[0] > 10


def test_the_intervals_of_pairs_hold_the_truth_about_as_often_as_they_say():
    inside = 0
    for seed in range(200):
        vectors = unit_vectors(40, 3, shift=0.5, seed=seed)
        low, high = interval(mean_cosine(vectors))
        inside += low <= TRUTH <= high
    assert inside / 200 > 0.88  # 95 % less three standard errors of 200 trials


TRUTH = float(unit_vectors(400_000, 3, shift=0.5, seed=1000).double().mean(dim=0).square().sum())
