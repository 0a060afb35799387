"""From a step's number to this rank's raw text."""

import numpy as np
import torch
from numpy.typing import NDArray

from kalm.config import Config
from kalm.text.raw_text import cut_windows
from kalm.text.text_batch import TextBatch, collate_windows
from kalm.training.sampler import TripleSampler


class TextWindows:
    """This rank's share of each step's windows of raw text, in micro-batches.

    Windows are drawn as triples are: seeded passes over all of them, without a state.

    Args:
        tokens: of the text, (T,).
        config: of the run.
        rank, world_size: this process takes the rank-th of world_size equal parts.

    Raises:
        ValueError: the text is shorter than what one step takes of it.
    """

    def __init__(self, tokens: NDArray[np.int32], config: Config, *, rank: int, world_size: int) -> None:
        retention = config.objective.retention
        self.windows = cut_windows(tokens, retention.window_tokens)
        per_step = retention.windows_per_step
        if len(self.windows) < per_step:
            raise ValueError(
                f"objective.retention.text: {retention.text} has {len(tokens):,} tokens, and a step takes {per_step} "
                f"windows of {retention.window_tokens}; name a longer text, or lower "
                "objective.retention.tokens_per_step or objective.retention.window_tokens"
            )
        share = per_step // world_size
        self.share = slice(rank * share, (rank + 1) * share)
        step_share = config.step_size // world_size
        self.num_micro_batches = min(share, step_share // (config.training.micro_batch_size or step_share))
        self.sampler = TripleSampler(len(self.windows), per_step, config.training.seed)

    def of_step(self, step: int, device: torch.device) -> list[TextBatch]:
        """Micro-batches, at most as many as the step has: equally many on all ranks."""
        parts = np.array_split(self.sampler.rows(step)[self.share], self.num_micro_batches)
        return [collate_windows(self.windows[part]).to(device) for part in parts]
