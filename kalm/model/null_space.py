"""Adapters that start where the base, as it reads raw text, makes the least use of a layer's inputs."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kalm.model.dual_view_lm import DualViewLM

MOMENT_BYTES = 2 * 2**30  # second moments of inputs held at once; layers beyond that take another pass over the text
TOKENS_AT_ONCE = 4096  # that the LM reads in one forward
ROW_NORM = 3**-0.5  # of a row of peft's own start: entries uniform within 1 / sqrt(inputs)


class FirstFactors(NamedTuple):
    """What the adapters' first factors are to be."""

    factors: dict[str, Tensor]  # by the layer's name in the LM: (rank, inputs), float32, in main memory
    energy: float  # mean over layers of the share that these directions have of the inputs' energy
    random_energy: float  # the same of random directions: rank / inputs


def null_space_factors(encoder: DualViewLM, windows: Tensor) -> FirstFactors:
    """For each adapted layer the `rank` directions in which its inputs have the least energy on the text.

    With x the inputs at the text's tokens these are eigenvectors of sum x x^T with the smallest eigenvalues, as rows of
    one length: that of peft's default, so that a learning rate means the same. While the first factor A stays within
    them, any second factor B leaves B A x near 0 on such text.

    Source: KORE (arXiv 2510.19316), after LoRA-Null (arXiv 2503.02659): the null space of the covariance of a layer's
    activations. They set the base to W - B A with B A the SVD of W projected onto that space. Here W stays as it is
    and B starts at 0: the start is the base to the last bit, and peft loads what is saved on the base as it is. Where
    the text has fewer tokens than a layer has inputs, all directions of the null space are as good, and some are taken.
    Moments are float32: energies below 1e-7 of the largest are not told apart.

    Args:
        encoder: with fresh adapters.
        windows: tokens of raw text, (rows, tokens), int64, without padding.

    Raises:
        ValueError: a layer has fewer inputs than adapters have ranks.
    """
    factors, energies, expected = {}, [], []
    for layers in _passes(_adapted_layers(encoder.lm)):
        for name, moment in _second_moments(encoder, layers, windows).items():
            rank = _first_factor(layers[name]).shape[0]
            eigenvalues, directions = torch.linalg.eigh(moment)  # ascending
            factors[name] = (ROW_NORM * directions[:, :rank].T).contiguous().cpu()
            least, whole = eigenvalues.clamp(min=0)[:rank].sum(), eigenvalues.clamp(min=0).sum()
            energies.append(float(least / whole))
            expected.append(rank / len(moment))
    return FirstFactors(factors, sum(energies) / len(energies), sum(expected) / len(expected))


def set_first_factors(encoder: DualViewLM, factors: dict[str, Tensor]) -> None:
    """Start the adapters from `null_space_factors`; the second factors stay as they are."""
    layers = _adapted_layers(encoder.lm)
    assert layers.keys() == factors.keys(), "they are of another LM"
    with torch.no_grad():
        for name, layer in layers.items():
            _first_factor(layer).copy_(factors[name])


def _adapted_layers(lm: nn.Module) -> dict[str, Any]:
    from peft.tuners.lora import LoraLayer

    layers = {name: layer for name, layer in lm.named_modules() if isinstance(layer, LoraLayer) and len(layer.lora_A)}
    for name, layer in layers.items():
        rank, num_inputs = _first_factor(layer).shape
        if rank > num_inputs:
            raise ValueError(f"model.lora.rank={rank}: {name} has {num_inputs} inputs, and model.lora.init=null_space "
                             f"needs as many directions as ranks; set it to {num_inputs} or less")  # fmt: skip
    return layers


def _first_factor(layer: Any) -> Tensor:
    (factor,) = layer.lora_A.values()
    weight: Tensor = factor.weight
    return weight


def _passes(layers: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The layers in parts whose second moments fit into MOMENT_BYTES, one of them at least."""
    part: dict[str, Any] = {}
    num_bytes = 0
    for name, layer in layers.items():
        size = 4 * _first_factor(layer).shape[1] ** 2
        if part and num_bytes + size > MOMENT_BYTES:
            yield part
            part, num_bytes = {}, 0
        part[name] = layer
        num_bytes += size
    yield part


def _second_moments(encoder: DualViewLM, layers: dict[str, Any], windows: Tensor) -> dict[str, Tensor]:
    """The sum of x x^T over the text for the inputs x of each layer, (inputs, inputs), float32."""
    device = next(encoder.parameters()).device
    moments = {}
    hooks = []
    for name, layer in layers.items():
        num_inputs = _first_factor(layer).shape[1]
        moments[name] = torch.zeros(num_inputs, num_inputs, device=device)
        hooks.append(layer.register_forward_pre_hook(_adds_to(moments[name])))
    try:
        with torch.no_grad(), encoder.as_base():
            for rows in torch.split(windows, max(1, TOKENS_AT_ONCE // windows.shape[1])):
                encoder.states(rows.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def _adds_to(moment: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def add(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs = arguments[0].flatten(0, -2).float()
        moment.addmm_(inputs.T, inputs)

    return add
