"""Directed triples as padded sequences with their sites and labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, Triples
from kalm.text.ragged import Ids, RaggedArray, join_rows, run_positions
from kalm.text.token_table import TokenTable

PADDING = 0  # any token will do: causal states before it cannot see it, and no site or label lies on it
IGNORED = -100  # a label that costs nothing: cross-entropy's own word for it


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteIds:
    """Which query and which entity each site belongs to; int64."""

    head_ids: Tensor  # (B,), of the queries
    relation_ids: Tensor  # (B,), directed
    tail_ids: Tensor  # (B,)
    entity_ids: Tensor  # (E,), of the entity sites; every tail of the global batch is among those of all ranks

    @classmethod
    def cat(cls, parts: Iterable["SiteIds"]) -> "SiteIds":
        parts = list(parts)
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B directed triples as sequences; id tensors only, int64.

    Sequences are padded on the right in groups of similar length, which wastes far less than one matrix as wide as the
    longest. Sites and labels are positions in the groups' tokens laid end to end, padding included.
    """

    input_ids: tuple[Tensor, ...]  # per group (sequences, longest)
    entity_sites: Tensor  # (E,)
    query_sites: Tensor  # (B,)
    label_positions: Tensor  # (L,), positions whose next token is a label
    labels: Tensor  # (L,), tail tokens; IGNORED where a logit is computed for nothing
    ids: SiteIds
    num_labels: int  # without the ignored ones
    num_tokens: int  # without padding

    @property
    def num_padded_tokens(self) -> int:
        return sum(group.numel() for group in self.input_ids)

    def to(self, device: torch.device) -> "Batch":
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            input_ids=tuple(move(group) for group in self.input_ids),
            entity_sites=move(self.entity_sites),
            query_sites=move(self.query_sites),
            label_positions=move(self.label_positions),
            labels=move(self.labels),
            ids=SiteIds(**{field.name: move(getattr(self.ids, field.name)) for field in fields(SiteIds)}),
            num_labels=self.num_labels,
            num_tokens=self.num_tokens,
        )


def collate(
    directed: Triples,
    table: TokenTable,
    *,
    num_groups: int,
    more_entities: Ids | None = None,
    is_completed: NDArray[np.bool_] | None = None,
) -> Batch:
    """One sequence per directed triple, with all its views: heads[h] + relations[r] + tails[t].

    The tail is there for its labels only: its last token predicts none and stays out, all of it where there are none.

    Args:
        directed: (B, 3), int64.
        table: the segments.
        num_groups: of similar length, at most; all ranks with as many sequences have as many groups.
        more_entities: ids of entities beside the heads that are wanted as targets, one sequence each.
        is_completed: (B,), where the tail's tokens are labels; everywhere by default.
    """
    if more_entities is None:
        more_entities = np.empty(0, dtype=np.int64)
    if is_completed is None:
        is_completed = np.ones(len(directed), dtype=bool)
    triples, (head_ends, relation_ends, _) = join_rows(
        [
            table.heads.take(directed[:, HEAD]),
            table.relations.take(directed[:, RELATION]),
            table.tails.take(directed[:, TAIL], _num_written(directed, table, is_completed)),
        ]
    )
    entities, (entity_ends,) = join_rows([table.targets.take(more_entities)])
    input_ids, starts = pad_in_groups([triples, entities], num_groups)
    triple_starts, entity_starts = np.split(starts, [len(directed)])
    query_sites = triple_starts + relation_ends - 1
    return _batch(
        input_ids,
        [triples, entities],
        directed,
        entity_sites=np.concatenate([triple_starts + head_ends - 1, entity_starts + entity_ends - 1]),
        entity_ids=np.concatenate([directed[:, HEAD], more_entities]),
        query_sites=query_sites,
        labels=_labels(directed[is_completed], query_sites[is_completed], table),
    )


