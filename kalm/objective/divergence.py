"""How far next-token distributions are from those of a teacher."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kalm.config import KlDirection


class Predictor(NamedTuple):
    """States at some positions, and what makes next-token logits of them."""

    states: Tensor  # (L, D); student and teacher may have another D each
    head: Callable[[Tensor], Tensor]  # (l, D) -> (l, V), float32


def divergence_loss(
    student: Predictor,
    teacher: Predictor,
    *,
    direction: KlDirection,
    temperature: float,
    top_k: int | None,
    num_tokens: Tensor | int,
    num_chunks: int,
) -> Tensor:
    """Sum of `token_divergences` over this rank's positions, divided by `num_tokens`; the teacher gets no gradient.

    Position i of the student is compared with position i of the teacher. Both may stand in one sequence, which the
    teacher reads with other weights, or in two, where the teacher's has a text before the same answer.

    The logits of one chunk are alive at a time; those of several chunks are computed again in the backward pass.

    Args:
        student, teacher: equally many positions, L, and one vocabulary.
        direction, temperature, top_k: see `token_divergences`.
        num_tokens: the divisor, > 0: positions of the whole step on all ranks, so that the mean is over all of them.
        num_chunks: > 0; under ZeRO-3 the same on all ranks, since each chunk gathers the heads' weights.

    Returns:
        Scalar, float32.

    Raises:
        ValueError: student and teacher have different numbers of positions.
    """
    if len(student.states) != len(teacher.states):
        raise ValueError(f"the student has {len(student.states)} positions and the teacher {len(teacher.states)}")

    def chunk_loss(student_states: Tensor, teacher_states: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_logits = teacher.head(teacher_states)
        divergences = token_divergences(
            student.head(student_states), teacher_logits, direction=direction, temperature=temperature, top_k=top_k
        )
        return divergences.sum()

    teacher_states = teacher.states.detach()
    if num_chunks == 1:
        return chunk_loss(student.states, teacher_states) / num_tokens
    parts = [
        checkpoint(chunk_loss, *states, use_reentrant=False)
        for states in zip(
            torch.tensor_split(student.states, num_chunks), torch.tensor_split(teacher_states, num_chunks), strict=True
        )
    ]
    return torch.stack(parts).sum() / num_tokens


def token_divergences(
    student_logits: Tensor, teacher_logits: Tensor, *, direction: KlDirection, temperature: float, top_k: int | None
) -> Tensor:
    """Divergence of student p and teacher q at each position, in nats, times temperature^2.

    student_teacher  KL(p || q) = sum over tokens of p log(p / q)
    teacher_student  KL(q || p)
    jensen_shannon   (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2; at most log 2 before the factor

    Both are softmax(logits / temperature). Their gradient shrinks with 1 / temperature^2, and the factor makes up for
    that, so that a weight means the same at each temperature. Source: Hinton et al. (arXiv 1503.02531), Section 2.1.

    With `top_k` both are distributions over k + 1 outcomes: the teacher's k most probable tokens, and any other one.
    Their probabilities are exact, those of the softmax over the whole vocabulary. The divergence is that of the coarser
    distributions: never more than the whole one (data-processing inequality), equal to it for k >= V - 1, and without
    a gradient within the rest. It saves work on (L, V) numbers, not the logits themselves.

    Args:
        student_logits, teacher_logits: (L, V), float32, finite.
        direction: which of the three.
        temperature: divides the logits, > 0.
        top_k: k > 0; None compares all tokens.

    Returns:
        (L,), float32, >= 0 up to rounding.
    """
    student, teacher = student_logits, teacher_logits
    if temperature != 1:  # else two copies of the logits for nothing
        student, teacher = student / temperature, teacher / temperature
    if top_k is None or top_k >= student.shape[-1]:
        log_p, log_q = student.log_softmax(dim=-1), teacher.log_softmax(dim=-1)
    else:
        likely = teacher.topk(top_k, dim=-1).indices
        log_p, log_q = _coarse(student, likely), _coarse(teacher, likely)
    if direction is KlDirection.student_teacher:
        divergences = _kl(log_p, log_q)
    elif direction is KlDirection.teacher_student:
        divergences = _kl(log_q, log_p)
    else:
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        divergences = (_kl(log_p, log_m) + _kl(log_q, log_m)) / 2
    return divergences * temperature**2


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def _coarse(logits: Tensor, likely: Tensor) -> Tensor:
    """Log-probabilities of the likely tokens, and of all others as one outcome: (L, V) and (L, k) to (L, k + 1)."""
    # summed up over the others, not 1 minus the likely ones, which would round a small rest to 0
    others = logits.scatter(1, likely, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return torch.cat([logits.gather(1, likely), others], dim=-1) - logits.logsumexp(dim=-1, keepdim=True)
