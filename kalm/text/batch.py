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
    """B directed triples as sequences; id tensors only, int64.

    Rows are sorted by length and padded in groups of similar length, which wastes far less than one matrix as wide as
    the longest row. Sites and labels are positions in the groups' tokens laid end to end, padding included.
    """

    input_ids: tuple[Tensor, ...]  # per group (rows, longest), padded on the right; B rows in all
    entity_sites: Tensor  # (B,), the head segment's last token
    query_sites: Tensor  # (B,), the relation segment's last token
    label_positions: Tensor  # (L,), positions whose next token is a label
    labels: Tensor  # (L,), the tail tokens
    head_ids: Tensor  # (B,)
    relation_ids: Tensor  # (B,), directed
    tail_ids: Tensor  # (B,)
    num_tokens: int  # without padding

    def to(self, device: torch.device) -> "Batch":
        names = [field.name for field in fields(self) if field.name not in {"input_ids", "num_tokens"}]
        return Batch(
            input_ids=tuple(group.to(device, non_blocking=True) for group in self.input_ids),
            num_tokens=self.num_tokens,
            **{name: getattr(self, name).to(device, non_blocking=True) for name in names},
        )


def collate(directed: Triples, table: TokenTable, *, num_groups: int) -> Batch:
    """Join the segments of each directed triple, (B, 3) ids, into one sequence.

    The rows' order changes. All ranks get the same number of groups: `num_groups`, or B if that is less.
    """
    lengths = _sequence_lengths(directed, table)
    order = np.argsort(-lengths, kind="stable")
    directed, lengths = directed[order], lengths[order]
    heads, head_lengths = table.heads.take(directed[:, HEAD])
    relations, relation_lengths = table.relations.take(directed[:, RELATION])
    tails, tail_lengths = table.tails.take(directed[:, TAIL])
    groups = np.array_split(np.arange(len(directed)), min(num_groups, len(directed)))
    widths = np.concatenate([np.full(len(rows), lengths[rows[0]]) for rows in groups])
    row_starts = widths.cumsum() - widths
    query_starts = row_starts + head_lengths
    tail_starts = query_starts + relation_lengths
    tokens = np.full(int(widths.sum()), PADDING, dtype=np.int64)
    tokens[run_positions(row_starts, head_lengths)] = heads
    tokens[run_positions(query_starts, relation_lengths)] = relations
    tail_positions = run_positions(tail_starts, tail_lengths)
    tokens[tail_positions] = tails
    group_sizes = [int(widths[rows].sum()) for rows in groups]
    return Batch(
        input_ids=tuple(
            group.view(len(rows), -1)
            for group, rows in zip(torch.split(torch.from_numpy(tokens), group_sizes), groups, strict=True)
        ),
        entity_sites=torch.from_numpy(query_starts - 1),
        query_sites=torch.from_numpy(tail_starts - 1),
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


def _sequence_lengths(directed: Triples, table: TokenTable) -> NDArray[np.int64]:
    parts = ((table.heads, HEAD), (table.relations, RELATION), (table.tails, TAIL))
    return np.asarray(sum(part.lengths_of(directed[:, column]) for part, column in parts))
