"""The few collective operations kalm needs; with one process each is the identity."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def choose_device() -> torch.device:
    """This process's GPU where there are any, else the CPU."""
    if torch.cuda.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local_rank)
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes of torchrun or `deepspeed`, if there are any, without an engine."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group("gloo" if choose_device().type == "cpu" else "cpu:gloo,cuda:nccl")
    if choose_device().type == "cpu":
        torch.set_num_threads(threads_of_process())
    try:
        yield
    finally:
        dist.destroy_process_group()


def threads_of_process() -> int:
    """A fair share of this machine's cores."""
    # torchrun's name, DeepSpeed's name, and neither with one process
    local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("LOCAL_SIZE", "1")))
    return max(1, len(os.sched_getaffinity(0)) // local_world_size)


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def barrier() -> None:
    if world_size() > 1:
        dist.barrier()


def broadcast(value: Any) -> Any:
    """Rank 0's value, on all ranks; it is pickled on the way, between processes of one run."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


@contextmanager
def faults_shared() -> Iterator[None]:
    """A ValueError of one process becomes that of all, so that none waits for one that has left.

    All processes enter and leave it together.
    """
    if world_size() == 1:
        yield
        return
    own: ValueError | None = None
    try:
        yield
    except ValueError as error:
        own = error
    messages: list[str | None] = [None] * world_size()
    dist.all_gather_object(messages, None if own is None else str(own))
    if faults := [message for message in messages if message is not None]:
        raise ValueError(faults[0]) from own


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum over all ranks, without gradient."""
    if world_size() == 1:
        return value.detach()
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def gather(rows: Tensor) -> Tensor:
    """All ranks' rows in rank order, (n, ...) -> (ranks * n, ...), without gradient; n is equal on all ranks."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_with_grad(rows: Tensor) -> Tensor:
    """Like `gather`, with gradient: each rank's rows receive the sum of what all ranks' losses send them.

    With a loss that is each rank's own queries against all targets, and gradients averaged over ranks, this is
    exactly the gradient of one process with the global batch.
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _GatherWithGrad.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _GatherWithGrad(torch.autograd.Function):
    # torch.distributed.nn.functional.all_gather goes through all_to_all in its backward, which not every backend has

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        return gather(rows)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # autograd's own must stay as it is
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]
