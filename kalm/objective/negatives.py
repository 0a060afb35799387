"""The contrastive term: every source of negatives, and one mask over all of them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from kalm.config import ObjectiveConfig, Scope
from kalm.distributed import gather, gather_with_grad, rank
from kalm.graph.known_tails import known_tails
from kalm.objective.contrastive import columns_of, distinct_targets, false_negative_mask, false_query_mask, info_nce
from kalm.text.batch import SiteIds

# what `Contrastive.counts` counts, per query: entities of the batch, the query's own head, entities encoded as hard
# negatives, entities of earlier batches, known tails left out, and for the tail as target the other queries
COUNTED = ("batch", "self", "hard", "queue", "masked", "queries")


class Sites(NamedTuple):
    """All that the contrastive term sees of the model; float32."""

    query_embeddings: Tensor  # (B, D)
    entity_embeddings: Tensor  # (E, D)
    temperature: Tensor  # (1,)


class Contrastive(NamedTuple):
    """The term over this rank's queries; the mean over ranks is that of the global batch."""

    loss: Tensor  # scalar, float32
    counts: Tensor  # mean per query, see COUNTED, float64
    targets: Tensor  # (G, D), the distinct targets, unit length, without gradient
    target_ids: Tensor  # (G,), ascending


class TargetQueue:
    """Targets of earlier steps as further negatives, without gradient.

    Source: SimKGC (arXiv 2203.02167), pre-batch negatives. Differs in holding entities, not rows: only an entity's
    newest embedding counts, and none while the entity is in the batch itself.

    Args:
        num_batches: earlier steps to keep.
    """

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches
        self.batches: list[tuple[Tensor, Tensor]] = []  # newest first: embeddings (G, D), ids (G,)

    def push(self, targets: Tensor, target_ids: Tensor) -> None:
        self.batches = [(targets, target_ids), *self.batches][: self.num_batches]

    def without(self, target_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (C, D) and ids (C,), ascending, of the queued entities that are not among the targets."""
        embeddings, ids = (torch.cat(parts) for parts in zip(*self.batches, strict=True))
        embeddings, ids = distinct_targets(embeddings, ids)
        kept = ~torch.isin(ids, target_ids)
        return embeddings[kept], ids[kept]


class _Columns(NamedTuple):
    """What each of this rank's queries is compared with."""

    targets: Tensor  # (G, D)
    target_ids: Tensor  # (G,), ascending
    is_hard: Tensor  # (G,), bool: here only as a hard negative
    queued: Tensor  # (C, D)
    queued_ids: Tensor  # (C,), ascending
    queries: Tensor  # (Q, D)
    query_ids: SiteIds  # (Q,) each
    known: tuple[Tensor, Tensor]  # known tails of those queries, ascending, and the query of each, (M,)
    first_query: int  # column of this rank's first query among those


class ContrastiveObjective:
    """InfoNCE of this rank's queries against targets and, if asked for, of their tails against queries.

    Args:
        config: weights, margin, sources of negatives.
        known_tail_keys: of the training triples, (K,), int64, on the device of the batches.
        num_relations, num_entities: of the graph.
    """

    def __init__(
        self, config: ObjectiveConfig, known_tail_keys: Tensor, *, num_relations: int, num_entities: int
    ) -> None:
        self.config = config
        self.known_tail_keys = known_tail_keys
        self.graph_size = {"num_relations": num_relations, "num_entities": num_entities}
        self.queue = TargetQueue(config.negatives.queue_batches)

    def __call__(self, sites: Sites, ids: SiteIds) -> Contrastive:
        """The term over all of this rank's queries of one step.

        Queries are taken in chunks, so that similarities with all targets never exist at once; those of several chunks
        are computed again in the backward pass.
        """
        queries = F.normalize(sites.query_embeddings, dim=1)
        columns = self._columns(queries, F.normalize(sites.entity_embeddings, dim=1), ids)
        num_chunks = -(-len(queries) // self.config.query_chunk)
        chunks = torch.arange(len(queries), device=queries.device).chunk(num_chunks)
        if len(chunks) == 1:
            parts = [self._chunk(queries, sites.temperature, ids, chunks[0], columns)]
        else:
            parts = [
                checkpoint(self._chunk, queries, sites.temperature, ids, rows, columns, use_reentrant=False)
                for rows in chunks
            ]
        loss, counts = (torch.stack(part).sum(dim=0) / len(queries) for part in zip(*parts, strict=True))
        return Contrastive(loss, counts, columns.targets.detach(), columns.target_ids)

    def _columns(self, queries: Tensor, entities: Tensor, ids: SiteIds) -> _Columns:
        head_ids, entity_ids, first_query = ids.head_ids, ids.entity_ids, 0
        if self.config.negatives.scope is Scope.all_ranks:
            entities, entity_ids = gather_with_grad(entities), gather(entity_ids)
            first_query = rank() * len(queries)
            ids = SiteIds(
                head_ids=gather(ids.head_ids), relation_ids=gather(ids.relation_ids), tail_ids=gather(ids.tail_ids),
                entity_ids=entity_ids,
            )  # fmt: skip
            head_ids = ids.head_ids
            if self.config.target_to_query_weight > 0:
                queries = gather_with_grad(queries)
        targets, target_ids = distinct_targets(entities, entity_ids)
        if self.queue.batches:
            queued, queued_ids = self.queue.without(target_ids)
        else:
            queued, queued_ids = targets[:0], target_ids[:0]
        is_hard = ~torch.isin(target_ids, torch.cat([head_ids, ids.tail_ids]))
        known = (target_ids[:0], target_ids[:0])
        if self.config.target_to_query_weight > 0 and self.config.negatives.mask_known:
            rows, tails = known_tails(self.known_tail_keys, ids.head_ids, ids.relation_ids, **self.graph_size)
            tails, order = tails.sort()
            known = (tails, rows[order])
        return _Columns(targets, target_ids, is_hard, queued, queued_ids, queries, ids, known, first_query)

    def _chunk(
        self, queries: Tensor, temperature: Tensor, ids: SiteIds, rows: Tensor, columns: _Columns
    ) -> tuple[Tensor, Tensor]:
        """Sum of losses over some queries, and of counts."""
        weight = self.config.target_to_query_weight
        loss, counts = self._against_targets(queries[rows], temperature, ids, rows, columns)
        num_queries = torch.zeros((), dtype=torch.float64, device=queries.device)
        if weight > 0:
            reverse, num_queries = self._against_queries(temperature, ids, rows, columns)
            loss = (1 - weight) * loss + weight * reverse
        return loss * len(rows), torch.cat([counts, num_queries[None]])

    def _against_targets(
        self, queries: Tensor, temperature: Tensor, ids: SiteIds, rows: Tensor, columns: _Columns
    ) -> tuple[Tensor, Tensor]:
        head_ids, tail_ids = ids.head_ids[rows], ids.tail_ids[rows]
        similarity = queries @ columns.targets.T  # (b, G)
        if len(columns.queued_ids):
            stale = self.config.negatives.queue_weight * (queries @ columns.queued.T)
            similarity = torch.cat([similarity, stale], dim=1)  # (b, G + C)
        left_out = torch.zeros_like(similarity, dtype=torch.bool)
        if self.config.negatives.mask_known:
            left_out = torch.cat(
                [
                    false_negative_mask(
                        head_ids, ids.relation_ids[rows], tail_ids, column_ids, self.known_tail_keys, **self.graph_size
                    )
                    for column_ids in (columns.target_ids, columns.queued_ids)
                ],
                dim=1,
            )
        num_masked = left_out.sum()
        own, is_self, self_columns = self._places(head_ids, tail_ids, left_out, columns)
        if not self.config.negatives.self_negatives:
            left_out[is_self, self_columns] = True
        loss = self._info_nce(similarity, own, temperature, left_out)
        num_targets = len(columns.target_ids)
        num_self = len(is_self) if self.config.negatives.self_negatives else 0
        used = (~left_out[:, :num_targets]).sum(dim=0)  # by how many queries, (G,)
        num_hard = used[columns.is_hard].sum()
        num_batch = used.sum() - num_hard - num_self - len(rows)
        num_queued = (~left_out[:, num_targets:]).sum()
        counts = [num_batch, torch.full_like(num_batch, num_self), num_hard, num_queued, num_masked]
        return loss, torch.stack(counts).double()

    def _places(
        self, head_ids: Tensor, tail_ids: Tensor, left_out: Tensor, columns: _Columns
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Column of each own tail, (b,); and row and column where a query's own head is a negative, (s,) each."""
        own = columns_of(tail_ids, columns.target_ids)
        heads = columns_of(head_ids, columns.target_ids).clamp(max=len(columns.target_ids) - 1)
        rows = torch.arange(len(head_ids), device=head_ids.device)
        # without an inverse view, or with separate forwards, a head need not be among the targets
        is_self = (columns.target_ids[heads] == head_ids) & (head_ids != tail_ids) & ~left_out[rows, heads]
        return own, rows[is_self], heads[is_self]

    def _against_queries(
        self, temperature: Tensor, ids: SiteIds, rows: Tensor, columns: _Columns
    ) -> tuple[Tensor, Tensor]:
        """Each query's tail against all queries: the target-to-query direction, one row per query.

        Other queries whose tail it is too, in the batch or by a known triple, are left out: each positive of a target
        stands alone against the target's negatives.
        """
        tail_ids = ids.tail_ids[rows]
        similarity = columns.targets[columns_of(tail_ids, columns.target_ids)] @ columns.queries.T  # (b, Q)
        left_out = tail_ids[:, None] == columns.query_ids.tail_ids[None, :]
        if not self.config.negatives.self_negatives:
            left_out |= tail_ids[:, None] == columns.query_ids.head_ids[None, :]
        if self.config.negatives.mask_known:
            left_out |= false_query_mask(tail_ids, columns.known, len(columns.queries))
        own = rows + columns.first_query
        left_out[torch.arange(len(rows), device=rows.device), own] = False
        loss = self._info_nce(similarity, own, temperature, left_out)
        return loss, (~left_out).sum().double() - len(rows)

    def _info_nce(self, similarity: Tensor, own: Tensor, temperature: Tensor, left_out: Tensor) -> Tensor:
        return info_nce(
            similarity,
            own,
            temperature=temperature,
            additive_margin=self.config.additive_margin,
            false_negative_mask=left_out,
            false_negative_rate=self.config.false_negative_rate,
        )
