"""What a graph holds and where it may mislead, as numbers: texts, leaks between splits, degrees."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples, contains, triple_keys
from kalm.graph.strings import Strings

Ids = NDArray[np.int64]
HELD_OUT = ("valid", "test")
# two relations with so much of the pairs of both in common say the same (Akrami et al. 2020, theta = 0.8)
NEAR_DUPLICATE = 0.8
MIN_PAIRS = 5  # of either relation, below which having them in common says little


@dataclass(frozen=True, slots=True)
class Leaks:
    """How many triples of a held-out split the training triples give away.

    Args:
        num_triples: of the split.
        same: that are training triples themselves.
        reverse: (t, r, h) is a training triple, h != t.
        reverse_other: (t, r', h) is one, for another relation r'.
        same_pair: (h, r', t) is one, for another relation r'.
        unseen: with an entity or relation that no training triple has.
    """

    num_triples: int
    same: int
    reverse: int
    reverse_other: int
    same_pair: int
    unseen: int


@dataclass(frozen=True, slots=True)
class LikePair:
    """Two relations with nearly the same pairs of entities.

    Args:
        first, second: relation ids; equal for one relation that is its own inverse.
        share: of the pairs of the relation with more, that the other has too.
        is_reverse: whether the second has them the other way round.
    """

    first: int
    second: int
    share: float
    is_reverse: bool


def leaks(graph: KnowledgeGraph, split: str) -> Leaks:
    """Compare a held-out split with train. Each of its lines counts, repeated ones too."""
    train, held = graph.triples["train"], graph.triples[split]
    head, relation, tail = held.T
    is_loop = head == tail
    pairs = np.unique(train[:, HEAD] * graph.num_entities + train[:, TAIL])
    known = np.sort(_keys(graph, train))
    is_same = contains(known, _keys(graph, held))
    is_reverse = contains(known, _keys(graph, held[:, [TAIL, RELATION, HEAD]])) & ~is_loop
    other_direction = contains(pairs, tail * graph.num_entities + head) & ~is_loop
    same_direction = contains(pairs, head * graph.num_entities + tail)
    unseen = np.isin(held[:, [HEAD, TAIL]], entities_of(train), invert=True).any(axis=1)
    unseen |= np.isin(relation, np.unique(train[:, RELATION]), invert=True)
    return Leaks(
        num_triples=len(held),
        same=_count(is_same),
        reverse=_count(is_reverse),
        reverse_other=_count(other_direction & ~is_reverse),
        same_pair=_count(same_direction & ~is_same),
        unseen=_count(unseen),
    )


def like_relations(graph: KnowledgeGraph) -> list[LikePair]:
    """Pairs of relations whose distinct triples of all splits are nearly the same, the most alike first."""
    size = graph.num_entities
    keys = np.unique(_keys(graph, np.concatenate([graph.triples[split] for split in SPLITS])))
    queries, tail = np.divmod(keys, size)
    head, relation = np.divmod(queries, 2 * graph.num_relations)
    counts = np.bincount(relation, minlength=graph.num_relations)
    # the others are never reported, and where columns are mixed up they are thousands over the same pairs
    is_asked = counts[relation] >= MIN_PAIRS
    keys, head, relation, tail = keys[is_asked], head[is_asked], relation[is_asked], tail[is_asked]
    pairs, columns = np.unique(np.concatenate([head * size + tail, tail * size + head]), return_inverse=True)
    shape = (graph.num_relations, len(pairs))
    ones = np.ones(len(keys), np.int64)
    of_pairs = csr_array((ones, (relation, columns[: len(keys)])), shape=shape)
    of_reversed = csr_array((ones, (relation, columns[len(keys) :])), shape=shape)
    found = []
    for is_reverse, other in ((False, of_pairs), (True, of_reversed)):
        common = (of_pairs @ other.T).tocoo()
        first, second = common.coords
        shares = common.data / np.maximum(counts[first], counts[second])
        # each pair once; a relation equals itself, and may be its own reverse
        is_alike = shares >= NEAR_DUPLICATE
        is_alike &= (first <= second) if is_reverse else (first < second)
        columns_found = (first[is_alike].tolist(), second[is_alike].tolist(), shares[is_alike].tolist())
        found += [LikePair(one, two, share, is_reverse) for one, two, share in zip(*columns_found, strict=True)]
    return sorted(found, key=lambda pair: (-pair.share, pair.first, pair.second, pair.is_reverse))


def only_in(graph: KnowledgeGraph, split: str) -> Ids:
    """Ids of the entities of a held-out split that no training triple has."""
    return np.setdiff1d(entities_of(graph.triples[split]), entities_of(graph.triples["train"]))


def entities_of(triples: Triples) -> Ids:
    """Ids of the entities in some triples, ascending."""
    return np.unique(triples[:, [HEAD, TAIL]])


def shared_names(graph: KnowledgeGraph) -> list[tuple[str, int]]:
    """Names that several entities have, with how many, the most frequent first."""
    counts = pc.value_counts(Strings(graph.entity_names).array)
    several = counts.filter(pc.greater(counts.field(1), 1))
    named = zip(several.field(0).to_pylist(), several.field(1).to_pylist(), strict=True)
    return sorted(named, key=lambda pair: (-pair[1], pair[0]))


def degrees(graph: KnowledgeGraph) -> Ids:
    """Training triples of each entity, as head or tail; a loop counts twice. (N,)."""
    return np.bincount(graph.triples["train"][:, [HEAD, TAIL]].ravel(), minlength=graph.num_entities)


def doubling_histogram(values: Ids) -> list[tuple[int, int, int]]:
    """Counts of the values 0, 1, 2-3, 4-7 and so on: (lowest, highest, count) up to the largest value."""
    bins = [(0, 0)]
    while bins[-1][1] < values.max(initial=0):
        low = bins[-1][1] + 1
        bins.append((low, 2 * low - 1))
    edges = np.array([low for low, _ in bins] + [bins[-1][1] + 1])
    counts, _ = np.histogram(values, edges)
    return [(low, high, int(count)) for (low, high), count in zip(bins, counts, strict=True)]


def relation_counts(graph: KnowledgeGraph) -> Ids:
    """Triples of each relation in each split, (R, 3)."""
    return np.stack(
        [np.bincount(graph.triples[split][:, RELATION], minlength=graph.num_relations) for split in SPLITS], axis=1
    )


def _keys(graph: KnowledgeGraph, triples: Triples) -> Ids:
    return triple_keys(triples, graph.num_relations, graph.num_entities)


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
