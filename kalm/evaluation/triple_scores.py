"""How true a triple looks to the model: one score that uses both of its directions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kalm.config import RankingConfig
from kalm.evaluation.encoding import encode_queries
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, Triples, add_inverses
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.ragged import Ids
from kalm.text.token_table import TokenTable

SCORE = "mean of cos((h, r), t) and cos((t, inverse r), h)"


@dataclass(frozen=True, kw_only=True, slots=True)
class TripleScorer:
    """Scores triples (h, r, t): the mean of the cosines of query (h, r) with t and of query (t, inverse r) with h."""

    encoder: DualViewLM
    table: TokenTable
    vectors_of: Callable[[Ids], Tensor]  # ids of m entities -> their unit vectors, (m, D), float32, on the CPU
    num_relations: int
    config: RankingConfig
    sharded: bool  # each process encodes its share of the queries; then all processes score the same triples

    def triples(self, triples: Triples) -> Tensor:
        """The score of each triple, (n, 3) -> (n,), float32, on the CPU."""
        directed = add_inverses(triples, self.num_relations)
        scores = torch.empty(len(directed))
        for rows in self._blocks(len(directed), vectors=1):
            heads, relations, tails = (directed[rows, column] for column in (HEAD, RELATION, TAIL))
            scores[rows] = (self._encode(heads, relations) * self.vectors_of(tails)).sum(dim=1)
        return scores.view(-1, 2).mean(dim=1)

    def relations(self, head_ids: Ids, tail_ids: Ids) -> Tensor:
        """The score of every relation between each pair, (n,) and (n,) -> (n, R), float32, on the CPU."""
        relations = np.arange(self.num_relations)
        forward = self._queries_with(head_ids, relations, tail_ids)
        backward = self._queries_with(tail_ids, relations + self.num_relations, head_ids)
        return (forward + backward) / 2

    def _queries_with(self, anchors: Ids, relations: Ids, targets: Ids) -> Tensor:
        """Cosine of query (anchors[i], relations[j]) with entity targets[i], (n, R)."""
        scores = torch.empty(len(anchors), len(relations))
        order = np.argsort(anchors, kind="stable")  # pairs with the same anchor share their queries
        for block in self._blocks(len(order), vectors=len(relations)):
            rows = order[block]
            distinct, place = np.unique(anchors[rows], return_inverse=True)
            queries = self._encode(np.repeat(distinct, len(relations)), np.tile(relations, len(distinct)))
            queries = queries.view(len(distinct), len(relations), -1)  # (anchors, R, D)
            # not a matrix product, which may round equal queries differently: relations with the same text must tie
            scores[rows] = (queries[place] * self.vectors_of(targets[rows])[:, None]).sum(dim=2)
        return scores

    def _encode(self, heads: Ids, relations: Ids) -> Tensor:
        return encode_queries(
            self.encoder, self.table, heads, relations, self.config.batch_tokens, sharded=self.sharded
        )

    def _blocks(self, num_rows: int, vectors: int) -> Iterator[slice]:
        """Ranges of rows whose vectors, so many per row, fit into `score_memory_mib`; at least one row."""
        size = max(1, self.config.score_memory_mib * 2**20 // (4 * vectors * self.encoder.embedding_size))
        return (slice(start, start + size) for start in range(0, num_rows, size))
