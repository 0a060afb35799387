"""The best paths between entities, for one question or for millions."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kalm.graph.adjacency import Adjacency
from kalm.graph.knowledge_graph import Triples
from kalm.graph.path import Found, Kind, Path, PathQuestion, PathSearch, SearchLimits, Step

if TYPE_CHECKING:
    from kalm.graph.path_search import SearchRoom

__all__ = ["Found", "Kind", "Path", "PathFinder", "PathQuestion", "PathSearch", "SearchLimits", "Step", "find_paths"]

CHUNK = 64  # questions that a thread takes at once


def find_paths(
    adjacency: Adjacency,
    starts: Sequence[int],
    goals: Sequence[int],
    *,
    excluded: Triples | None = None,
    limits: SearchLimits | None = None,
    search: PathSearch | None = None,
) -> Found:
    """The best paths from any of the starts to any of the goals; for more than one question use `PathFinder`.

    Raises:
        ValueError: see `PathFinder.find`.
    """
    return PathFinder(adjacency, limits=limits, search=search).find(PathQuestion(starts, goals, excluded))


class PathFinder:
    """Finds paths for many questions, with working memory that is made once: 16 bytes per entity and thread.

    Args:
        adjacency: where paths are searched.
        limits: of each question.
        search: how to search.
        excluded: (n, 3), triples that no path of any question may walk; a byte per slot and thread.
        num_threads: that `find_all` searches with; the results do not depend on it.

    Raises:
        ValueError: numba is not installed, an excluded triple has an entity or relation that the graph has not, or
            num_threads is below 1.
    """

    def __init__(
        self,
        adjacency: Adjacency,
        *,
        limits: SearchLimits | None = None,
        search: PathSearch | None = None,
        excluded: Triples | None = None,
        num_threads: int = 1,
    ) -> None:
        try:
            from kalm.graph.path_search import SearchRoom
        except ModuleNotFoundError as error:
            raise ValueError(f"path search needs {error.name}: pip install 'kalm[kale]'") from error
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        self._adjacency = adjacency
        self._limits = limits or SearchLimits()
        self._search = search or PathSearch()
        # a thread takes a room for itself and gives it back
        self._rooms: SimpleQueue[SearchRoom] = SimpleQueue()
        self._num_threads = num_threads
        for _ in range(num_threads):
            self._rooms.put(SearchRoom(adjacency, excluded))

    def find(self, question: PathQuestion) -> Found:
        """The best paths of one question.

        Raises:
            ValueError: a start or goal, or a part of an excluded triple, is not in the graph.
        """
        return self._find_chunk([question])[0]

    def find_all(self, questions: Iterable[PathQuestion]) -> Iterator[Found]:
        """What is found for each question, in their order; a few chunks of questions are read ahead.

        Raises:
            ValueError: as `find`.
        """
        rest, waiting = iter(questions), deque[Future[list[Found]]]()
        with ThreadPoolExecutor(self._num_threads) as pool:
            while True:
                while len(waiting) < 2 * self._num_threads and (chunk := list(islice(rest, CHUNK))):
                    waiting.append(pool.submit(self._find_chunk, chunk))
                if not waiting:
                    return
                yield from waiting.popleft().result()

    def _find_chunk(self, questions: list[PathQuestion]) -> list[Found]:
        room = self._rooms.get()
        try:
            return [self._find(question, room) for question in questions]
        finally:
            self._rooms.put(room)

    def _find(self, question: PathQuestion, room: "SearchRoom") -> Found:
        starts, goals = self._ranks(question.starts), self._ranks(question.goals)
        if not len(starts) or not len(goals):
            return _nothing(Kind.no_goal if len(starts) else Kind.no_start)
        if len(starts) == len(goals) == 1 and starts[0] == goals[0]:
            return _nothing(Kind.start_is_goal)
        starts, goals = _connected(starts, goals, self._adjacency.components)
        if not len(starts):
            return _nothing(Kind.disconnected)
        with room.without(question.excluded):
            rows, num_found, expansions = room.search(starts, goals, self._search, self._limits)
            is_complete = expansions <= self._limits.max_expansions
            expansions = min(expansions, self._limits.max_expansions)
            if len(rows):
                return Found(Kind.found, self._paths(rows, num_found), (), expansions, is_complete)
            if not is_complete:
                return Found(Kind.expansions_exhausted, (), (), expansions, False)
            return self._beginnings(starts, goals, expansions, room)

    def _beginnings(
        self, starts: NDArray[np.int32], goals: NDArray[np.int32], expansions: int, room: "SearchRoom"
    ) -> Found:
        """Where every path is too long."""
        rows, is_cut_off, more = room.search_beginnings(starts, goals, self._limits)
        num_found = np.zeros(self._limits.max_hops + 1, np.int64)
        num_found[-1] = len(rows)
        kind = Kind.disconnected if is_cut_off else Kind.beyond_max_hops
        is_complete = more <= self._limits.max_expansions
        return Found(
            kind, (), self._paths(rows, num_found), expansions + min(more, self._limits.max_expansions), is_complete
        )

    def _paths(self, rows: NDArray[np.int64], num_found: NDArray[np.int64]) -> tuple[Path, ...]:
        """Rows of start and slots as paths; num_found tells how many there are of each length."""
        adjacency, paths, begin = self._adjacency, list[Path](), 0
        for hops in np.flatnonzero(num_found):
            part, begin = rows[begin : begin + num_found[hops], : hops + 1], begin + num_found[hops]
            ranks = np.concatenate((part[:, :1], adjacency.neighbours[part[:, 1:]]), axis=1)
            relations = adjacency.relations[part[:, 1:]]
            paths += [
                Path(tuple(entities), tuple(walked), adjacency.num_relations)
                for entities, walked in zip(adjacency.entity_of[ranks].tolist(), relations.tolist(), strict=True)
            ]
        return tuple(paths)

    def _ranks(self, entities: Sequence[int]) -> NDArray[np.int32]:
        """The ranks of distinct entities, ascending."""
        distinct, size = {int(entity) for entity in entities}, self._adjacency.num_entities
        for entity in distinct:
            if not 0 <= entity < size:
                raise ValueError(f"entity {entity} is not in the graph, which has 0 to {size - 1}")
        ranks = self._adjacency.rank_of[list(distinct)]
        ranks.sort()
        return ranks


def _nothing(kind: Kind) -> Found:
    return Found(kind, (), (), 0, True)


def _connected(
    starts: NDArray[np.int32], goals: NDArray[np.int32], components: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The starts that are connected with another entity among the goals, and the goals with one among the starts."""
    start_parts, goal_parts = components[starts].tolist(), components[goals].tolist()
    both = set(starts.tolist()).intersection(goals.tolist())

    def connected(entities: NDArray[np.int32], parts: list[int], other_parts: list[int]) -> NDArray[np.int32]:
        counts = Counter(other_parts)
        # an entity that is among the others too does not count for itself
        is_connected = [counts[part] > (entity in both) for entity, part in zip(entities.tolist(), parts, strict=True)]
        return entities if all(is_connected) else entities[is_connected]

    return connected(starts, start_parts, goal_parts), connected(goals, goal_parts, start_parts)
