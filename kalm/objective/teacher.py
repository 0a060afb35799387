"""An LM whose next-token distributions another is held to, without a gradient of its own."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from kalm.config import AnchorConfig, KaleConfig
from kalm.distributed import world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.divergence import Predictor, divergence_loss
from kalm.objective.label_counts import LabelCounts


class FrozenLM(NamedTuple):
    """An LM, and the state in which it teaches."""

    encoder: DualViewLM
    teaching: Callable[[], AbstractContextManager[None]]

    def logits(self, states: Tensor) -> Tensor:
        with self.teaching():
            return self.encoder.logits(states)

    @torch.no_grad()
    def at(self, input_ids: tuple[Tensor, ...], positions: Tensor) -> Predictor:
        """What it predicts at some positions of groups of sequences."""
        with self.teaching():
            return Predictor(self.encoder.states_at(input_ids, positions), self.logits)


def base_teacher(encoder: DualViewLM, base: DualViewLM | None) -> FrozenLM:
    """The LM of before the first step; without a copy of it the encoder without its adapters."""
    teacher = encoder if base is None else base
    return FrozenLM(teacher, teacher.as_base)


def taught(student: Predictor, target: Predictor, labels: LabelCounts, config: AnchorConfig | KaleConfig) -> Tensor:
    """The student's divergence from a teacher: this batch's share of the mean, times the number of ranks.

    Args:
        student, target: equally many positions; the target as `FrozenLM.at` gives it.
        labels: of the whole step.
        config: which divergence.

    Returns:
        Scalar, float32.
    """
    # times the number of ranks, because gradients are averaged over ranks
    return world_size() * divergence_loss(
        student,
        target,
        direction=config.direction,
        temperature=config.temperature,
        top_k=config.top_k,
        **labels._asdict(),
    )
