"""Explicit alignment: queries against target entities."""

import math

import torch
from torch import Tensor

from kalm.graph.known_tails import expand_runs, known_tails


def distinct_targets(embeddings: Tensor, entity_ids: Tensor) -> tuple[Tensor, Tensor]:
    """One row per distinct entity: the first of its rows.

    Args:
        embeddings: (n, D).
        entity_ids: (n,), int64.

    Returns:
        The distinct rows (G, D) and their ids (G,), ascending.
    """
    ids, columns = torch.unique(entity_ids, return_inverse=True)
    rows = torch.arange(len(entity_ids), device=entity_ids.device)
    first = torch.full_like(ids, len(entity_ids)).scatter_reduce(0, columns, rows, "amin")
    return embeddings[first], ids


def columns_of(entity_ids: Tensor, target_ids: Tensor) -> Tensor:
    """Column of each entity among the targets, (B,), int64.

    Args:
        entity_ids: (B,), int64, each of them a target.
        target_ids: (G,), int64, ascending.
    """
    return torch.searchsorted(target_ids, entity_ids)


def false_negative_mask(
    head_ids: Tensor,
    relation_ids: Tensor,
    tail_ids: Tensor,
    target_ids: Tensor,
    known_tail_keys: Tensor,
    *,
    num_relations: int,
    num_entities: int,
) -> Tensor:
    """True where a target is another known tail of the query, and so no negative.

    Args:
        head_ids, relation_ids, tail_ids: the directed triples, (B,), int64.
        target_ids: the columns' entities, (G,), int64, ascending.
        known_tail_keys: from `KnowledgeGraph.known_tail_keys`, (K,), int64.
        num_relations, num_entities: of the graph.

    Returns:
        (B, G), bool; False in the column of each query's own tail.
    """
    rows, tails = known_tails(
        known_tail_keys, head_ids, relation_ids, num_relations=num_relations, num_entities=num_entities
    )
    mask = torch.zeros(len(head_ids), len(target_ids), dtype=torch.bool, device=head_ids.device)
    if len(target_ids) == 0:
        return mask
    columns = columns_of(tails, target_ids).clamp(max=len(target_ids) - 1)
    present = (target_ids[columns] == tails) & (tails != tail_ids[rows])
    mask[rows[present], columns[present]] = True
    return mask


def false_query_mask(tail_ids: Tensor, known: tuple[Tensor, Tensor], num_queries: int) -> Tensor:
    """True where a query has the target among its known tails, and so is no negative query of that target.

    Args:
        tail_ids: the targets, (B,), int64; an entity may come several times.
        known: tails, ascending, and the query of each, (M,), int64: `known_tails` of the columns' queries.
        num_queries: Q.

    Returns:
        (B, Q), bool; True for a target's own query too, if the triple is known.
    """
    tails, queries = known
    distinct, row_of = torch.unique(tail_ids, return_inverse=True)
    rows, positions = expand_runs(torch.searchsorted(tails, distinct), torch.searchsorted(tails, distinct, right=True))
    mask = torch.zeros(len(distinct), num_queries, dtype=torch.bool, device=tail_ids.device)
    mask[rows, queries[positions]] = True
    return mask[row_of]


def info_nce(
    similarity: Tensor,
    positive_columns: Tensor,
    *,
    temperature: Tensor | float,
    additive_margin: float = 0.0,
    false_negative_mask: Tensor | None = None,
    false_negative_rate: float = 0.0,
) -> Tensor:
    """InfoNCE with additive margin, averaged over this rank's queries.

    loss_i = -log softmax((similarity_i - additive_margin * onehot_i) / temperature)[positive_i]
    Source: SimKGC (arXiv 2203.02167), Eq. 3; KaLM (arXiv 2412.04948), explicit alignment. Differs in taking the
    targets from a list of distinct entities instead of one per row, because a repeated entity would count as
    its own negative.

    A rate above 0 makes it debiased (arXiv 2007.00224, Eq. 7 and 8): of N negatives, rate * N are taken to be true
    tails that the graph does not know, as likely as the positive, and their share is subtracted from the sum over
    negatives, which stays at least N exp(-1 / temperature). Differs in being used beside the mask, for what the mask
    cannot know: in a dense graph every held-out tail is pushed away by every batch otherwise.

    Args:
        similarity: cosine of each local query with every target, (B, G), float32.
        positive_columns: column of each query's own tail, (B,), int64.
        temperature: divides the similarity, > 0.
        additive_margin: same unit as the similarity, >= 0; 0 in evaluation.
        false_negative_mask: (B, G), True = leave this target out of the sum.
        false_negative_rate: share of the remaining negatives assumed to be unknown true tails, in [0, 1).

    Returns:
        Scalar, float32.

    Raises:
        ValueError: shapes disagree, or the mask covers a positive.
    """
    if positive_columns.shape != similarity.shape[:1]:
        raise ValueError(f"{tuple(positive_columns.shape)} positives for similarity {tuple(similarity.shape)}")
    positives = positive_columns[:, None]
    own = (similarity.gather(1, positives) - additive_margin) / temperature  # (B, 1)
    is_negative = torch.ones_like(similarity, dtype=torch.bool).scatter(1, positives, False)
    if false_negative_mask is not None:
        if false_negative_mask.shape != similarity.shape:
            raise ValueError(f"mask {tuple(false_negative_mask.shape)} for similarity {tuple(similarity.shape)}")
        if bool(false_negative_mask.gather(1, positives).any()):
            raise ValueError("the false-negative mask covers a positive")
        is_negative &= ~false_negative_mask
    # relative to the positive: the loss is log(1 + sum over negatives of exp(negative - own))
    negatives = (similarity / temperature - own).masked_fill(~is_negative, -torch.inf)
    zero = torch.zeros_like(own)
    if false_negative_rate == 0:
        return torch.logsumexp(torch.cat([zero, negatives], dim=1), dim=1).mean()
    log_sum = torch.logsumexp(torch.cat([negatives, zero - 1e4], dim=1), dim=1)  # finite without any negative
    return _debiased(log_sum, own[:, 0], is_negative.sum(dim=1), temperature, false_negative_rate).mean()


def _debiased(log_sum: Tensor, own: Tensor, num_negatives: Tensor, temperature: Tensor | float, rate: float) -> Tensor:
    """log(1 + corrected sum of exp(negative - own)), (B,); log_sum is the logarithm of the sum as it is."""
    sums = log_sum.clamp(max=20).exp()
    least = num_negatives * torch.exp(-1 / temperature - own)
    corrected = torch.maximum((sums - rate * num_negatives) / (1 - rate), least)
    # beyond e^20 the correction is lost in float32, and exp would overflow
    return torch.where(log_sum > 20, log_sum - math.log(1 - rate), torch.log1p(corrected))
