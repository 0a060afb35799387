"""Who is near whom in the training graph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kalm.graph.knowledge_graph import HEAD, TAIL, KnowledgeGraph, Triples

Ids = NDArray[np.int64]


def is_neighbour(graph: KnowledgeGraph, head_ids: Ids, entity_ids: Ids, num_hops: int) -> NDArray[np.bool_]:
    """Whether each entity is another one within `num_hops` training triples of its head, whatever their directions.

    Args:
        graph: its training triples are the edges.
        head_ids, entity_ids: the pairs, (n,), int64.
        num_hops: at least 1.
    """
    edges = graph.directed("train")
    size = graph.num_entities
    adjacency = csr_array((np.ones(len(edges), dtype=np.bool_), (edges[:, HEAD], edges[:, TAIL])), shape=(size, size))
    heads, place = np.unique(head_ids, return_inverse=True)
    frontier = reached = adjacency[heads]
    for _ in range(num_hops - 1):
        frontier = frontier @ adjacency
        reached = reached + frontier
    near: NDArray[np.bool_] = np.asarray(reached[place, entity_ids]).ravel() & (head_ids != entity_ids)
    return near


@dataclass(frozen=True, kw_only=True, slots=True)
class OutgoingTriples:
    """The distinct directed training triples out of each entity.

    Args:
        directed: (n, 3), int64, by ascending head.
        offsets: those of entity e are rows offsets[e] to offsets[e + 1], (N + 1,), int64.
        pairs: head * N + tail of each, ascending, (n,), int64.
    """

    directed: Triples
    offsets: Ids
    pairs: Ids

    @classmethod
    def of(cls, graph: KnowledgeGraph) -> "OutgoingTriples":
        size = graph.num_entities
        query, tail = np.divmod(graph.known_tail_keys(["train"]), size)
        head, relation = np.divmod(query, 2 * graph.num_relations)
        return cls(
            directed=np.stack([head, relation, tail], axis=1),
            offsets=np.searchsorted(head, np.arange(size + 1)),
            pairs=np.sort(head * size + tail),
        )

    def counts(self, entity_ids: Ids) -> Ids:
        """Triples out of each."""
        return np.asarray(self.offsets[entity_ids + 1] - self.offsets[entity_ids])

    def counts_between(self, head_ids: Ids, tail_ids: Ids) -> Ids:
        """Triples from each head to its tail."""
        pairs = head_ids * (len(self.offsets) - 1) + tail_ids
        return np.searchsorted(self.pairs, pairs, side="right") - np.searchsorted(self.pairs, pairs)
