"""Who is near whom in the training graph."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kalm.graph.knowledge_graph import HEAD, TAIL, KnowledgeGraph

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
