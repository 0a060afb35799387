"""The searches for paths, in one thread's working memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from kalm.graph.adjacency import Adjacency
from kalm.graph.ball import Ball
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, Triples, add_inverses
from kalm.graph.landmarks import anchor_bound
from kalm.graph.path import PathSearch, SearchLimits
from kalm.graph.path_kernels import find_slots, mark_shortest, search_best_first, walk

Ranks = NDArray[np.int32]
Rows = NDArray[np.int64]

NO_BOUND = np.empty(0, np.int32)
NO_DISTANCES = np.empty((0, 0), np.uint8)
NO_DISTANCES.flags.writeable = False  # as distances from a file are: numba compiles for each anew


class SearchRoom:
    """Working memory for searches in an adjacency, one at a time.

    Paths come as rows of a start and slots, (n, max_hops + 1) int64, and how many there are of each length,
    (max_hops + 1,) int64. Expansions are more than allowed where the limit has ended a search.

    Args:
        adjacency: where paths are searched.
        excluded: (n, 3), triples that are never walked.
    """

    def __init__(self, adjacency: Adjacency, excluded: Triples | None) -> None:
        self._adjacency = adjacency
        self._near, self._far = Ball(adjacency), Ball(adjacency)
        self._near_anchors = np.zeros(adjacency.num_entities, np.int32)
        self._blocked = np.zeros(0, np.uint8)
        if excluded is not None:
            self._block(slots_of(adjacency, excluded))

    @contextmanager
    def without(self, excluded: Triples | None) -> Iterator[None]:
        """Within it these triples, (n, 3), are not walked either."""
        if excluded is None:
            yield
            return
        slots = slots_of(self._adjacency, excluded)
        before = self._blocked[slots] if len(self._blocked) else 0
        self._block(slots)
        try:
            yield
        finally:
            self._blocked[slots] = before

    def _block(self, slots: NDArray[np.int64]) -> None:
        if not len(self._blocked):
            self._blocked = np.zeros(len(self._adjacency.neighbours), np.uint8)
        self._blocked[slots] = 1

    @property
    def _graph(self) -> tuple[NDArray[np.int64], Ranks, NDArray[np.uint8]]:
        return self._adjacency.offsets, self._adjacency.neighbours, self._blocked

    def search(
        self, starts: Ranks, goals: Ranks, search: PathSearch, limits: SearchLimits
    ) -> tuple[Rows, NDArray[np.int64], int]:
        """The best paths, their numbers, and expansions.

        Args:
            starts, goals: distinct ranks, ascending; each goal has a neighbour.
        """
        if search.search == "bidirectional":
            return self._search_both_ways(starts, goals, limits)
        is_informed = search.search == "astar"
        anchored, distances, low, high = NO_BOUND, NO_DISTANCES, NO_BOUND, NO_BOUND
        written = NO_BOUND
        if is_informed and search.landmarks is not None:
            distances = search.landmarks.distances
            to_goals = distances[goals].astype(np.int32)
            low, high = to_goals.min(0), to_goals.max(0)
        elif is_informed:
            anchored = self._near_anchors
            written, bounds = anchor_bound(self._adjacency, goals, search, self._far)
            anchored[written] = bounds
        self._far.distances[goals] = 0
        rows, num_found, expansions = search_best_first(
            *self._graph, starts, goals, self._far.distances, anchored, distances, low, high, is_informed,
            limits.max_hops, limits.max_paths, limits.max_expansions,
        )  # fmt: skip
        self._far.distances[goals] = -1
        self._near_anchors[written] = 0
        return rows, num_found, expansions

    def _search_both_ways(
        self, starts: Ranks, goals: Ranks, limits: SearchLimits
    ) -> tuple[Rows, NDArray[np.int64], int]:
        """Balls around starts and goals grow until they meet, the one with fewer slots first; then walks."""
        near, far = self._near, self._far
        rows, num_found = np.empty((8, limits.max_hops + 1), np.int64), np.zeros(limits.max_hops + 1, np.int64)
        count = expansions = 0
        with near.around(starts), far.around(goals):
            have_met = bool((far.distances[starts] == 0).any())
            for hops in range(1, limits.max_hops + 1):
                smaller, other = (near, far) if near.num_slots < far.num_slots else (far, near)
                expansions += len(smaller.surface)
                smaller.grow(self._blocked)
                have_met = have_met or bool((other.distances[smaller.surface] >= 0).any())
                if have_met and expansions <= limits.max_expansions:
                    before = count
                    rows, count, expansions = walk(
                        *self._graph, starts, goals, far.distances, far.radius, 0, hops, rows, count, limits.max_paths,
                        expansions, limits.max_expansions,
                    )  # fmt: skip
                    num_found[hops] = count - before
                if count == limits.max_paths or expansions > limits.max_expansions:
                    break
        return rows[:count], num_found, expansions

    def search_beginnings(self, starts: Ranks, goals: Ranks, limits: SearchLimits) -> tuple[Rows, bool, int]:
        """Where all paths are longer than max_hops: the first max_hops steps of the shortest.

        Balls grow until they meet; back from there to the starts, what lies on shortest paths gets its distance to the
        goals, and nothing else is walked. What is both start and goal is a start only here, or else a goal only.

        Returns:
            Rows, whether there is no path of any length, and expansions.
        """
        both = np.intersect1d(starts, goals)
        if len(both) < len(goals):
            goals = np.setdiff1d(goals, both)
        else:
            starts = np.setdiff1d(starts, both)
        near, far, hops = self._near, self._far, limits.max_hops
        with near.around(starts), far.around(goals):
            have_met, expansions = False, 0
            while not have_met and len(near.surface) and len(far.surface) and expansions <= limits.max_expansions:
                (near if near.num_slots < far.num_slots else far).grow(self._blocked)
                have_met = bool((far.distances[near.surface] >= 0).any())
                expansions = near.expansions + far.expansions
            if not have_met:
                is_cut_off = expansions <= limits.max_expansions and not len(both)
                return np.empty((0, hops + 1), np.int64), is_cut_off, expansions
            far.end = mark_shortest(*self._graph, near.distances, far.distances, far.queue, far.begin, far.end)
            length = near.radius + far.radius
            rest = length - hops
            ends = np.sort(far.inside[far.distances[far.inside] == rest])
            rows, count, expansions = walk(
                *self._graph, starts, ends, far.distances, length, rest, hops, np.empty((8, hops + 1), np.int64), 0,
                limits.max_paths, expansions, limits.max_expansions,
            )  # fmt: skip
            return rows[:count], False, expansions


def slots_of(adjacency: Adjacency, triples: Triples) -> NDArray[np.int64]:
    """The slots of triples, (n, 3), both ways; those that are not in the graph have none.

    Raises:
        ValueError: an entity or relation is not one of the graph's.
    """
    limits = (adjacency.num_entities, adjacency.num_relations, adjacency.num_entities)
    for column, (limit, word) in enumerate(zip(limits, ("head", "relation", "tail"), strict=True)):
        wrong = (triples[:, column] < 0) | (triples[:, column] >= limit)
        if wrong.any():
            raise ValueError(f"{word} {triples[wrong.argmax(), column]} of a triple to leave out is not in the graph, "
                             f"which has 0 to {limit - 1}")  # fmt: skip
    directed = add_inverses(triples, adjacency.num_relations)
    slots = find_slots(
        adjacency.offsets, adjacency.neighbours, adjacency.relations, adjacency.rank_of[directed[:, HEAD]],
        adjacency.rank_of[directed[:, TAIL]], directed[:, RELATION],
    )  # fmt: skip
    return np.asarray(slots[slots >= 0])
