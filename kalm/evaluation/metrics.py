"""Metrics of ranks, and how sure they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HITS_AT = (1, 3, 10)
METRICS = ("mr", "mrr", *(f"hits@{k}" for k in HITS_AT), "amri")
NUM_RESAMPLES, CONFIDENCE = 1000, 0.95

Column = NDArray[np.float64]


def rank_metrics(ranks: Column, num_candidates: Column) -> dict[str, float]:
    """Mean rank, mean reciprocal rank, share of ranks <= k, adjusted mean rank index, and the count; nan for no ranks.

    The adjusted mean rank index is 1 - (mean rank - 1) / (expected mean rank - 1), where the expected rank of a query
    with n candidates is (n + 1) / 2: 1 is best, 0 is chance. Source: Berrendorf et al. (arXiv 2002.06914).

    Args:
        ranks: (Q,), from 1.
        num_candidates: (Q,), entities each was ranked among, the true one included.
    """
    if len(ranks) == 0:
        return {**dict.fromkeys(METRICS, float("nan")), "count": 0}
    values = _per_query(ranks, num_candidates).mean(axis=0)
    return {**dict(zip(METRICS, _from_means(values).tolist(), strict=True)), "count": len(ranks)}


def intervals(ranks: Column, num_candidates: Column, clusters: NDArray[np.int64]) -> dict[str, list[float]]:
    """Bootstrap 95 % intervals (percentiles) of the same metrics.

    Queries of one cluster are drawn together: the two directions of a triple are no independent trials.

    Args:
        ranks, num_candidates: (Q,).
        clusters: (Q,), the triple that each query comes from.
    """
    drawn = resampled(_per_query(ranks, num_candidates), clusters)
    return _percentiles(_from_means(drawn))


def paired_differences(
    ranks: Sequence[Column], num_candidates: Sequence[Column], clusters: NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Metric of the second system less that of the first on the same queries, with a bootstrap 95 % interval.

    Each resample draws the same triples for both systems.

    Args:
        ranks, num_candidates: (Q,) of each of two systems.
        clusters: (Q,), the triple that each query comes from.
    """
    systems = [_per_query(*columns) for columns in zip(ranks, num_candidates, strict=True)]
    first, second = (_from_means(values.mean(axis=0)) for values in systems)
    drawn = resampled(np.concatenate(systems, axis=1), clusters)
    low_high = _percentiles(_from_means(drawn[:, len(METRICS) :]) - _from_means(drawn[:, : len(METRICS)]))
    return {
        name: {"difference": float(second[place] - first[place]), "interval": low_high[name]}
        for place, name in enumerate(METRICS)
    }


def mean_intervals(values: Column, clusters: NDArray[np.int64]) -> Column:
    """Bootstrap 95 % interval (percentiles) of the mean of each column, (columns, 2).

    Args:
        values: (Q, columns).
        clusters: (Q,); rows of one cluster are drawn together.
    """
    outside = (1 - CONFIDENCE) / 2
    return np.asarray(np.quantile(resampled(values, clusters), [outside, 1 - outside], axis=0).T)


def _per_query(ranks: Column, num_candidates: Column) -> Column:
    """What is averaged over queries, (Q, metrics): the last column is the chance rank, for the index."""
    hits = [ranks <= k for k in HITS_AT]
    return np.stack([ranks, 1 / ranks, *hits, (num_candidates + 1) / 2], axis=1).astype(np.float64)


def _from_means(means: Column) -> Column:
    """Means of `_per_query` as metrics, (..., metrics)."""
    metrics = means.copy()
    # with one candidate every rank is 1 and chance is as good as it gets
    chance = np.where(means[..., -1] > 1, means[..., -1], np.nan)
    metrics[..., -1] = 1 - (means[..., 0] - 1) / (chance - 1)
    return metrics


def resampled(values: Column, clusters: NDArray[np.int64]) -> Column:
    """Means over queries of each resample, (resamples, columns); the same draws for the same clusters."""
    _, cluster_of = np.unique(clusters, return_inverse=True)
    num_clusters = int(cluster_of.max()) + 1
    sums = np.zeros((num_clusters, values.shape[1]))
    np.add.at(sums, cluster_of, values)
    sizes = np.bincount(cluster_of)
    generator = np.random.default_rng(0)
    means = np.empty((NUM_RESAMPLES, values.shape[1]))
    for place in range(NUM_RESAMPLES):
        times = np.bincount(generator.integers(num_clusters, size=num_clusters), minlength=num_clusters)
        means[place] = times @ sums / (times @ sizes)
    return means


def _percentiles(drawn: Column) -> dict[str, list[float]]:
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside], axis=0)
    return {name: [float(low[place]), float(high[place])] for place, name in enumerate(METRICS)}
