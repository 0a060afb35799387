"""Paths between entities: what they are, and the search for the best of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from kalm.graph.adjacency import Adjacency
from kalm.graph.knowledge_graph import Triples


class Kind(StrEnum):
    """What came of a search."""

    found = "found"
    no_start = "no_start"  # the question names no start
    no_goal = "no_goal"  # the question names no goal
    start_is_goal = "start_is_goal"  # the only start is the only goal; a path has at least one step
    disconnected = "disconnected"  # no path of any length
    beyond_max_hops = "beyond_max_hops"  # there are paths, all longer than limits.max_hops
    expansions_exhausted = "expansions_exhausted"  # limits.max_expansions was reached before anything was found


@dataclass(frozen=True, slots=True)
class Step:
    """One triple of the graph as a path walks it.

    Args:
        head, relation, tail: the triple as the graph has it; relation below R.
        direction: `tail`, walked from head to tail; `head`, walked from tail to head.
    """

    head: int
    relation: int
    tail: int
    direction: Literal["tail", "head"]


@dataclass(frozen=True, slots=True)
class Path:
    """A walk that repeats no entity, of at least one step.

    Paths are ordered by hops, then by the rank of the start, then step by step by the rank of the entity that a step
    leads to and its directed relation. It is a total order, so that the k best paths are the same however they are searched.

    Args:
        entities: hops + 1 entity ids, from a start to a goal.
        relations: hops directed relation ids; r + R is relation r walked from tail to head.
        num_relations: R.
    """

    entities: tuple[int, ...]
    relations: tuple[int, ...]
    num_relations: int

    @property
    def hops(self) -> int:
        return len(self.relations)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(
            Step(origin, relation, end, "tail") if relation < self.num_relations
            else Step(end, relation - self.num_relations, origin, "head")
            for origin, relation, end in zip(self.entities, self.relations, self.entities[1:], strict=False)
        )  # fmt: skip

    @property
    def triples(self) -> tuple[tuple[int, int, int], ...]:
        """The facts of the path as the graph has them, (head, relation, tail) with relation below R."""
        return tuple((step.head, step.relation, step.tail) for step in self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchLimits:
    """Where a search stops.

    Args:
        max_hops: steps of a path, 1 to 254.
        max_paths: paths that are returned, at least 1.
        max_expansions: how often the neighbours of an entity may be read, at least 1.
    """

    max_hops: int = 3
    max_paths: int = 20
    max_expansions: int = 1_000_000

    def __post_init__(self) -> None:
        for name, limit in (("max_hops", 254), ("max_paths", 2**31 - 1), ("max_expansions", 2**62)):
            if not 1 <= getattr(self, name) <= limit:
                raise ValueError(f"{name} must be from 1 to {limit}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class PathQuestion:
    """What to search for.

    Args:
        starts, goals: entity ids; a path leads from any of the starts to any of the goals.
        excluded: (n, 3), triples that no path may use, whichever way round; those that the graph has not count for nothing.
    """

    starts: Sequence[int]
    goals: Sequence[int]
    excluded: Triples | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Args:
        kind: `found`, or why there is no path.
        paths: the best, in the order of `Path`; empty unless kind is `found`.
        partial: without a path, when kind is `beyond_max_hops`: the first max_hops steps of the shortest paths, which
            end at the entities that are nearest to a goal; else empty.
        expansions: how often the neighbours of an entity were read.
        is_complete: False where max_expansions ended the search, so that other paths may be missing.
    """

    kind: Kind
    paths: tuple[Path, ...]
    partial: tuple[Path, ...]
    expansions: int
    is_complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSearch:
    """How to search; each way finds the same paths in the same order.

    Args:
        search: `bidirectional`, `breadth_first`, or `astar`.
    """

    search: Literal["bidirectional", "breadth_first", "astar"] = "bidirectional"


def find_paths(
    adjacency: Adjacency,
    starts: Sequence[int],
    goals: Sequence[int],
    *,
    excluded: Triples | None = None,
    limits: SearchLimits = SearchLimits(),
    search: PathSearch = PathSearch(),
) -> Found:
    """The best paths from any of the starts to any of the goals.

    Raises:
        ValueError: a start or goal is no entity of the graph.
    """
    return next(iter(PathFinder(adjacency, limits=limits, search=search).find_all([PathQuestion(starts, goals, excluded)])))


class PathFinder:
    """Finds paths for many questions, with working memory that is made once."""

    def __init__(
        self, adjacency: Adjacency, *, limits: SearchLimits, search: PathSearch | None = None, num_threads: int = 1
    ) -> None:
        self._adjacency = adjacency
        self._limits = limits

    def find_all(self, questions: Iterable[PathQuestion]) -> Iterator[Found]:
        """One `Found` per question, in their order, as they are asked for."""
        for question in questions:
            yield self._slow(question)

    def _slow(self, question: PathQuestion) -> Found:
        a, limits = self._adjacency, self._limits
        if not len(question.starts) or not len(question.goals):
            return Found(Kind.no_goal if len(question.starts) else Kind.no_start, (), (), 0, True)
        for entity in (*question.starts, *question.goals):
            if not 0 <= entity < a.num_entities:
                raise ValueError(f"entity {entity} is not in the graph, which has {a.num_entities:,}")
        banned = set() if question.excluded is None else set(map(tuple, np.asarray(question.excluded).tolist()))
        goals = set(question.goals)
        level = [Path((int(start),), (), a.num_relations) for start in sorted(set(question.starts), key=a.rank_of.item)]
        found: list[Path] = []
        expansions = 0
        for _ in range(limits.max_hops):
            longer = []
            for path in level:
                rank = a.rank_of[path.entities[-1]]
                expansions += 1
                for slot in range(a.offsets[rank], a.offsets[rank + 1]):
                    entity = int(a.entity_of[a.neighbours[slot]])
                    more = Path((*path.entities, entity), (*path.relations, int(a.relations[slot])), a.num_relations)
                    if entity not in path.entities and more.triples[-1] not in banned:
                        longer.append(more)
            found += [path for path in longer if path.entities[-1] in goals]
            level = longer
            if len(found) >= limits.max_paths:
                break
        kind = Kind.found if found else Kind.beyond_max_hops
        return Found(kind, tuple(found[: limits.max_paths]), (), expansions, True)
