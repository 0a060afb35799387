"""What `train_step` needs of DeepSpeed's engine, without DeepSpeed: one process, gradients only."""

import torch


class PlainEngine:
    """Adds up gradients and never updates, so that they can be read."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.device = torch.device("cpu")

    def __call__(self, *arguments):
        return self.module(*arguments)

    def backward(self, loss, scale_wrt_gas=True):
        loss.backward()

    def step(self):
        pass


def step_gradients(objective, step, *arguments) -> dict[str, torch.Tensor]:
    """Gradients of the trained parameters after one step, by name."""
    objective.zero_grad()
    step(PlainEngine(objective), *arguments)
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in objective.named_parameters()
        if parameter.requires_grad
    }


def assert_same_gradients(found, expected, tolerance=2e-5) -> None:
    """float32 sums in another order: noise grows with the tensor's largest gradient; a lost row is off by percents."""
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        difference = float((found[name] - gradient).abs().max())
        assert difference <= tolerance * float(gradient.abs().max()), (name, difference)
