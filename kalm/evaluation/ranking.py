"""Exact filtered ranks, and the metrics made of them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.graph.known_tails import known_tails

HITS_AT = (1, 3, 10)


class Ranks(NamedTuple):
    """1 is best. With equal scores the true entity comes first (optimistic) or last (pessimistic) among them."""

    optimistic: Tensor  # (Q,), int64
    pessimistic: Tensor  # (Q,), int64

    @property
    def realistic(self) -> Tensor:
        """The mean of both: the expected rank if ties were broken at random, (Q,), float64."""
        return (self.optimistic + self.pessimistic).double() / 2


def filtered_ranks(scores: Tensor, true_ids: Tensor, known_rows: Tensor, known_ids: Tensor) -> Ranks:
    """Rank of each true entity among all entities that are not other known answers.

    The true entity's score is read from the same matrix as the others: computed apart it could differ in the
    last bit and move the rank.

    Args:
        scores: (q, N), higher is better.
        true_ids: (q,), int64.
        known_rows, known_ids: (M,), int64: entity known_ids[m] is a known answer of query known_rows[m]; the
            pairs are distinct, and may or may not hold the true entities themselves.
    """
    true_scores = scores.gather(1, true_ids[:, None])  # (q, 1)
    better = (scores > true_scores).sum(dim=1)
    equal = (scores == true_scores).sum(dim=1)  # the true entity among them
    # known answers are taken out of the counts, which touches M scores instead of rewriting q x N
    known_scores = scores[known_rows, known_ids]
    theirs = true_scores[known_rows, 0]
    is_other = known_ids != true_ids[known_rows]
    better.index_add_(0, known_rows, (is_other & (known_scores > theirs)).long(), alpha=-1)
    equal.index_add_(0, known_rows, (is_other & (known_scores == theirs)).long(), alpha=-1)
    return Ranks(better + 1, better + equal)


def rank_queries(
    score_rows: Callable[[slice], Tensor],
    head_ids: Tensor,
    relation_ids: Tensor,
    true_ids: Tensor,
    filter_keys: Tensor,
    *,
    num_relations: int,
    num_entities: int,
    memory_mib: int,
) -> Ranks:
    """Filtered ranks of many queries, one block of them at a time.

    Args:
        score_rows: scores of a range of queries against all entities, (q, N).
        head_ids, relation_ids, true_ids: the queries and their true entities, (Q,), int64.
        filter_keys: known triples to leave out, from `KnowledgeGraph.known_tail_keys`, (K,), int64.
        num_relations, num_entities: of the graph.
        memory_mib: MiB for a block's scores; a block has at least one query.

    Returns:
        Ranks on the CPU, in the order of the queries.
    """
    block = max(1, memory_mib * 2**20 // (4 * num_entities))
    parts = []
    for start in range(0, len(true_ids), block):
        rows = slice(start, start + block)
        scores = score_rows(rows)
        known_rows, known_ids = known_tails(
            filter_keys, head_ids[rows], relation_ids[rows], num_relations=num_relations, num_entities=num_entities
        )
        ranks = filtered_ranks(
            scores, true_ids[rows].to(scores.device), known_rows.to(scores.device), known_ids.to(scores.device)
        )
        parts.append(Ranks(ranks.optimistic.cpu(), ranks.pessimistic.cpu()))
    return Ranks(*(torch.cat(column) for column in zip(*parts, strict=True)))


def rank_metrics(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Mean rank, mean reciprocal rank, share of ranks <= k, and their count; nan for no ranks."""
    if len(ranks) == 0:
        return {"mr": float("nan"), "mrr": float("nan"), **{f"hits@{k}": float("nan") for k in HITS_AT}, "count": 0}
    return {
        "mr": float(ranks.mean()),
        "mrr": float((1 / ranks).mean()),
        **{f"hits@{k}": float((ranks <= k).mean()) for k in HITS_AT},
        "count": len(ranks),
    }
