"""Who is beside whom in a knowledge graph, as arrays that path search walks on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples, add_inverses


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjacency:
    """Both directed triples of each distinct triple, by the entity that they leave; self-loops lead nowhere and are left out.

    Entities are numbered anew by *rank*: few neighbours first, a seeded draw among equals. The directed triples that
    leave an entity are sorted by the rank of where they lead, then by relation. So a walk that takes them as they lie
    meets paths in the order that `Path` defines, hubs last.

    Args:
        offsets: (N + 1,) int64: the directed triples that leave rank i are offsets[i] .. offsets[i + 1] - 1.
        neighbours: (M,) int32, the rank that each leads to.
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


def build_adjacency(
    triples: Triples, *, num_entities: int, num_relations: int, seed: int = 0
) -> Adjacency:
    """The adjacency of triples, (n, 3), int64; those that repeat count once.

    Args:
        triples: columns head, relation, tail.
        num_entities: N.
        num_relations: R.
        seed: of the order among entities with as many neighbours.
    """
    distinct = np.unique(triples[triples[:, HEAD] != triples[:, TAIL]], axis=0)
    directed = add_inverses(distinct, num_relations)
    degrees = np.bincount(directed[:, HEAD], minlength=num_entities)
    entity_of = np.lexsort((np.random.default_rng(seed).permutation(num_entities), degrees)).astype(np.int32)
    rank_of = np.empty(num_entities, np.int32)
    rank_of[entity_of] = np.arange(num_entities, dtype=np.int32)
    origins, ends = rank_of[directed[:, HEAD]], rank_of[directed[:, TAIL]]
    order = np.lexsort((directed[:, RELATION], ends, origins))
    neighbours = ends[order]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(origins, minlength=num_entities))))
    matrix = csr_array((np.ones(len(neighbours), np.bool_), neighbours, offsets), shape=(num_entities, num_entities))
    return Adjacency(
        offsets=offsets, neighbours=neighbours, relations=directed[order, RELATION].astype(np.int32), rank_of=rank_of,
        entity_of=entity_of, components=connected_components(matrix, directed=False)[1].astype(np.int32),
        num_relations=num_relations,
    )  # fmt: skip


def graph_adjacency(graph: KnowledgeGraph, splits: Sequence[str] = SPLITS, *, seed: int = 0) -> Adjacency:
    """The adjacency of the union of a graph's splits."""
    return build_adjacency(
        np.concatenate([graph.triples[split] for split in splits]),
        num_entities=graph.num_entities, num_relations=graph.num_relations, seed=seed,
    )  # fmt: skip
