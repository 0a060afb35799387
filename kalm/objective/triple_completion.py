"""Implicit alignment: the LM writes the tail."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint


def triple_completion_loss(
    label_states: Tensor,
    labels: Tensor,
    head: Callable[[Tensor], Tensor],
    *,
    num_tokens: Tensor | int,
    num_chunks: int,
) -> Tensor:
    """Sum of next-token losses on this rank's tail tokens, divided by `num_tokens`.

    Source: KaLM (arXiv 2412.04948), implicit alignment. Differs in the divisor: the number of tail tokens of all
    ranks, because a mean per rank is not the mean over all tokens when lengths differ.

    The logits of one chunk are alive at a time; those of several chunks are computed again in the backward pass.

    Args:
        label_states: states that predict the labels, (L, D).
        labels: tail tokens, (L,), int64.
        head: the LM head, (l, D) -> (l, V) float32.
        num_tokens: the divisor, > 0.
        num_chunks: > 0; under ZeRO-3 the same on all ranks, since each chunk gathers the head's weights.

    Returns:
        Scalar, float32.
    """

    def chunk_loss(states: Tensor, chunk_labels: Tensor) -> Tensor:
        return F.cross_entropy(head(states), chunk_labels, reduction="sum")

    if num_chunks == 1:
        return chunk_loss(label_states, labels) / num_tokens
    parts = [
        checkpoint(chunk_loss, states, chunk_labels, use_reentrant=False)
        for states, chunk_labels in zip(
            torch.tensor_split(label_states, num_chunks), torch.tensor_split(labels, num_chunks), strict=True
        )
    ]
    return torch.stack(parts).sum() / num_tokens
