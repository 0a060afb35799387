"""Rows of tokens beside the graph's: raw text, or whatever else the LM is to predict."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBatch:
    """Sequences and the positions in them at which the next token is predicted; int64."""

    input_ids: tuple[Tensor, ...]  # per group (sequences, longest), padded on the right with any token
    label_positions: Tensor  # (L,), in the groups' tokens laid end to end, padding included

    @property
    def num_labels(self) -> int:
        return len(self.label_positions)

    def to(self, device: torch.device) -> "TextBatch":
        return TextBatch(
            input_ids=tuple(group.to(device, non_blocking=True) for group in self.input_ids),
            label_positions=self.label_positions.to(device, non_blocking=True),
        )


def collate_windows(windows: NDArray[np.integer]) -> TextBatch:
    """Windows of one length, (rows, tokens), each position of which predicts a next token."""
    input_ids = torch.from_numpy(windows.astype(np.int64))
    return TextBatch(input_ids=(input_ids,), label_positions=torch.arange(input_ids.numel()))
