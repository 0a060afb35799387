"""What a process needs to hold, by part: as arithmetic where shapes tell, measured where they do not."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import psutil
import torch
from torch import nn

from kalm.config import DeepSpeedConfig
from kalm.distributed import gather, world_size
from kalm.objective.negatives import ContrastiveObjective
from kalm.provenance import peak_resident_bytes
from kalm.text.token_table import TokenTable

FLOAT32_BYTES = 4
NEVER = 4  # a stage that ZeRO does not have
GRADIENTS, MOMENTS = "gradients", "optimizer state"


class ParameterSize(NamedTuple):
    numel: int  # of the whole parameter, also where ranks hold a part of it each
    element_bytes: int
    is_trained: bool


class Part(NamedTuple):
    """One part of what a process holds."""

    name: str
    num_bytes: int
    in_main_memory: bool = False  # though the device is a GPU


def parameter_sizes(module: nn.Module) -> list[ParameterSize]:
    """Of the parameters as they are trained; under ZeRO-3 DeepSpeed has emptied them and noted their size."""
    return [
        ParameterSize(getattr(p, "ds_numel", p.numel()), p.element_size(), p.requires_grad) for p in module.parameters()
    ]


def state_memory(
    parameters: Sequence[ParameterSize],
    *,
    zero_stage: int,
    world_size: int,
    kept_whole: int = 0,
    offload_optimizer: bool = False,
    offload_parameters: bool = False,
) -> list[Part]:
    """What one process holds through the whole of a step, without activations.

    Source: ZeRO (arXiv 1910.02054), Section 5. Differs as DeepSpeed 0.19.8 does: under every stage but 0 trained
    weights have a float32 copy even if they are float32, and under stage 3 small weights are held whole too.

    Args:
        parameters: trained and frozen.
        zero_stage: what is sharded: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too.
        world_size: processes that share it.
        kept_whole: under stage 3, elements up to which a parameter is held whole beside its shards.
        offload_optimizer, offload_parameters: where their shards are held.

    Returns:
        A part may be empty.
    """
    trained = [size for size in parameters if size.is_trained]

    def num_bytes(sizes: Sequence[ParameterSize], *, sharded_since: int, element_bytes: int | None = None) -> int:
        shards = world_size if zero_stage >= sharded_since else 1
        return sum(-(-size.numel // shards) * (element_bytes or size.element_bytes) for size in sizes)

    in_float32 = all(size.element_bytes == FLOAT32_BYTES for size in trained)
    has_copy = not in_float32 or zero_stage > 0
    small = [size for size in parameters if zero_stage == 3 and size.numel <= kept_whole]
    copy = num_bytes(trained, sharded_since=1, element_bytes=FLOAT32_BYTES)
    gradients = copy if offload_optimizer else num_bytes(trained, sharded_since=2)
    return [
        Part("weights", num_bytes(parameters, sharded_since=3), offload_parameters),
        Part("small weights, held whole", num_bytes(small, sharded_since=NEVER)),
        Part(GRADIENTS, gradients, offload_optimizer),
        Part("float32 copy of the weights", copy if has_copy else 0, offload_optimizer),
        Part(MOMENTS, num_bytes(trained, sharded_since=1, element_bytes=2 * FLOAT32_BYTES), offload_optimizer),
    ]


def num_device_bytes(parts: Iterable[Part]) -> int:
    return sum(part.num_bytes for part in parts if not part.in_main_memory)


def states_of(engine: Any, config: DeepSpeedConfig) -> list[Part]:
    """`state_memory` of DeepSpeed's engine on this rank."""
    return state_memory(
        parameter_sizes(engine.module),
        zero_stage=config.zero_stage,
        world_size=world_size(),
        kept_whole=engine.zero_param_persistence_threshold(),
        offload_optimizer=config.offload_optimizer,
        offload_parameters=config.offload_parameters,
    )


def bytes_beside(engine: Any, states: Sequence[Part]) -> int:
    """Main memory of this process before the first step, beside weights and what DeepSpeed has made of them."""
    later = {GRADIENTS} if engine.basic_optimizer.state else {GRADIENTS, MOMENTS}
    return int(psutil.Process().memory_info().rss) - sum(part.num_bytes for part in states if part.name not in later)


def memory_by_part(
    engine: Any, states: Sequence[Part], contrastive: ContrastiveObjective, table: TokenTable, *, beside: int
) -> list[Part]:
    """All parts after some steps; the last two are measured, and those of the rank with the most.

    Args:
        engine, states: see `states_of`.
        contrastive, table: hold the data.
        beside: see `bytes_beside`; matters on a CPU, where a process's memory is all there is to measure.
    """
    on_gpu = engine.device.type == "cuda"
    mapped = {id(rows): rows for rows in (getattr(table, part.name) for part in fields(table))}.values()
    parts = [
        *states,
        Part("known tails", contrastive.known_tail_keys.nbytes),
        Part("targets of earlier batches", sum(tensor.nbytes for pair in contrastive.queue.batches for tensor in pair)),
        Part("token table, mapped", sum(rows.values.nbytes + rows.offsets.nbytes for rows in mapped), on_gpu),
    ]
    if on_gpu:
        free, total = torch.cuda.mem_get_info()
        peak, name = torch.cuda.max_memory_allocated(), "CUDA's context and the allocator's reserve"
        beside = total - free - peak
    else:
        peak, name = peak_resident_bytes() - beside, "Python, libraries, the graph"
    measured = torch.tensor([[peak - num_device_bytes(parts), beside]], device=engine.device)
    rest, beside = gather(measured).amax(dim=0).clamp(min=0).tolist()
    return [*parts, Part("activations and temporaries", rest), Part(name, beside)]


def device_bytes(device: torch.device) -> int:
    """Memory of the device; on a CPU all processes share it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total
