"""The shape of a set of embeddings: how alike they are, how evenly spread, in how many directions.

All functions take unit vectors, (n, D), float32, in random order, of distinct texts: equal texts have equal vectors,
which say nothing of a model.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.evaluation.jackknife import Estimate, Floats, mean
from kalm.text.ragged import Ids

BINS = np.linspace(-1, 1, 201)  # of cosines
KERNEL = 2  # Wang and Isola's t
BYTES_PER_PAIR = 12  # of a tile: the cosine, its kernel, a copy
NOISE = 1e-7  # of float32, relative to the norm of the whole matrix: smaller singular values are rounding


class Pairs(NamedTuple):
    """All ordered pairs of different vectors."""

    kernel_sums: Floats  # (n,), sum over the others of exp(-2 |x - y|^2)
    histogram: Ids  # (bins,), pairs by cosine


def mean_cosine(vectors: Tensor) -> Estimate:
    """Anisotropy: the mean cosine of two different vectors; 1: all alike, 0: in all directions alike.

    Source: Ethayarajh 2019 (arXiv 1909.00512), there of sampled pairs. Differs in that all pairs of the sample count,
    from the sum of the vectors alone. Left out: each vector.
    """
    exact = vectors.double()
    total, own = exact.sum(dim=0), exact.square().sum(dim=1)
    num, together = len(vectors), float(total @ total - own.sum())
    without = together - 2 * (exact @ total - own)
    return Estimate(together / (num * (num - 1)), _numpy(without) / ((num - 1) * (num - 2)))


def all_pairs(vectors: Tensor, memory_mib: int, device: torch.device) -> Pairs:
    """What uniformity and the picture of cosines need, a tile of pairs at a time."""
    num = len(vectors)
    block = max(1, memory_mib * 2**20 // (BYTES_PER_PAIR * num))
    columns = vectors.to(device)
    sums, histogram = torch.empty(num, dtype=torch.float64), torch.zeros(len(BINS) - 1, dtype=torch.float64)
    for start in range(0, num, block):
        rows = columns[start : start + block]
        cosines = (rows @ columns.T).clamp_(-1, 1)
        itself = (torch.arange(len(rows)), torch.arange(start, start + len(rows)))
        histogram += torch.histc(cosines, bins=len(BINS) - 1, min=-1, max=1).cpu().double()
        histogram -= torch.histc(cosines[itself], bins=len(BINS) - 1, min=-1, max=1).cpu().double()
        # |x - y|^2 = 2 - 2 cos
        kernel = cosines.sub_(1).mul_(2 * KERNEL).exp_()
        kernel[itself] = 0
        sums[start : start + block] = kernel.sum(dim=1, dtype=torch.float64).cpu()
    return Pairs(_numpy(sums), histogram.numpy().round().astype(np.int64))


def uniformity(pairs: Pairs) -> Estimate:
    """Log of the mean of exp(-2 |x - y|^2) over pairs; 0: all alike, lower is more even.

    Source: Wang and Isola 2020 (arXiv 2005.10242), equation 4 with t = 2; a vector is no pair with itself. Left out:
    each vector.
    """
    sums, num = pairs.kernel_sums, len(pairs.kernel_sums)
    total = sums.sum()
    value = np.log(total / (num * (num - 1)))
    return Estimate(float(value), np.log((total - 2 * sums) / ((num - 1) * (num - 2))))


def alignment(queries: Tensor, tails: Tensor) -> Estimate:
    """Mean of |q - t|^2 over true (query, tail) pairs; 0: each query is where its answer is, 2: anywhere.

    Source: Wang and Isola 2020, equation 3 with alpha = 2. Left out: each triple, with both directions.

    Args:
        queries, tails: (2 n, D), rows 2 i and 2 i + 1 are the directions of triple i.
    """
    distances = (queries.double() - tails.double()).square().sum(dim=1)
    return mean(_numpy(distances.reshape(-1, 2).mean(dim=1)))


def singular_values(vectors: Tensor, device: torch.device, *, centred: bool) -> Floats:
    """Of the matrix of vectors, or of these less their mean; largest first, (min(n, D),)."""
    return _values(*_moments(vectors, device), len(vectors), centred=centred)


def effective_rank(vectors: Tensor, num_parts: int, device: torch.device, *, centred: bool) -> Estimate:
    """Exp of the entropy of the singular values, taken as shares of their sum: how many directions are in use.

    Source: Roy and Vetterli 2007. At most min(n, D). Left out: each of `num_parts` parts of the vectors.

    Args:
        vectors: (n, D).
        num_parts: every num_parts-th vector belongs to one part.
        device: where eigenvalues are computed.
        centred: of the vectors less their mean. The mean is a direction of its own where all vectors are alike, so that
            the rank without it tells how many directions are left to tell them apart.
    """
    products, total = _moments(vectors, device)
    ranks = []
    for part in (vectors[place::num_parts] for place in range(num_parts)):
        of_part, sum_of_part = _moments(part, device)
        rest = len(vectors) - len(part)
        ranks.append(_entropy_rank(_values(products - of_part, total - sum_of_part, rest, centred=centred)))
    whole = _entropy_rank(_values(products, total, len(vectors), centred=centred))
    return Estimate(whole, np.array(ranks))


def _moments(vectors: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Sum of outer products, (D, D), and sum, (D,)."""
    exact = vectors.to(device).double()
    return exact.T @ exact, exact.sum(dim=0)


def _values(products: Tensor, total: Tensor, num: int, *, centred: bool) -> Floats:
    if centred:
        products = products - torch.outer(total, total) / num
    values = _numpy(torch.linalg.eigvalsh(products)).clip(min=0) ** 0.5
    values[values < NOISE * num**0.5] = 0  # unit vectors: the norm of the matrix is the root of their number
    return values[::-1][: min(num, len(values))]


def _entropy_rank(values: Floats) -> float:
    """0 where nothing is left but rounding."""
    shares = values[values > 0] / values.sum() if values.any() else values[:0]
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.cpu().numpy())
