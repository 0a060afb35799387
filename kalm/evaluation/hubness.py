"""Hubs: entities that are near to many queries, whatever these ask, and entities that are near to none."""

from collections.abc import Callable

import numpy as np

from kalm.evaluation.jackknife import Estimate, Floats
from kalm.text.ragged import Ids


def hubness(neighbours: Ids, num_entities: int, num_parts: int) -> dict[str, Estimate]:
    """How unevenly the queries' nearest entities are spread: of N_k, the queries that have an entity among their k.

    Source: Radovanović, Nanopoulos and Ivanović 2010 (JMLR 11), there of points among themselves; here of queries
    among entities, as an index answers them. Left out: each of `num_parts` parts of the queries, counts made up for it.

    Args:
        neighbours: places of the k nearest entities of each query, (Q, k), queries in random order.
        num_entities: that were searched.
        num_parts: every num_parts-th query belongs to one part.

    Returns:
        `skewness` of N_k over entities; `never`, the share of entities with N_k = 0; `largest`, the largest N_k.
    """
    counts = k_occurrences(neighbours, num_entities)
    parts = [_scaled(counts, neighbours[place::num_parts], len(neighbours)) for place in range(num_parts)]
    return {
        name: Estimate(measure(counts), np.array([measure(part) for part in parts]))
        for name, measure in MEASURES.items()
    }


def k_occurrences(neighbours: Ids, num_entities: int) -> Floats:
    """N_k of each entity, (num_entities,)."""
    return np.bincount(neighbours.ravel(), minlength=num_entities).astype(np.float64)


def skewness(counts: Floats) -> float:
    """Third moment about the mean by the cube of the standard deviation; 0 where all are equal."""
    away = counts - counts.mean()
    deviation = np.sqrt(np.mean(away**2))
    return float(np.mean(away**3) / deviation**3) if deviation > 0 else 0.0


def share_of_zeros(counts: Floats) -> float:
    return float(np.mean(counts == 0))


def largest(counts: Floats) -> float:
    return float(counts.max())


MEASURES: dict[str, Callable[[Floats], float]] = {"skewness": skewness, "never": share_of_zeros, "largest": largest}


def _scaled(counts: Floats, part: Ids, num_queries: int) -> Floats:
    """Counts without some of the queries, times what makes up for their number."""
    without = counts - k_occurrences(part, len(counts))
    return without * (num_queries / (num_queries - len(part)))
