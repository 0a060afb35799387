"""Who is beside whom in a knowledge graph, as arrays that path search walks on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples, keys_fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjacency:
    """Both directed triples of each distinct triple, by the entity they leave; without self-loops, which no path walks.

    Entities are numbered anew by *rank*: few neighbours first, a seeded draw among equals. The slots of an entity, one
    for each directed triple that leaves it, are sorted by the rank they lead to, then by relation. So a search that
    takes them as they lie meets paths in the order of `kalm.graph.path.Path`: those past hubs, which say least, last.

    Args:
        offsets: (N + 1,) int64, rank i has the slots offsets[i] .. offsets[i + 1] - 1.
        neighbours: (M,) int32, the rank that each slot leads to.
        relations: (M,) int32, directed: r + R is the inverse of r.
        rank_of: (N,) int32, entity -> rank.
        entity_of: (N,) int32, rank -> entity.
        components: (N,) int32, by rank: equal in the same connected part.
        num_relations: R.
    """

    offsets: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    relations: NDArray[np.int32]
    rank_of: NDArray[np.int32]
    entity_of: NDArray[np.int32]
    components: NDArray[np.int32]
    num_relations: int

    @property
    def num_entities(self) -> int:
        return len(self.rank_of)

    def digest(self) -> str:
        """Hex digest of all but the relations: what distances depend on."""
        digest = hashlib.sha256()
        for part in (self.offsets, self.neighbours, self.entity_of):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()


def build_adjacency(triples: Triples, *, num_entities: int, num_relations: int, seed: int = 0) -> Adjacency:
    """The adjacency of triples, (n, 3), int64; those that repeat count once.

    Sorts one int64 key per directed triple, so 20 million triples take about 2 GB while it lasts.

    Args:
        triples: columns head, relation, tail.
        num_entities: N.
        num_relations: R.
        seed: of the order among entities with as many neighbours.
    """
    assert keys_fit(num_relations, num_entities), "keys would overflow int64"
    triples = triples[triples[:, HEAD] != triples[:, TAIL]]
    keys = (triples[:, HEAD] * num_entities + triples[:, TAIL]) * num_relations + triples[:, RELATION]
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) > 0]  # numpy's own unique hashes: 60 times slower here
    pairs, relations = np.divmod(keys, num_relations)
    heads, tails = np.divmod(pairs, num_entities)
    degrees = np.bincount(heads, minlength=num_entities) + np.bincount(tails, minlength=num_entities)
    entity_of = np.lexsort((np.random.default_rng(seed).permutation(num_entities), degrees)).astype(np.int32)
    rank_of = np.empty(num_entities, np.int32)
    rank_of[entity_of] = np.arange(num_entities, dtype=np.int32)
    heads, tails = rank_of[heads].astype(np.int64), rank_of[tails].astype(np.int64)
    keys = np.empty(2 * len(keys), np.int64)
    keys[: len(heads)] = (heads * num_entities + tails) * (2 * num_relations) + relations
    keys[len(heads) :] = (tails * num_entities + heads) * (2 * num_relations) + relations + num_relations
    keys.sort()
    relations = (keys % (2 * num_relations)).astype(np.int32)
    keys //= 2 * num_relations
    neighbours = (keys % num_entities).astype(np.int32)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(degrees[entity_of])))
    matrix = csr_array((np.ones(len(keys), np.bool_), neighbours, offsets), shape=(num_entities, num_entities))
    components = connected_components(matrix, directed=False)[1].astype(np.int32)
    return Adjacency(
        offsets=offsets, neighbours=neighbours, relations=relations, rank_of=rank_of, entity_of=entity_of,
        components=components, num_relations=num_relations,
    )  # fmt: skip


def graph_adjacency(graph: KnowledgeGraph, splits: Sequence[str] = SPLITS, *, seed: int = 0) -> Adjacency:
    """The adjacency of the union of a graph's splits."""
    return build_adjacency(
        np.concatenate([graph.triples[split] for split in splits]),
        num_entities=graph.num_entities, num_relations=graph.num_relations, seed=seed,
    )  # fmt: skip
