"""Which tails of a query are known, as one vectorised look-up."""

import torch
from torch import Tensor


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
    first_key = (head_ids * (2 * num_relations) + relation_ids) * num_entities
    start = torch.searchsorted(sorted_keys, first_key)
    stop = torch.searchsorted(sorted_keys, first_key + num_entities)
    counts = stop - start
    rows = torch.arange(len(head_ids), device=head_ids.device).repeat_interleave(counts)
    # position within the query's run = position in the output minus where that query's output begins
    run_begin = (counts.cumsum(0) - counts)[rows]
    positions = start[rows] + torch.arange(len(rows), device=rows.device) - run_begin
    return rows, sorted_keys[positions] % num_entities
