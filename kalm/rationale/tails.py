"""What each relation leads to from each entity."""

from collections.abc import Sequence

import numpy as np

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.text.ragged import Ids


class Tails:
    """The tails of each (head, directed relation), and the relations of each head.

    Args:
        graph: N entities, R relations.
        splits: whose triples count.
    """

    def __init__(self, graph: KnowledgeGraph, splits: Sequence[str]) -> None:
        keys = graph.known_tail_keys(splits)
        self._size, self._num_directed = graph.num_entities, 2 * graph.num_relations
        queries, first = np.unique(keys // self._size, return_index=True)
        self.queries: Ids = queries  # head * 2R + relation, ascending
        self._starts: Ids = np.append(first, len(keys))
        self._tails: Ids = keys % self._size

    def of(self, head: int, relation: int) -> Ids:
        """Ascending; none where the head has no such relation."""
        place = int(np.searchsorted(self.queries, head * self._num_directed + relation))
        if place == len(self.queries) or self.queries[place] != head * self._num_directed + relation:
            return self._tails[:0]
        return self._tails[self._starts[place] : self._starts[place + 1]]

    def relations_of(self, head: int) -> list[int]:
        start, stop = np.searchsorted(self.queries, [head * self._num_directed, (head + 1) * self._num_directed])
        found: list[int] = (self.queries[start:stop] % self._num_directed).tolist()
        return found

    def drawn(self, generator: np.random.Generator) -> tuple[int, int]:
        """A head and one of its relations, all such pairs alike."""
        head, relation = divmod(int(generator.choice(self.queries)), self._num_directed)
        return head, relation