def collate_separately(
    directed: Triples,
    table: TokenTable,
    *,
    is_completed: NDArray[np.bool_],
    encode_heads: bool,
    logits_everywhere: bool,
) -> Batch:
    """The usual scheme: query, target and completion are sequences of their own, each kind padded in one matrix.

    Args:
        directed: (B, 3), int64.
        table: the segments.
        is_completed: (B,), which of them have a completion.
        encode_heads: the heads as targets too, which costs a forward; of use only without the inverse view.
        logits_everywhere: a logit at each position of a completion, as a causal LM that is called with labels has it.
    """
    queries, (_, query_ends) = join_rows(
        [table.heads.take(directed[:, HEAD]), table.relations.take(directed[:, RELATION])]
    )
    entity_ids = directed[:, TAIL]
    kinds = [queries, _rows(table.targets, entity_ids)]
    if encode_heads:
        entity_ids = np.concatenate([entity_ids, directed[:, HEAD]])
        kinds.append(_rows(table.targets, directed[:, HEAD]))
    completed = directed[is_completed]
    completions, (_, prompt_ends, _) = join_rows(
        [
            table.completion_heads.take(completed[:, HEAD]),
            table.completion_relations.take(completed[:, RELATION]),
            table.tails.take(completed[:, TAIL]),
        ]
    )
    # without a completion one token of padding is encoded, since ranks under ZeRO-3 must run equally many forwards
    kinds.append(completions if len(completions) else RaggedArray.from_rows([[PADDING]]))
    padded = [pad_in_groups([rows], num_groups=1) for rows in kinds]
    sizes = [sum(group.numel() for group in groups) for groups, _ in padded]
    kind_starts = np.cumsum([0, *sizes])
    starts = np.concatenate([starts + first for (_, starts), first in zip(padded, kind_starts[:-1], strict=True)])
    query_starts, entity_starts, completion_starts = np.split(starts, [len(directed), len(directed) + len(entity_ids)])
    completion_starts = completion_starts[: len(completed)]
    labels = _labels(completed, completion_starts + prompt_ends - 1, table)
    if logits_everywhere:
        labels = _with_ignored(labels, run_positions(completion_starts, completions.lengths - 1))
    return _batch(
        tuple(group for groups, _ in padded for group in groups),
        kinds,
        directed,
        entity_sites=entity_starts + table.targets.lengths_of(entity_ids) - 1,
        entity_ids=entity_ids,
        query_sites=query_starts + query_ends - 1,
        labels=labels,
    )


def sequence_lengths(directed: Triples, table: TokenTable, is_completed: NDArray[np.bool_]) -> Ids:
    """Tokens of each directed triple's sequence in one pass, (B,)."""
    queries = table.heads.lengths_of(directed[:, HEAD]) + table.relations.lengths_of(directed[:, RELATION])
    return queries + _num_written(directed, table, is_completed)


def length_groups(lengths: Ids, num_groups: int) -> list[Ids]:
    """Rows in groups of similar length, longest first: the cut with the least padding.

    Dynamic programming over the distinct lengths. There are min(num_groups, rows) groups, whatever the lengths, since
    ranks under ZeRO-3 must run equally many forwards.
    """
    order = np.argsort(-lengths, kind="stable")
    negative_widths, counts = np.unique(-lengths, return_counts=True)
    seen = np.concatenate([[0], counts.cumsum()])  # rows that are longer than distinct width i
    num_widths = len(counts)
    # cost[i, j]: tokens of one group that holds the distinct widths i .. j - 1
    cost = (-negative_widths)[:, None] * (seen[None, :] - seen[:-1, None]).astype(float)
    cost[np.arange(num_widths)[:, None] >= np.arange(num_widths + 1)[None, :]] = np.inf
    least = cost[0]
    cuts = []
    for _ in range(min(num_groups, num_widths) - 1):
        candidates = least[:-1, None] + cost
        cuts.append(candidates.argmin(axis=0))
        least = candidates.min(axis=0)
    ends, width = [], num_widths
    for cut in reversed(cuts):
        ends.append(width)
        width = int(cut[width])
    bounds = [0, *(int(seen[end]) for end in reversed([*ends, width]))]
    groups = [order[first:last] for first, last in pairwise(bounds)]
    while len(groups) < min(num_groups, len(lengths)):
        largest = max(range(len(groups)), key=lambda place: len(groups[place]))
        groups[largest : largest + 1] = np.array_split(groups[largest], 2)
    return groups


