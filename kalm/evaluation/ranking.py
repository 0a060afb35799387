"""Filtered ranks of given scores, and what a rank is."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kalm.config import Ties
from kalm.evaluation.questions import Questions


class Ranks(NamedTuple):
    """1 is best. With equal scores the true entity comes first (optimistic) or last (pessimistic) among them."""

    optimistic: Tensor  # (Q,), int64
    pessimistic: Tensor  # (Q,), int64
    num_candidates: Tensor  # (Q,), int64: entities that were ranked, the true one among them

    @property
    def realistic(self) -> Tensor:
        """The mean of both: the expected rank if ties were broken at random, (Q,), float64."""
        return (self.optimistic + self.pessimistic).double() / 2

    def with_ties(self, ties: Ties) -> Tensor:
        """The ranks under one policy, (Q,), float64."""
        return {
            Ties.optimistic: self.optimistic.double(),
            Ties.realistic: self.realistic,
            Ties.pessimistic: self.pessimistic.double(),
        }[ties]


def filtered_ranks(
    scores: Tensor, true_ids: Tensor, known_rows: Tensor, known_ids: Tensor, is_candidate: Tensor | None = None
) -> Ranks:
    """Rank of each true entity among all candidates that are not other known answers.

    Args:
        scores: (q, N), higher is better.
        true_ids: (q,), int64.
        known_rows, known_ids: (M,), int64: entity known_ids[m] is a known answer of query known_rows[m]; the
            pairs are distinct, and may or may not hold the true entities themselves.
        is_candidate: (N,), bool; None: all are. A true entity is one in any case.

    Raises:
        ValueError: a score is nan.
    """
    if bool(scores.isnan().any()):
        raise ValueError("scores are not numbers (nan), so nothing can be ranked by them; train the model again")
    is_rival = (
        torch.ones_like(scores, dtype=torch.bool) if is_candidate is None else is_candidate.repeat(len(scores), 1)
    )
    is_rival[known_rows, known_ids] = False
    is_rival.scatter_(1, true_ids[:, None], False)
    true_scores = scores.gather(1, true_ids[:, None])  # (q, 1)
    better = ((scores > true_scores) & is_rival).sum(dim=1)
    equal = ((scores == true_scores) & is_rival).sum(dim=1)
    return Ranks(better + 1, better + equal + 1, is_rival.sum(dim=1) + 1)


def rank_by_scores(score_rows: Callable[[slice], Tensor], questions: Questions, memory_mib: int) -> Ranks:
    """Filtered ranks by given scores, one block of queries at a time.

    Args:
        score_rows: scores of a range of queries against all entities, (q, N).
        questions: what is asked.
        memory_mib: MiB for a block's scores and masks; a block has at least one query.

    Returns:
        Ranks on the CPU, in the order of the queries.
    """
    bytes_per_score = 8  # float32, the mask of rivals, and two comparisons
    block = max(1, memory_mib * 2**20 // (bytes_per_score * questions.graph.num_entities))
    parts = []
    for start in range(0, len(questions), block):
        rows = slice(start, start + block)
        scores = score_rows(rows)
        device = scores.device
        known_rows, known_ids = (part.to(device) for part in questions.known(rows))
        is_candidate = None if questions.is_candidate is None else questions.is_candidate.to(device)
        ranks = filtered_ranks(scores, questions.true_ids[rows].to(device), known_rows, known_ids, is_candidate)
        parts.append([column.cpu() for column in ranks])
    return Ranks(*(torch.cat(column) for column in zip(*parts, strict=True)))
