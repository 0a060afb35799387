"""How sure a statistic is that is no mean of independent terms: from its values with parts of the sample left out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kalm.evaluation.metrics import CONFIDENCE

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A statistic of a sample.

    Args:
        value: of the whole sample.
        left_out: without each of G parts of equal size, (G,); of two systems the same parts.
    """

    value: float
    left_out: Floats


def interval(estimate: Estimate) -> list[float]:
    """95 % interval: value -+ Student's t with G - 1 degrees of freedom times the jackknife's standard error.

    Source: Tukey 1958; standard error^2 = (G - 1) / G * sum of (left_out - their mean)^2.
    """
    num_parts = len(estimate.left_out)
    away = estimate.left_out - estimate.left_out.mean()
    error = np.sqrt((num_parts - 1) / num_parts * (away @ away))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, num_parts - 1) * error)
    return [estimate.value - reach, estimate.value + reach]


def difference(first: Estimate, second: Estimate) -> Estimate:
    """The second less the first, paired: both without the same part."""
    return Estimate(second.value - first.value, second.left_out - first.left_out)


def mean(values: Floats) -> Estimate:
    """The mean of independent terms, (n,), n > 1, each a part of its own."""
    return Estimate(float(values.mean()), (values.sum() - values) / (len(values) - 1))
