"""The language-model term against a loop over tokens."""

import pytest
import torch

from kalm.objective.triple_completion import triple_completion_loss


@pytest.mark.parametrize("num_chunks", [1, 3, 10, 12])
def test_loss_equals_the_loop_in_value_and_gradient(num_chunks):
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 11)
    states = torch.randn(10, 8, requires_grad=True)
    labels = torch.randint(11, (10,))

    expected = torch.zeros(())
    for state, label in zip(states, labels.tolist(), strict=True):
        expected = expected - torch.log_softmax(head(state), dim=0)[label]
    expected = expected / 25
    expected_gradients = torch.autograd.grad(expected, [states, *head.parameters()])

    loss = triple_completion_loss(states, labels, head, num_tokens=25, num_chunks=num_chunks)
    gradients = torch.autograd.grad(loss, [states, *head.parameters()])
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        # float32 sums in another order
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
