"""False triples made of true ones."""

import numpy as np
from numpy.typing import NDArray

from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples, contains, triple_keys

ROUNDS = 20  # of drawing for all triples at once, before the few that are left are looked at one by one


def corrupt(graph: KnowledgeGraph, triples: Triples, seed: list[int]) -> Triples:
    """One false triple for each true one, with another head or tail.

    Head or tail is chosen by a coin; in its place comes an entity that some split has in this position of this
    relation, as Socher et al. (2013) do, so that types alone do not give the answer away. Where all of those are
    known answers any entity may come, and where all entities are, the other position is taken.

    Args:
        graph: what is true: no result is a triple of any of its splits.
        triples: (n, 3).
        seed: equal seeds give equal triples.

    Returns:
        (n, 3), in the order of `triples`.

    Raises:
        ValueError: every entity is a known answer in both positions of a triple.
    """
    rng = np.random.default_rng(seed)
    known = np.unique(_keys(np.concatenate([graph.triples[split] for split in SPLITS]), graph))
    pools = _pools(graph)
    columns = rng.choice((HEAD, TAIL), len(triples))
    first = _pool_keys(columns, triples[:, RELATION], graph)
    start, stop = np.searchsorted(pools, first), np.searchsorted(pools, first + graph.num_entities)
    negatives = triples.copy()
    waiting = np.arange(len(triples))
    for _ in range(ROUNDS):
        drawn = rng.integers(start[waiting], stop[waiting])
        negatives[waiting, columns[waiting]] = pools[drawn] % graph.num_entities
        waiting = waiting[contains(known, _keys(negatives[waiting], graph))]
        if len(waiting) == 0:
            return negatives
    for row in waiting:
        pool = pools[start[row] : stop[row]] % graph.num_entities
        negatives[row] = _any_false(triples[row], columns[row], pool, known, graph, rng)
    return negatives


def _any_false(
    triple: NDArray[np.int64],
    column: int,
    pool: NDArray[np.int64],
    known: NDArray[np.int64],
    graph: KnowledgeGraph,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    everything = np.arange(graph.num_entities)
    for place, entities in ((column, pool), (column, everything), (HEAD + TAIL - column, everything)):
        changed = np.repeat(triple[None], len(entities), axis=0)
        changed[:, place] = entities
        false = changed[~contains(known, _keys(changed, graph))]
        if len(false):
            return np.asarray(false[rng.integers(len(false))])
    head, relation, tail = triple
    raise ValueError(
        f"({graph.entity_labels[head]}, {graph.relation_labels[relation]}, {graph.entity_labels[tail]}) cannot be made "
        "false: every entity is a known head and a known tail; leave out the task classification"
    )


def _pools(graph: KnowledgeGraph) -> NDArray[np.int64]:
    """Sorted keys of the distinct (position, relation, entity) of all splits."""
    triples = np.concatenate([graph.triples[split] for split in SPLITS])
    return np.unique(
        np.concatenate([
            _pool_keys(np.full(len(triples), column), triples[:, RELATION], graph) + triples[:, column]
            for column in (HEAD, TAIL)
        ])
    )  # fmt: skip


def _pool_keys(columns: NDArray[np.int64], relations: NDArray[np.int64], graph: KnowledgeGraph) -> NDArray[np.int64]:
    """The lowest key of a pool; its entities are added to it."""
    return np.asarray((columns * graph.num_relations + relations) * graph.num_entities)


def _keys(triples: Triples, graph: KnowledgeGraph) -> NDArray[np.int64]:
    return triple_keys(triples, graph.num_relations, graph.num_entities)
