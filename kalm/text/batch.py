"""Directed triples as padded sequences with their sites and labels."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, Triples
from kalm.text.ragged import run_positions
from kalm.text.token_table import TokenTable

PADDING = 0  # any token will do: causal states before it cannot see it, and no site or label lies on it


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B directed triples as sequences of at most T tokens; id tensors only, int64."""

    input_ids: Tensor  # (B, T), padded on the right
    entity_sites: Tensor  # (B,), position of the head segment's last token
    query_sites: Tensor  # (B,), position of the relation segment's last token
    label_positions: Tensor  # (L,), row * T + position, for positions whose next token is a label
    labels: Tensor  # (L,), the tail tokens
    head_ids: Tensor  # (B,)
    relation_ids: Tensor  # (B,), directed
    tail_ids: Tensor  # (B,)
    num_tokens: int  # without padding

    def to(self, device: torch.device) -> "Batch":
        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "num_tokens"}
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        return Batch(num_tokens=self.num_tokens, **moved)


def collate(directed: Triples, table: TokenTable) -> Batch:
    """Join the segments of each directed triple, (B, 3) ids, into one sequence."""
    heads, head_lengths = table.heads.take(directed[:, HEAD])
    relations, relation_lengths = table.relations.take(directed[:, RELATION])
    tails, tail_lengths = table.tails.take(directed[:, TAIL])
    query_lengths = head_lengths + relation_lengths
    lengths = query_lengths + tail_lengths
    input_ids = np.full((len(directed), int(lengths.max())), PADDING, dtype=np.int64)
    flat = input_ids.reshape(-1)
    row_starts = np.arange(len(directed)) * input_ids.shape[1]
    flat[run_positions(row_starts, head_lengths)] = heads
    flat[run_positions(row_starts + head_lengths, relation_lengths)] = relations
    tail_positions = run_positions(row_starts + query_lengths, tail_lengths)
    flat[tail_positions] = tails
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        entity_sites=torch.from_numpy(head_lengths - 1),
        query_sites=torch.from_numpy(query_lengths - 1),
        label_positions=torch.from_numpy(tail_positions - 1),
        labels=torch.from_numpy(tails),
        head_ids=torch.from_numpy(directed[:, HEAD].copy()),
        relation_ids=torch.from_numpy(directed[:, RELATION].copy()),
        tail_ids=torch.from_numpy(directed[:, TAIL].copy()),
        num_tokens=int(lengths.sum()),
    )


def pad_rows(values: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
    """Rows one after another, (sum of lengths,), as a matrix padded on the right, (rows, longest)."""
    padded = np.full((len(lengths), int(lengths.max())), PADDING, dtype=np.int64)
    padded.reshape(-1)[run_positions(np.arange(len(lengths)) * padded.shape[1], lengths)] = values
    return torch.from_numpy(padded)
