"""Two systems asked the same: shares of right answers, ratios of totals, and whether they differ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.evaluation.metrics import CONFIDENCE, Column, resampled

Flags = NDArray[np.bool_]  # (n,), whether each question was answered rightly
Clusters = NDArray[np.int64]  # (n,), what is drawn together, since it is no independent trial


def accuracy(correct: Flags, clusters: Clusters) -> dict[str, Any]:
    """Share of right answers with its bootstrap 95 % interval (percentiles; None with one cluster), and the count."""
    if len(correct) == 0:
        return {"accuracy": float("nan"), "interval": None, "count": 0}
    found = ratio(correct.astype(np.float64), np.ones(len(correct)), clusters)
    return {"accuracy": found["value"], "interval": found["interval"], "count": len(correct)}


def compare_accuracy(first: Flags, second: Flags, clusters: Clusters) -> dict[str, Any]:
    """The second's accuracy less the first's, its interval, and McNemar's exact test of answers that differ.

    The test: were both equally good, a question that one alone answers rightly would be either's with probability
    1/2. Source: McNemar (1947), in its exact, two-sided form.

    Args:
        first, second: (n,), on the same questions.
        clusters: (n,).
    """
    ones = np.ones(len(first))
    found = compare_ratio(first.astype(np.float64), second.astype(np.float64), ones, clusters)
    return {**found, "mcnemar": mcnemar(first, second)}


def mcnemar(first: Flags, second: Flags) -> dict[str, Any]:
    """Questions that one alone answers rightly, and the probability of so unequal a split by chance."""
    from scipy.stats import binomtest

    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = first_only + second_only
    p_value = float(binomtest(first_only, discordant).pvalue) if discordant else 1.0
    return {"first_only": first_only, "second_only": second_only, "p_value": p_value}


def ratio(numerators: Column, denominators: Column, clusters: Clusters) -> dict[str, Any]:
    """Sum of numerators over sum of denominators, such as bits per byte, with its interval over clusters."""
    drawn = resampled(np.stack([numerators, denominators], axis=1), clusters)
    return {
        "value": float(numerators.sum() / denominators.sum()),
        "interval": _interval(drawn[:, 0] / drawn[:, 1], clusters),
    }


def compare_ratio(first: Column, second: Column, denominators: Column, clusters: Clusters) -> dict[str, Any]:
    """The second's ratio less the first's, with an interval; each resample draws the same clusters for both.

    Args:
        first, second: numerators of the two systems, (n,).
        denominators: of both, (n,).
        clusters: (n,).
    """
    drawn = resampled(np.stack([second - first, denominators], axis=1), clusters)
    return {
        "difference": float((second - first).sum() / denominators.sum()),
        "interval": _interval(drawn[:, 0] / drawn[:, 1], clusters),
    }


def _interval(drawn: Column, clusters: Clusters) -> list[float] | None:
    # one cluster is drawn again and again: it would look certain
    if clusters.min() == clusters.max():
        return None
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return [float(low), float(high)]
