"""Rationales, internalised: what the LM loses on questions without and with them."""

from typing import NamedTuple

import torch
from torch import Tensor

from kalm.config import KaleConfig, Teacher
from kalm.distributed import world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.divergence import Predictor
from kalm.objective.label_counts import LabelCounts, QuestionCounts
from kalm.objective.teacher import FrozenLM, base_teacher, taught
from kalm.objective.triple_completion import triple_completion_loss
from kalm.text.question_batch import QuestionBatch


class KaleTerms(NamedTuple):
    """Each this batch's share of the mean over tokens, times the number of ranks; None where its weight is 0."""

    divergence: Tensor | None
    answer: Tensor | None
    answer_with_rationale: Tensor | None
    rationale: Tensor | None


def kale_terms(
    encoder: DualViewLM, base: DualViewLM | None, batch: QuestionBatch, counts: QuestionCounts, config: KaleConfig
) -> KaleTerms:
    """All terms of weight > 0.

    divergence             KL between next-token predictions without (p) and with the rationale (q, no gradient)
    answer                 next-token loss of the answer after the question
    answer_with_rationale  of the answer after question and rationale
    rationale              of rationale and answer after the question

    Source: KALE (arXiv 2601.07430), knowledge-aware tuning: KL(p || q), which is `direction=student_teacher`. No code
    of it is public; docs/kale.md says what was decided.

    Without dropout the self-teacher's states could come from the pass of `answer_with_rationale`; a pass of its own
    keeps the target free of noise in all cases.

    Args:
        encoder: the LM.
        base: the frozen LM of before the first step; None is the encoder without its adapters.
        batch: with explained sequences where a term reads them.
        counts: see `JointObjective.count_questions`.
        config: weights, teacher, divergence.
    """
    divergence = answer = None
    if config.kl_weight > 0 or config.answer_weight > 0:
        compared, answered = _states(encoder, batch.plain_ids, batch.compared_positions, batch.answer_positions)
        if config.kl_weight > 0:
            is_base = config.teacher is Teacher.base
            teacher = base_teacher(encoder, base) if is_base else FrozenLM(encoder, encoder.without_dropout)
            target = teacher.at(batch.explained_ids, batch.explained_compared_positions)
            divergence = taught(Predictor(compared, encoder.logits), target, counts.compared, config)
        if config.answer_weight > 0:
            answer = _next_token_loss(encoder, answered, batch.answers, counts.answers)
    answer_with_rationale = rationale = None
    if config.answer_with_rationale_weight > 0 or config.rationale_weight > 0:
        answered, written = _states(
            encoder, batch.explained_ids, batch.explained_answer_positions, batch.written_positions
        )
        if config.answer_with_rationale_weight > 0:
            answer_with_rationale = _next_token_loss(encoder, answered, batch.answers, counts.answers)
        if config.rationale_weight > 0:
            rationale = _next_token_loss(encoder, written, batch.written, counts.written)
    return KaleTerms(divergence, answer, answer_with_rationale, rationale)


def _states(encoder: DualViewLM, input_ids: tuple[Tensor, ...], *positions: Tensor) -> tuple[Tensor, ...]:
    """At several lists of positions, of one pass."""
    states = encoder.states_at(input_ids, torch.cat(positions))
    return torch.split(states, [len(some) for some in positions])


def _next_token_loss(encoder: DualViewLM, states: Tensor, labels: Tensor, counts: LabelCounts) -> Tensor:
    # times the number of ranks, because gradients are averaged over ranks
    return world_size() * triple_completion_loss(states, labels, encoder.logits, **counts._asdict())
