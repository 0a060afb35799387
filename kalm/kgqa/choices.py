"""Which tokens may follow each beam, and how likely the LM finds them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.evaluation.generation import check_finite
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.ragged import Ids


class Choices(NamedTuple):
    """Tokens that may follow the beams, beam by beam and by ascending token; all (C,)."""

    beams: Ids
    tokens: Ids
    ends: NDArray[np.bool_]  # an answer ends with the token
    goes_on: NDArray[np.bool_]  # there is more to write behind it; both may hold


def scored_choices(
    encoder: DualViewLM,
    states: Tensor,
    allowed: Choices | None,
    *,
    num_wanted: int,
    end_token_ids: Sequence[int],
    memory_mib: int,
) -> tuple[Choices, NDArray[np.float64]]:
    """What may follow each beam, and its log-probability, (C,); logits of a block of beams are alive at a time.

    Args:
        encoder: the LM.
        states: at each beam's last token, (W, D).
        allowed: what may follow; None: any token, of which the likeliest are given.
        num_wanted: how many of those that end, and of those that go on, are looked at.
        end_token_ids: end an answer where any token may follow.
        memory_mib: MiB for logits over the vocabulary.

    Raises:
        ValueError: a log-probability is not finite.
    """
    block = max(1, memory_mib * 2**20 // (4 * encoder.causal_lm.config.vocab_size))
    beams, tokens, gains = [], [], []
    for start in range(0, len(states), block):
        logits = encoder.logits(states[start : start + block])
        if allowed is None:
            # so many of a beam are in any case among the best of all and the best that go on
            some = _top_tokens(logits, num_wanted + len(end_token_ids))
            own, token = (
                torch.arange(len(logits), device=logits.device).repeat_interleave(some.shape[1]),
                some.flatten(),
            )
        else:
            first, last = np.searchsorted(allowed.beams, [start, start + block])
            own = torch.from_numpy(allowed.beams[first:last] - start).to(logits.device)
            token = torch.from_numpy(allowed.tokens[first:last]).to(logits.device)
        gains.append((logits[own, token] - logits.logsumexp(dim=1)[own]).double().cpu().numpy())
        beams.append(own.cpu().numpy() + start)
        tokens.append(token.cpu().numpy())
    log_probabilities = np.concatenate(gains)
    check_finite(log_probabilities)
    if allowed is None:
        token_of_each = np.concatenate(tokens)
        ends = np.isin(token_of_each, list(end_token_ids))
        allowed = Choices(np.concatenate(beams), token_of_each, ends, ~ends)
    return allowed, log_probabilities


def _top_tokens(logits: Tensor, count: int) -> Tensor:
    """The likeliest tokens of each row, ascending; of equally likely ones the lower ids."""
    count = min(count, logits.shape[1])
    values, tokens = logits.topk(count, dim=1)
    # which of those tied with the last it takes is not said
    tied = (logits >= values[:, -1:]).sum(dim=1) > count
    if bool(tied.any()):
        tokens[tied] = logits[tied].sort(dim=1, descending=True, stable=True).indices[:, :count]
    return tokens.sort(dim=1).values
