"""Embeddings of all entities and of many queries, in bounded memory."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from kalm.model.dual_view_lm import DualViewLM
from kalm.text.batch import pad_rows
from kalm.text.ragged import RaggedArray, join_rows
from kalm.text.token_table import TokenTable

Ids = NDArray[np.int64]


def encode_entities(encoder: DualViewLM, table: TokenTable, batch_tokens: int) -> Tensor:
    """Unit vectors of all entities, (N, D), float32, on the CPU.

    Raises:
        ValueError: an embedding is not finite.
    """
    return encode(encoder, table.targets, batch_tokens)


def encode_queries(
    encoder: DualViewLM, table: TokenTable, head_ids: Ids, relation_ids: Ids, batch_tokens: int
) -> Tensor:
    """Unit vectors of the queries (head, directed relation), (Q, D), float32, on the CPU.

    Raises:
        ValueError: an embedding is not finite.
    """
    sequences, _ = join_rows([table.heads.take(head_ids), table.relations.take(relation_ids)])
    return encode(encoder, sequences, batch_tokens)


@torch.no_grad()
def encode(encoder: DualViewLM, sequences: RaggedArray, batch_tokens: int) -> Tensor:
    """Unit vector at the last token of each sequence, (rows, D), float32, on the CPU.

    Equal sequences are encoded once, so entities with the same text tie exactly. Batches hold sequences of
    similar length and at most `batch_tokens` tokens with padding, or one sequence.
    """
    distinct, distinct_of = _distinct_rows(sequences)
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    parts, order = [], []
    for rows in _length_sorted_batches(sequences.lengths[distinct], batch_tokens):
        values, lengths = sequences.take(distinct[rows])
        sites = torch.from_numpy(lengths - 1).to(device)
        parts.append(encoder.embed_last(pad_rows(values, lengths).to(device), sites).cpu())
        order.append(rows)
    encoder.train(was_training)
    embeddings = torch.empty(len(distinct), parts[0].shape[1])
    embeddings[torch.from_numpy(np.concatenate(order))] = torch.cat(parts)
    if not bool(embeddings.isfinite().all()):
        raise ValueError("the model gives embeddings that are not finite (nan or inf); train it again")
    return F.normalize(embeddings, dim=1)[torch.from_numpy(distinct_of)]


def _distinct_rows(sequences: RaggedArray) -> tuple[Ids, Ids]:
    """First row of each distinct sequence, and for every row the place of its sequence among those."""
    places: dict[bytes, int] = {}
    first: list[int] = []
    distinct_of = np.empty(len(sequences), dtype=np.int64)
    values, offsets = np.ascontiguousarray(sequences.values), sequences.offsets.tolist()
    for row in range(len(sequences)):
        place = places.setdefault(values[offsets[row] : offsets[row + 1]].tobytes(), len(first))
        if place == len(first):
            first.append(row)
        distinct_of[row] = place
    return np.array(first, dtype=np.int64), distinct_of


def _length_sorted_batches(lengths: Ids, batch_tokens: int) -> Iterator[Ids]:
    """Rows in batches, longest first, so that a lack of memory shows at once."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size
