"""Paths between entities: what is asked, and what is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from kalm.graph.knowledge_graph import Triples

if TYPE_CHECKING:
    from kalm.graph.landmarks import Landmarks


class Kind(StrEnum):
    """What came of a search."""

    found = "found"
    no_start = "no_start"  # the question has no start
    no_goal = "no_goal"  # the question has no goal
    start_is_goal = "start_is_goal"  # one entity is the only start and the only goal; a path has at least one step
    disconnected = "disconnected"  # there is no path of any length
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

    It may pass other starts and goals. Paths are ordered by hops, then by the rank of the start, then step by step by
    the rank of the entity that a step leads to and its directed relation (see `Adjacency`). This is a total order, so
    the best k paths are the same whichever way they are searched.

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
        max_hops: steps of a path, at least 1.
        max_paths: paths that are returned, at least 1.
        max_expansions: how often the neighbours of an entity may be read, at least 1; where partial paths are kept
            (`breadth_first`, `astar`), also how many.
    """

    max_hops: int = 3
    max_paths: int = 20
    max_expansions: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("max_hops", "max_paths", "max_expansions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSearch:
    """How to search; each way finds the same paths in the same order, unless max_expansions ends it.

    Args:
        search: `bidirectional`, balls around starts and goals that meet, then walks within them; `breadth_first`, all
            partial paths from the starts in turn; `astar`, those first that may reach a goal in the fewest hops.
        landmarks: the lower bounds of A*; None takes those of KALE, from anchors near the answer.
        num_anchors: k of KALE, sampled for each goal, at least 1; fewer where there are no more entities.
        anchor_hops: m of KALE, how far from the goal anchors may lie, at least 1.
        seed: of the sample, which depends on it and the goal alone.
    """

    search: Literal["bidirectional", "breadth_first", "astar"] = "bidirectional"
    landmarks: "Landmarks | None" = None
    num_anchors: int = 8
    anchor_hops: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        ways = ("bidirectional", "breadth_first", "astar")
        if self.search not in ways:
            raise ValueError(f"search must be one of {', '.join(ways)}, got {self.search}")
        for name in ("num_anchors", "anchor_hops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class PathQuestion:
    """What to search for.

    Args:
        starts, goals: entity ids; a path leads from any of the starts to any other one of the goals.
        excluded: (n, 3), triples that no path may walk, either way; those that are not in the graph change nothing.
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
        partial: if kind is `beyond_max_hops`, the first max_hops steps of the shortest paths: of all entities within
            max_hops, those where they end are nearest to a goal. Else empty: where no path leads, nothing is nearer.
        expansions: how often the neighbours of an entity were read.
        is_complete: False where max_expansions ended the search, so that paths may be missing.
    """

    kind: Kind
    paths: tuple[Path, ...]
    partial: tuple[Path, ...]
    expansions: int
    is_complete: bool
