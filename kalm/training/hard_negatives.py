"""Entities that the model itself takes for one another, as further targets."""

import numpy as np
import torch

from kalm.config import RankingConfig
from kalm.evaluation.encoding import encode_entities
from kalm.evaluation.entity_index import EntityIndex
from kalm.graph.knowledge_graph import HEAD, TAIL, Triples
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.ragged import Ids
from kalm.text.token_table import TokenTable

POOL = 8  # neighbours kept per entity for each one that a triple takes, since many are in the batch or taken already
SEARCHED_AT_ONCE = 4096  # entities whose neighbours FAISS looks up at once


class HardNegatives:
    """Nearest entities of each tail under the model's own embeddings, found with FAISS.

    Args:
        table: the entities' segments.
        per_triple: entities per directed triple.
        ranking: how much is encoded at once.
        seed: of what fills up where neighbours run out.
    """

    def __init__(self, table: TokenTable, per_triple: int, ranking: RankingConfig, seed: int) -> None:
        self.table = table
        self.per_triple = per_triple
        self.ranking = ranking
        self.seed = seed
        self.neighbours: Ids | None = None  # (N, k), nearest first; None before the first search

    def mine(self, encoder: DualViewLM) -> None:
        """Encode all entities and look up the neighbours of each; under ZeRO-3 on all ranks at once."""
        embeddings = encode_entities(encoder, self.table, self.ranking.batch_tokens)
        index = EntityIndex(embeddings)
        num_kept = min(len(embeddings), POOL * self.per_triple + 1)
        found = [index.search(part, num_kept)[1] for part in embeddings.chunk(-(-len(embeddings) // SEARCHED_AT_ONCE))]
        self.neighbours = torch.cat(found).numpy()

    def of(self, directed: Triples, step: int, rank: int) -> Ids:
        """Entities that are in none of these B triples, (B * per_triple,): first the nearest neighbour of each tail.

        Known tails are among them; the false-negative mask takes care of those.
        """
        assert self.neighbours is not None, "mine() comes first"
        wanted = len(directed) * self.per_triple
        candidates = self.neighbours[directed[:, TAIL]].T.ravel()
        is_free = np.ones(len(self.neighbours), dtype=bool)
        is_free[directed[:, [HEAD, TAIL]]] = False
        _, first = np.unique(candidates, return_index=True)
        nearest = candidates[np.sort(first)]
        chosen = nearest[is_free[nearest]][:wanted]
        is_free[chosen] = False
        if len(chosen) < wanted:
            generator = np.random.default_rng([self.seed, step, rank, 2])
            others = generator.permutation(np.flatnonzero(is_free))[: wanted - len(chosen)]
            chosen = np.concatenate([chosen, others])
        # all ranks need equally many: a small graph repeats some, which changes nothing
        return np.resize(chosen, wanted) if len(chosen) else np.resize(directed[:, HEAD], wanted)
