"""Explicit alignment: queries against target entities."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from kalm.graph.known_tails import known_tails


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
        (B, G), bool; False in each query's own column.
    """
    rows, tails = known_tails(
        known_tail_keys, head_ids, relation_ids, num_relations=num_relations, num_entities=num_entities
    )
    columns = columns_of(tails, target_ids).clamp(max=len(target_ids) - 1)
    present = target_ids[columns] == tails
    mask = torch.zeros(len(head_ids), len(target_ids), dtype=torch.bool, device=head_ids.device)
    mask[rows[present], columns[present]] = True
    mask[torch.arange(len(head_ids), device=head_ids.device), columns_of(tail_ids, target_ids)] = False
    return mask


def info_nce(
    similarity: Tensor,
    positive_columns: Tensor,
    *,
    temperature: Tensor | float,
    additive_margin: float = 0.0,
    false_negative_mask: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """InfoNCE with additive margin, averaged over this rank's queries.

    loss_i = -log softmax((similarity_i - additive_margin * onehot_i) / temperature)[positive_i]
    Source: SimKGC (arXiv 2203.02167), Eq. 3; KaLM (arXiv 2412.04948), explicit alignment. Differs in taking the
    targets from a list of distinct entities instead of one per row, because a repeated entity would count as
    its own negative; and in the optional label smoothing, which spreads a share of the target evenly over all
    unmasked columns.

    Args:
        similarity: cosine of each local query with every target, (B, G), float32.
        positive_columns: column of each query's own tail, (B,), int64.
        temperature: divides the similarity, > 0.
        additive_margin: same unit as the similarity, >= 0; 0 in evaluation.
        false_negative_mask: (B, G), True = leave this target out of the sum.
        label_smoothing: in [0, 1).

    Returns:
        Scalar, float32.

    Raises:
        ValueError: shapes disagree, or the mask covers a positive.
    """
    if positive_columns.shape != similarity.shape[:1]:
        raise ValueError(f"{tuple(positive_columns.shape)} positives for similarity {tuple(similarity.shape)}")
    positives = positive_columns[:, None]
    margin = torch.full_like(positives, additive_margin, dtype=similarity.dtype)
    logits = similarity.scatter_add(1, positives, -margin) / temperature
    if false_negative_mask is None:
        candidates = torch.ones_like(similarity, dtype=torch.bool)
    elif false_negative_mask.shape != similarity.shape:
        raise ValueError(f"mask {tuple(false_negative_mask.shape)} for similarity {tuple(similarity.shape)}")
    elif bool(false_negative_mask.gather(1, positives).any()):
        raise ValueError("the false-negative mask covers a positive")
    else:
        candidates = ~false_negative_mask
        logits = logits.masked_fill(false_negative_mask, -torch.inf)
    log_probabilities = F.log_softmax(logits, dim=1)
    loss = -log_probabilities.gather(1, positives).mean()
    if label_smoothing == 0:
        return loss
    spread = log_probabilities.masked_fill(~candidates, 0).sum(dim=1) / candidates.sum(dim=1)
    return (1 - label_smoothing) * loss - label_smoothing * spread.mean()
