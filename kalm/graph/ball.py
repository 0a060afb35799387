"""The entities around some others, hop by hop."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from kalm.graph.adjacency import Adjacency
from kalm.graph.path_kernels import grow_ball

NOTHING_BLOCKED = np.empty(0, np.uint8)


class Ball:
    """Breadth-first distances from some centres, in memory that is used again for the next ones: 8 bytes per entity.

    `distances`, (N,) int32, is -1 for what has not been reached; `num_slots` are those of the surface, what it costs to
    grow. An expansion is one reading of an entity's slots.
    """

    def __init__(self, adjacency: Adjacency) -> None:
        self._adjacency = adjacency
        self.distances = np.full(adjacency.num_entities, -1, np.int32)
        self.queue = np.empty(adjacency.num_entities, np.int32)
        self._clear()

    def _clear(self) -> None:
        self.begin = self.end = self.radius = self.expansions = self.num_slots = 0

    @contextmanager
    def around(self, centres: NDArray[np.int32]) -> Iterator[None]:
        """Within it there is a ball around these distinct entities, which has radius 0 at first."""
        self.end = len(centres)
        self.queue[: self.end] = centres
        self.distances[centres] = 0
        self.num_slots = int((self._adjacency.offsets[centres + 1] - self._adjacency.offsets[centres]).sum())
        try:
            yield
        finally:
            self.distances[self.inside] = -1
            self._clear()

    @property
    def inside(self) -> NDArray[np.int32]:
        """All entities of the ball, nearest first."""
        return self.queue[: self.end]

    @property
    def surface(self) -> NDArray[np.int32]:
        """Those that are `radius` away; none when the ball holds all that can be reached."""
        return self.queue[self.begin : self.end]

    def grow(self, blocked: NDArray[np.uint8] = NOTHING_BLOCKED) -> None:
        """One more hop; blocked slots, see `kalm.graph.path_kernels`, are not walked."""
        self.expansions += self.end - self.begin
        graph = self._adjacency.offsets, self._adjacency.neighbours, blocked
        end, self.num_slots = grow_ball(*graph, self.distances, self.queue, self.begin, self.end)
        self.begin, self.end = self.end, end
        self.radius += 1

    def grow_to(self, radius: int | None) -> None:
        """Until it has the radius, or holds all that can be reached."""
        while self.begin < self.end and (radius is None or self.radius < radius):
            self.grow()
