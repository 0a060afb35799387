"""Embeddings of all entities and of many queries, in bounded memory."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from kalm.distributed import all_reduce_sum, faults_shared, rank, world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.batch import pad_rows
from kalm.text.ragged import Ids, RaggedArray, join_rows
from kalm.text.token_table import TokenTable


def encode_entities(encoder: DualViewLM, table: TokenTable, batch_tokens: int, ids: Ids | None = None) -> Tensor:
    """Unit vectors of entities, all of them or those asked for, (n, D), float32, on the CPU.

    Raises:
        ValueError: an embedding is not finite, or is zero.
    """
    return encode(encoder, table.targets, batch_tokens, ids)


def encode_new_entities(encoder: DualViewLM, table: TokenTable, batch_tokens: int, known: Tensor) -> Tensor:
    """Unit vectors of all entities, (n, D), of which the first, (m, D), are known; equal texts have the same vector.

    Raises:
        ValueError: an embedding is not finite, or is zero.
    """
    new = np.arange(len(known), len(table.targets))
    if len(new) == 0:
        return known
    first, place_of = table.targets.distinct(np.arange(len(table.targets)))
    vectors = encode_entities(encoder, table, batch_tokens, new)
    twins = first[place_of[new]]
    has_twin = twins < len(known)
    vectors[torch.from_numpy(has_twin)] = known[torch.from_numpy(twins[has_twin])]
    return torch.cat([known, vectors])


def encode_queries(
    encoder: DualViewLM,
    table: TokenTable,
    head_ids: Ids,
    relation_ids: Ids,
    batch_tokens: int,
    *,
    sharded: bool = False,
) -> Tensor:
    """Unit vectors of the queries (head, directed relation), (Q, D), float32, on the CPU.

    Args:
        encoder, table: the model and the segments.
        head_ids, relation_ids: (Q,).
        batch_tokens: see `encode`.
        sharded: each process encodes its share; all of them get all.

    Raises:
        ValueError: an embedding is not finite, or is zero.
    """
    sequences = query_sequences(table, head_ids, relation_ids)
    if not sharded:
        return encode(encoder, sequences, batch_tokens)
    rows = own_rows(sequences)
    with faults_shared():
        here = encode(encoder, sequences, batch_tokens, rows)
    vectors = torch.zeros(len(sequences), encoder.embedding_size)
    vectors[torch.from_numpy(rows)] = here
    return all_reduce_sum(vectors)


def query_sequences(table: TokenTable, head_ids: Ids, relation_ids: Ids) -> RaggedArray:
    """Token rows of the queries (head, directed relation), Q of them; the last token is the query site."""
    return join_rows([table.heads.take(head_ids), table.relations.take(relation_ids)])[0]


@torch.no_grad()
def encode(encoder: DualViewLM, sequences: RaggedArray, batch_tokens: int, rows: Ids | None = None) -> Tensor:
    """Unit vector at the last token of each sequence, (rows, D), float32, on the CPU.

    Equal sequences are encoded once, so entities with the same text tie exactly. Batches hold sequences of
    similar length and at most `batch_tokens` tokens with padding, or one sequence.

    Args:
        encoder: read at the last token.
        sequences: token ids.
        batch_tokens: tokens encoded at once.
        rows: the sequences to encode; None: all.

    Raises:
        ValueError: an embedding is not finite, or is zero.
    """
    rows = np.arange(len(sequences)) if rows is None else rows
    distinct, place_of = sequences.distinct(rows)
    device = next(encoder.parameters()).device
    embeddings = torch.empty(len(distinct), encoder.embedding_size)
    with encoder.without_dropout():
        for batch in batches_by_cost(sequences.lengths_of(distinct), batch_tokens):
            values, lengths = sequences.take(distinct[batch])
            sites = torch.from_numpy(lengths - 1).to(device)
            embeddings[torch.from_numpy(batch)] = encoder.embed_last(pad_rows(values, lengths).to(device), sites).cpu()
    if not bool(embeddings.isfinite().all()):
        raise ValueError("the model gives embeddings that are not finite (nan or inf); train it again")
    if bool((embeddings == 0).all(dim=1).any()):
        raise ValueError("the model gives an embedding that is zero, which has no direction; train it again")
    F.normalize(embeddings, dim=1, out=embeddings)
    return embeddings if len(distinct) == len(rows) else embeddings[torch.from_numpy(place_of)]


def own_rows(sequences: RaggedArray) -> Ids:
    """The sequences that this process is to encode: equal ones are with the same process, so that they tie exactly."""
    _, distinct_of = sequences.distinct(np.arange(len(sequences)))
    return np.flatnonzero(distinct_of % world_size() == rank())


def batches_by_cost(costs: Ids, batch_tokens: int) -> Iterator[Ids]:
    """Rows of similar cost in tokens, the costliest first, so that a lack of memory shows at once."""
    order = np.argsort(-costs, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(costs[order[start]]))
        yield order[start : start + size]
        start += size
