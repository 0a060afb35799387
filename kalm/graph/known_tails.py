"""Which tails of a query, or relations of a pair, are known: one vectorised look-up."""

import torch
from torch import Tensor

from kalm.graph.knowledge_graph import SORT_FROM


def known_tails(
    sorted_keys: Tensor,
    head_ids: Tensor,
    relation_ids: Tensor,
    *,
    num_relations: int,
    num_entities: int,
) -> tuple[Tensor, Tensor]:
    """All known tails of each query (head, relation).

    The keys of one query are consecutive, so two binary searches find them; the work is the number of
    answers, not queries times entities.

    Args:
        sorted_keys: from `KnowledgeGraph.known_tail_keys`, (K,), int64.
        head_ids, relation_ids: the queries, (B,), int64; relations are directed, in [0, 2R).
        num_relations: R.
        num_entities: N.

    Returns:
        rows, tail_ids: (M,), int64 each: tail_ids[m] is a known tail of query rows[m]; ascending rows.
    """
    return _last_parts(sorted_keys, head_ids * (2 * num_relations) + relation_ids, num_entities)


def known_relations(
    sorted_keys: Tensor,
    head_ids: Tensor,
    tail_ids: Tensor,
    *,
    num_relations: int,
    num_entities: int,
) -> tuple[Tensor, Tensor]:
    """All known relations of each pair (head, tail).

    Args:
        sorted_keys: from `KnowledgeGraph.known_relation_keys`, (K,), int64.
        head_ids, tail_ids: the pairs, (B,), int64.
        num_relations: R.
        num_entities: N.

    Returns:
        rows, relation_ids: (M,), int64 each: relation_ids[m], below R, holds between pair rows[m]; ascending rows.
    """
    return _last_parts(sorted_keys, head_ids * num_entities + tail_ids, num_relations)


def _last_parts(sorted_keys: Tensor, beginnings: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of keys beginning * size + last, those with each of the beginnings: its row, and the last part."""
    rows, positions = expand_runs(*_runs(sorted_keys, beginnings, size))
    return rows, sorted_keys[positions] % size


def _runs(sorted_keys: Tensor, beginnings: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where the keys of each beginning start and stop; (B,), int64 each."""
    if len(beginnings) < SORT_FROM:
        start = torch.searchsorted(sorted_keys, beginnings * size)
        return start, torch.searchsorted(sorted_keys, (beginnings + 1) * size)
    ordered, order = beginnings.sort()
    start, stop = torch.empty_like(beginnings), torch.empty_like(beginnings)
    for found, more in ((start, 0), (stop, 1)):
        found[order] = torch.searchsorted(sorted_keys, (ordered + more) * size)
    return start, stop


def expand_runs(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """The positions start[i] .. stop[i] - 1 of every run i, one run after another.

    Args:
        start, stop: (n,), int64.

    Returns:
        runs, positions: (sum of lengths,), int64 each: positions[m] lies in run runs[m].
    """
    counts = stop - start
    runs = torch.arange(len(start), device=start.device).repeat_interleave(counts)
    # place within the run = place in the output minus where that run's output begins
    run_begin = (counts.cumsum(0) - counts)[runs]
    return runs, start[runs] + torch.arange(len(runs), device=start.device) - run_begin
