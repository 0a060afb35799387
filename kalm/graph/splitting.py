"""Splits of a graph that has none: by relation, without leaks between them."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How to split.

    Args:
        shares: of train, valid and test, each > 0; they sum to 1.
        seed: of the draw.
        inductive: whether valid and test may hold entities that train lacks.
    """

    shares: tuple[float, float, float]
    seed: int
    inductive: bool

    def __post_init__(self) -> None:
        if not all(share > 0 for share in self.shares) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise ValueError(f"data.split must be three shares above 0 that sum to 1, got {list(self.shares)}")


def split_graph(graph: KnowledgeGraph, options: SplitOptions) -> KnowledgeGraph:
    """The graph with its training triples split into train, valid and test, and a note of it.

    Raises:
        ValueError: no triple can be held out.
    """
    triples = split_triples(graph.triples["train"], graph.num_entities, graph.num_relations, options)
    reading = graph.reading
    if reading is not None:
        shares = ", ".join(f"{share:g}" for share in options.shares)
        counts = " / ".join(f"{len(rows):,} {split}" for split, rows in triples.items())
        keys = f"data.split=[{shares}] data.split_seed={options.seed}"
        note = f"the graph has no splits of its own; split by relation, {keys}: {counts}"
        reading = replace(reading, notes=(*reading.notes, note))
    return replace(graph, triples=triples, reading=reading)


def split_triples(triples: Triples, num_entities: int, num_relations: int, options: SplitOptions) -> dict[str, Triples]:
    """Train, valid and test of some triples, each in the order that they come in.

    All triples between the same two entities, in either direction and under any relation, go to the same split, so
    that a triple is never answered by its inverse, by its duplicate or by a relation that says the same. Each relation
    is in train, and each entity too unless the split is inductive; the rest of each relation is drawn by the shares,
    so fewer may be held out than these say where a graph is sparse. A pair of several relations counts for the rarest.

    Args:
        triples: (n, 3).
        num_entities, num_relations: of the graph.
        options: how to split.

    Raises:
        ValueError: nothing is left to hold out.
    """
    random = np.random.default_rng(options.seed)
    ends = triples[:, [HEAD, TAIL]]
    pair_keys = ends.min(axis=1) * num_entities + ends.max(axis=1)
    _, pair = np.unique(pair_keys, return_inverse=True)
    size = np.bincount(pair)  # triples of each pair
    turn = random.permutation(len(size))  # when each pair is drawn
    rarity = np.argsort(np.argsort(np.bincount(triples[:, RELATION], minlength=num_relations), kind="stable"))
    stratum = _least(pair, rarity[triples[:, RELATION]], len(size))

    is_free = np.ones(len(size), bool)
    is_free[_cover(triples[:, RELATION], pair, turn)] = False
    if not options.inductive:
        members, pair_of = ends.T.ravel(), np.tile(pair, 2)
        # those of a single pair first: they leave no choice, and cover others that then need none of their own
        has_choice = _least(members, pair_of, num_entities) != -_least(members, -pair_of, num_entities)
        for turn_of_choice in (False, True):
            is_covered = np.zeros(num_entities, bool)
            is_covered[members[~is_free[pair_of]]] = True
            asks = ~is_covered[members] & (has_choice[members] == turn_of_choice)
            is_free[_cover(members[asks], pair_of[asks], turn)] = False

    side = np.zeros(len(size), np.int64)
    order = np.lexsort((turn, stratum))
    order = order[is_free[order]]
    _, share_valid, share_test = options.shares
    in_stratum = np.bincount(stratum, weights=size, minlength=num_relations)
    is_held = np.bincount(stratum[order], weights=size[order], minlength=num_relations)
    # what is missing where few are free is missing in both
    free_share = np.minimum(1, is_held / np.maximum((share_valid + share_test) * in_stratum, 1e-9))
    num_valid, num_test = (_whole(share * free_share * in_stratum, random) for share in (share_valid, share_test))
    # the middle of each pair's triples among the free ones of its stratum
    taken = np.cumsum(size[order])
    begin = np.r_[0, taken][np.searchsorted(stratum[order], np.arange(num_relations))]
    middle = taken - begin[stratum[order]] - size[order] / 2
    side[order[middle < (num_valid + num_test)[stratum[order]]]] = SPLITS.index("test")
    side[order[middle < num_valid[stratum[order]]]] = SPLITS.index("valid")
    _fill_empty(side, order[np.argsort(turn[order])], options)
    return {split: triples[side[pair] == place] for place, split in enumerate(SPLITS)}


def _cover(members: Ids, pair_of: Ids, turn: Ids) -> Ids:
    """Pairs that have all the members: each takes the pair of its own that is drawn first.

    Args:
        members, pair_of: (n,): member i is in pair i.
        turn: when each pair is drawn.
    """
    if not len(members):
        return np.empty(0, np.int64)
    first = _least(members, turn[pair_of], int(members.max()) + 1)
    return np.argsort(turn)[first[first < len(turn)]]


def _least(groups: Ids, values: Ids, num_groups: int) -> Ids:
    """The least value of each group; the largest int64 for a group without any."""
    least = np.full(num_groups, np.iinfo(np.int64).max)
    np.minimum.at(least, groups, values)
    return least


def _whole(amounts: NDArray[np.floating], random: np.random.Generator) -> Ids:
    """Whole numbers near the amounts, whose sum is near theirs too: what one lacks goes to the next."""
    edges = np.floor(np.cumsum(amounts) + random.random()).astype(np.int64)
    return np.diff(edges, prepend=0)


def _fill_empty(side: Ids, free: Ids, options: SplitOptions) -> None:
    """Give a held-out split that got nothing the first free pair, in place."""
    for place in (1, 2):
        if np.any(side == place):
            continue
        counts = np.bincount(side[free], minlength=len(SPLITS))
        spare = free[(side[free] == 0) | (counts[side[free]] > 1)]
        if not len(spare):
            remedy = "add splits of your own" + ("" if options.inductive else ", or set data.inductive=true")
            raise ValueError(f"data.split: no triple can be held out for {SPLITS[place]}, since train needs each for "
                             f"an entity or relation; {remedy}")  # fmt: skip
        side[spare[0]] = place
