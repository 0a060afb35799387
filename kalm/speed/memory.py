"""Peak memory: against the number of triples in a step, and of the loss over a large vocabulary."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from kalm.objective.triple_completion import triple_completion_loss
from kalm.speed.measure import Row, peak_memory, ratio_row, take_turns, value_row
from kalm.speed.task import LLAMA_2M, Size, Training

MICRO_BATCH = 32
PLAIN = 64


def measure_memory(batch_sizes: Sequence[int] = (64, 256, 1024, 4096, 8192), size: Size = LLAMA_2M) -> list[Row]:
    """What the first step adds to a process, with micro-batches of 32 triples, against a plain step of 64 triples.

    The first step, since gradients and the optimizer's state are allocated in it.
    """
    plain = peak_memory(_first_step, size, [f"training.batch_size={PLAIN}"])
    rows = [value_row(f"plain_step_{PLAIN}_triples", "MiB added", [plain[1]])]
    for batch_size in batch_sizes:
        overrides = [f"training.batch_size={batch_size}", f"training.micro_batch_size={MICRO_BATCH}"]
        cached = peak_memory(_first_step, size, overrides)
        name = f"gradient_caching_{batch_size}_triples_vs_plain_{PLAIN}"
        rows.append(ratio_row(name, "MiB added", [cached[1]], [plain[1]], more_is_better=False))
    return rows


def measure_vocabulary(
    *, repeats: int, vocabulary: int = 128_000, num_labels: int = 2048, hidden: int = 256, chunk: int = 256
) -> list[Row]:
    """Time and memory of the language-model loss and its gradient, in chunks of labels and all at once."""
    sizes = (vocabulary, num_labels, hidden)
    chunks = {"chunked": -(-num_labels // chunk), "whole": 1}
    seconds = take_turns({name: _completion(*sizes, number) for name, number in chunks.items()}, repeats)
    added = {name: peak_memory(_completion, *sizes, number)[1] for name, number in chunks.items()}
    name = f"completion_loss_vocabulary_{vocabulary}_chunked_vs_whole"
    return [
        ratio_row(f"{name}_seconds", "s", seconds["chunked"], seconds["whole"], more_is_better=False),
        ratio_row(f"{name}_memory", "MiB added", [added["chunked"]], [added["whole"]], more_is_better=False),
    ]


def _first_step(size: Size, overrides: list[str]) -> Callable[[], object]:
    return Training(size, overrides).step


def _completion(vocabulary: int, num_labels: int, hidden: int, num_chunks: int) -> Callable[[], object]:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    head = torch.nn.Linear(hidden, vocabulary, bias=False, device=device)
    states = torch.randn(num_labels, hidden, device=device, requires_grad=True)
    labels = torch.randint(vocabulary, (num_labels,), device=device)
    return partial(_loss_and_gradient, head, states, labels, num_chunks)


def _loss_and_gradient(head: torch.nn.Linear, states: torch.Tensor, labels: torch.Tensor, num_chunks: int) -> None:
    loss = triple_completion_loss(states, labels, head, num_tokens=len(labels), num_chunks=num_chunks)
    torch.autograd.grad(loss, [states, head.weight])
