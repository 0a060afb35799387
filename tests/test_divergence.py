"""The divergence from a teacher against loops over tokens."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kalm.config import KlDirection
from kalm.objective.divergence import Predictor, divergence_loss, token_divergences

L, V = 6, 11


def loop_divergence(student, teacher, direction, temperature, top_k):
    """Of one position, token by token, in the precision of the logits."""

    def probabilities(logits):
        powers = [torch.exp(logit / temperature) for logit in logits]
        whole = sum(powers)
        return [power / whole for power in powers]

    p, q = probabilities(student), probabilities(teacher)
    if top_k is not None:
        likely = sorted(range(len(q)), key=lambda token: -float(q[token].detach()))[:top_k]
        rest = [token for token in range(len(q)) if token not in likely]
        p, q = ([of[token] for token in likely] + ([sum(of[token] for token in rest)] if rest else []) for of in (p, q))

    def kl(a, b):
        return sum(x * torch.log(x / y) for x, y in zip(a, b, strict=True))

    if direction is KlDirection.student_teacher:
        value = kl(p, q)
    elif direction is KlDirection.teacher_student:
        value = kl(q, p)
    else:
        m = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
        value = (kl(p, m) + kl(q, m)) / 2
    return value * temperature**2


@pytest.mark.parametrize("direction", KlDirection)
@pytest.mark.parametrize("top_k", [None, 1, 4, V - 1, V, 50])
@pytest.mark.parametrize("num_chunks", [1, 4, L + 2])
def test_loss_equals_the_loop_in_value_and_gradient(direction, top_k, num_chunks):
    torch.manual_seed(0)
    student_head, teacher_head = torch.nn.Linear(8, V), torch.nn.Linear(5, V)
    student_states = torch.randn(L, 8, requires_grad=True)
    teacher_states = torch.randn(L, 5, requires_grad=True)
    trained = [student_states, *student_head.parameters()]

    with torch.no_grad():
        teacher_logits = 3 * teacher_head(teacher_states)
    expected = torch.stack([
        loop_divergence(student, teacher, direction, 1.7, top_k)
        for student, teacher in zip(student_head(student_states), teacher_logits, strict=True)
    ]).sum() / 25  # fmt: skip
    expected_gradients = torch.autograd.grad(expected, trained)

    loss = divergence_loss(
        Predictor(student_states, student_head), Predictor(teacher_states, lambda states: 3 * teacher_head(states)),
        direction=direction, temperature=1.7, top_k=top_k, num_tokens=25, num_chunks=num_chunks,
    )  # fmt: skip
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(torch.autograd.grad(loss, trained, retain_graph=True), expected_gradients, strict=True):
        # float32 sums in another order
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    teachers = [teacher_states, *teacher_head.parameters()]
    assert torch.autograd.grad(loss, teachers, allow_unused=True) == (None, None, None)


logits = st.lists(st.floats(-30, 30, width=32), min_size=V, max_size=V)


@given(logits, logits, st.sampled_from(KlDirection), st.floats(0.5, 4), st.integers(1, V))
def test_a_divergence_is_not_negative_and_that_of_fewer_outcomes_is_no_larger(student, teacher, direction, tau, top_k):
    p, q = torch.tensor([student], dtype=torch.float64), torch.tensor([teacher], dtype=torch.float64)
    whole = float(token_divergences(p, q, direction=direction, temperature=tau, top_k=None))
    coarse = float(token_divergences(p, q, direction=direction, temperature=tau, top_k=top_k))
    rounding = 1e-9 * (1 + whole)
    assert -rounding <= coarse <= whole + rounding
    assert top_k < V - 1 or coarse == pytest.approx(whole, abs=rounding)
    # a shift of all logits is no change
    assert float(token_divergences(p, p + 3, direction=direction, temperature=tau, top_k=top_k)) < 1e-9


def test_jensen_shannon_is_symmetric_and_at_most_log_two():
    torch.manual_seed(1)
    p, q = 40 * torch.randn(2, L, V)
    keys = {"direction": KlDirection.jensen_shannon, "temperature": 1.0, "top_k": None}
    torch.testing.assert_close(token_divergences(p, q, **keys), token_divergences(q, p, **keys))
    assert float(token_divergences(p, q, **keys).max()) <= math.log(2) + 1e-6


def test_the_directions_differ():
    p, q = torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([[1.0, 0.0, 3.0]])
    found = {float(token_divergences(p, q, direction=d, temperature=1.0, top_k=None)) for d in KlDirection}
    assert len(found) == 3


def test_a_rest_too_small_for_one_minus_the_others_keeps_its_probability():
    logits = torch.tensor([[40.0, 0.0, 0.0]])
    other = torch.tensor([[40.0, 5.0, 5.0]])
    keys = {"direction": KlDirection.student_teacher, "temperature": 1.0}
    coarse = token_divergences(other, logits, top_k=1, **keys)
    torch.testing.assert_close(coarse, token_divergences(other, logits, top_k=None, **keys))
    assert float(coarse) > 0


def test_different_numbers_of_positions_are_refused():
    head = torch.nn.Identity()
    with pytest.raises(ValueError, match="student has 3 positions and the teacher 2"):
        divergence_loss(
            Predictor(torch.zeros(3, V), head), Predictor(torch.zeros(2, V), head),
            direction=KlDirection.student_teacher, temperature=1.0, top_k=None, num_tokens=1, num_chunks=1,
        )  # fmt: skip