def pad_rows(values: NDArray[np.integer], lengths: Ids) -> Tensor:
    """Rows one after another, (sum of lengths,), as a matrix padded on the right, (rows, longest)."""
    padded = np.full((len(lengths), int(lengths.max())), PADDING, dtype=np.int64)
    padded.reshape(-1)[run_positions(np.arange(len(lengths)) * padded.shape[1], lengths)] = values
    return torch.from_numpy(padded)


def pad_in_groups(kinds: Sequence[RaggedArray], num_groups: int) -> tuple[tuple[Tensor, ...], Ids]:
    """Rows of all kinds as padded groups, and the position of each row's first token in them."""
    rows = _stack(kinds)
    starts = np.empty(len(rows), dtype=np.int64)
    groups, first = [], 0
    for group in length_groups(rows.lengths, num_groups):
        padded = pad_rows(*rows.take(group))
        starts[group] = first + np.arange(len(group)) * padded.shape[1]
        first += padded.numel()
        groups.append(padded)
    return tuple(groups), starts


def _stack(kinds: Sequence[RaggedArray]) -> RaggedArray:
    return RaggedArray.from_lengths(
        np.concatenate([rows.values for rows in kinds]), np.concatenate([rows.lengths for rows in kinds])
    )


def _rows(part: RaggedArray, ids: Ids) -> RaggedArray:
    rows, _ = join_rows([part.take(ids)])
    return rows


def _num_written(directed: Triples, table: TokenTable, is_completed: NDArray[np.bool_]) -> Ids:
    """How many of each tail's tokens the LM reads, (B,)."""
    return np.where(is_completed, table.tails.lengths_of(directed[:, TAIL]) - 1, 0)


def _labels(directed: Triples, sites: Ids, table: TokenTable) -> tuple[Ids, Ids]:
    """Positions that predict the tails' tokens, from each site on, and those tokens."""
    tokens, lengths = table.tails.take(directed[:, TAIL])
    return run_positions(sites, lengths), tokens


def _with_ignored(labels: tuple[Ids, Ids], positions: Ids) -> tuple[Ids, Ids]:
    positions = np.sort(positions)
    values = np.full(len(positions), IGNORED, dtype=np.int64)
    values[np.searchsorted(positions, labels[0])] = labels[1]
    return positions, values


def _batch(
    input_ids: tuple[Tensor, ...],
    kinds: Sequence[RaggedArray],
    directed: Triples,
    *,
    entity_sites: Ids,
    entity_ids: Ids,
    query_sites: Ids,
    labels: tuple[Ids, Ids],
) -> Batch:
    positions, tokens = labels
    return Batch(
        input_ids=input_ids,
        entity_sites=torch.from_numpy(entity_sites),
        query_sites=torch.from_numpy(query_sites),
        label_positions=torch.from_numpy(positions),
        labels=torch.from_numpy(tokens),
        ids=SiteIds(
            head_ids=torch.from_numpy(directed[:, HEAD].copy()),
            relation_ids=torch.from_numpy(directed[:, RELATION].copy()),
            tail_ids=torch.from_numpy(directed[:, TAIL].copy()),
            entity_ids=torch.from_numpy(entity_ids.copy()),
        ),
        num_labels=int((tokens != IGNORED).sum()),
        num_tokens=sum(len(rows.values) for rows in kinds),
    )
