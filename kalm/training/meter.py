"""What a step cost and lost, summed up between two log steps."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from kalm.distributed import all_reduce_sum, world_size
from kalm.objective.joint import Losses
from kalm.objective.negatives import COUNTED
from kalm.text.batch import Batch


class Meter:
    """Sums over steps and ranks between two log steps; validation and checkpoints are not on its clock."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size = batch_size
        self._device = device
        self._terms: list[str] = []  # of the loss
        self._sums: torch.Tensor
        self._reset()

    def start_step(self) -> None:
        self._step_start = time.perf_counter()

    def end_step(self, losses: Losses, batches: Sequence[Batch], stop_asked: bool) -> bool:
        """Count a step; True if any rank was told to stop, the same answer on all ranks."""
        num_tokens = sum(batch.num_tokens for batch in batches)
        num_padded_tokens = sum(batch.num_padded_tokens for batch in batches)
        self._terms = [*losses.terms()]  # the same in each step
        terms = torch.stack([term.detach() for term in losses.terms().values()]).double()
        counted = torch.tensor([num_tokens, num_padded_tokens, stop_asked], dtype=torch.float64, device=self._device)
        sums = all_reduce_sum(torch.cat([terms, losses.negatives, counted]))
        stop = bool(sums[-1])  # waits for the device, so the step's time is whole
        self._sums = self._sums + sums
        self._steps += 1
        self._seconds += time.perf_counter() - self._step_start
        return stop

    def read_and_reset(self) -> dict[str, Any]:
        rank_steps = self._steps * world_size()
        *means, tokens, padded_tokens, _ = self._sums.tolist()
        names = [*(f"loss/{name}" for name in self._terms), *(f"negatives/{name}" for name in COUNTED)]
        metrics = {
            **{name: total / rank_steps for name, total in zip(names, means, strict=True)},
            "padding": 1 - tokens / padded_tokens,
            "triples_per_second": self._batch_size * self._steps / self._seconds,
            "tokens_per_second": tokens / self._seconds,
            "seconds_per_step": self._seconds / self._steps,
        }
        self._reset()
        return metrics

    def _reset(self) -> None:
        self._sums = torch.zeros((), dtype=torch.float64, device=self._device)
        self._steps = 0
        self._seconds = 0.0
