"""What a step cost and lost, summed up between two log steps."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from kalm.distributed import all_reduce_sum, world_size
from kalm.objective.joint import Losses, QuestionLosses
from kalm.text.batch import Batch
from kalm.text.question_batch import QuestionBatch


class Meter:
    """Sums over steps and ranks between two log steps; validation and checkpoints are not on its clock.

    What a step of triples and a step of questions lose is averaged over the steps that have it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reset()

    def start_step(self) -> None:
        self._step_start = time.perf_counter()

    def end_step(
        self,
        losses: Losses | QuestionLosses,
        batches: Sequence[Batch] | Sequence[QuestionBatch],
        examples: tuple[int, str],
        stop_asked: bool,
    ) -> bool:
        """Count a step; True if any rank was told to stop, the same answer on all ranks.

        Args:
            losses: of the step.
            batches: this rank's.
            examples: how many it had over all ranks, and of what.
            stop_asked: whether this rank was.
        """
        num_tokens = sum(batch.num_tokens for batch in batches)
        num_padded_tokens = sum(batch.num_padded_tokens for batch in batches)
        measured = losses.measured()
        counted = torch.tensor([num_tokens, num_padded_tokens, stop_asked], dtype=torch.float64, device=self._device)
        # waits for the device, so the step's time is whole
        *sums, tokens, padded_tokens, stop = all_reduce_sum(
            torch.cat([torch.stack([*measured.values()]).double(), counted])
        ).tolist()
        for name, total in zip(measured, sums, strict=True):
            before, steps = self._sums.get(name, (0.0, 0))
            self._sums[name] = before + total, steps + 1
        self._tokens += tokens
        self._padded_tokens += padded_tokens
        self._steps += 1
        seconds = time.perf_counter() - self._step_start
        self._seconds += seconds
        number, unit = examples
        num_before, seconds_before = self._examples.get(unit, (0, 0.0))
        self._examples[unit] = num_before + number, seconds_before + seconds
        return bool(stop)

    def read_and_reset(self) -> dict[str, Any]:
        metrics = {
            **{name: total / (steps * world_size()) for name, (total, steps) in self._sums.items()},
            "padding": 1 - self._tokens / self._padded_tokens,
            **{f"{unit}_per_second": number / seconds for unit, (number, seconds) in self._examples.items()},
            "tokens_per_second": self._tokens / self._seconds,
            "seconds_per_step": self._seconds / self._steps,
        }
        self._reset()
        return metrics

    def _reset(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}  # over ranks and steps, and in how many steps
        self._examples: dict[str, tuple[int, float]] = {}  # how many of each kind, in how many seconds
        self._tokens = self._padded_tokens = self._seconds = 0.0
        self._steps = 0
