"""Model FLOP utilisation: which share of a GPU's peak the model's own products reach."""

import torch
from transformers import PreTrainedModel

from kalm.speed.measure import Row, seconds_of, value_row
from kalm.speed.task import Size, Training

# dense bfloat16, FLOP/s, from NVIDIA's data sheets; a longer name comes before its beginning
PEAK_FLOPS = {"H200": 989e12, "H100 NVL": 835e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12}
LLAMA_1B = Size(hidden=2048, layers=22, heads=32)
BATCH_SIZE = 256


def measure_utilisation(repeats: int, size: Size = LLAMA_1B) -> list[Row]:
    """One row for 1 B parameters in bfloat16; none without a GPU whose peak is known.

    Padding and whatever is computed twice count as time, not as work.
    """
    peak = peak_flops()
    if peak is None:
        return []
    training = Training(size, [f"training.batch_size={BATCH_SIZE}", "model.dtype=bfloat16"])
    (batch,) = training.batches.of_step(0, training.objective.encoder)
    length = batch.num_tokens / (2 * BATCH_SIZE)  # equal for all sequences of this task
    flops = step_flops(
        training.objective.encoder.causal_lm, num_tokens=batch.num_tokens, num_labels=batch.num_labels, length=length
    )
    seconds = [seconds_of(training.step) for _ in range(repeats + 2)][2:]
    return [value_row("model_flop_utilisation_1b_bfloat16", "share of the peak", [flops / peak / s for s in seconds])]


def step_flops(lm: PreTrainedModel, *, num_tokens: int, num_labels: int, length: float) -> float:
    """Floating-point operations of forward and backward: 6 per weight and token, and causal attention.

    The LM head counts at the labels alone, the token embeddings not at all.

    Args:
        lm: the model.
        num_tokens, num_labels: of the batch.
        length: tokens of each sequence.
    """
    head = lm.get_output_embeddings().weight
    embeddings = {id(head), id(lm.get_input_embeddings().weight)}
    body = sum(parameter.numel() for parameter in lm.parameters() if id(parameter) not in embeddings)
    # scores and their use are 4 D per pair of tokens forward, 12 with the backward; half of the pairs are seen
    attention = 6 * lm.config.num_hidden_layers * lm.config.hidden_size * length * num_tokens
    return float(6 * body * num_tokens + 6 * head.numel() * num_labels + attention)


def peak_flops() -> float | None:
    """Of the first GPU in bfloat16; None without one that the table knows."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name(0)
    return next((flops for key, flops in PEAK_FLOPS.items() if all(word in name for word in key.split())), None)
