"""Which triples make up the batch of each step."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kalm.graph.knowledge_graph import HEAD, TAIL, Triples

Rows = NDArray[np.int64]


class TripleSampler:
    """Passes over the triples, each in an order of its own, cut into global batches without a gap.

    Step s takes positions [s * B, (s + 1) * B) of the endless row of passes. A batch depends on seed and step
    alone: there is no state to save, and any number of processes splits the same global batches.

    Args:
        num_triples: n, rows to draw from.
        batch_size: B, triples per step over all processes.
        seed: of the orders.
    """

    def __init__(self, num_triples: int, batch_size: int, seed: int) -> None:
        self.num_triples = num_triples
        self.batch_size = batch_size
        self._order = lru_cache(maxsize=2)(lambda epoch: np.random.default_rng([seed, epoch]).permutation(num_triples))

    def rows(self, step: int) -> Rows:
        """The triples of a step, (B,)."""
        epochs, places = np.divmod(np.arange(step * self.batch_size, (step + 1) * self.batch_size), self.num_triples)
        rows = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._order(int(epoch))[places[here]]
        return rows


class RandomWalkSampler:
    """Batches that random walks over the graph fill, so that in-batch negatives are near ones.

    A step has B / L walks of L triples. Walks start at the triples of a `TripleSampler`, so each is a start equally
    often; they go along triples in either direction, to an entity with probability proportional to 1 / its degree,
    which keeps them off the hubs. A triple that a walk of the step has met already is replaced by a random one.
    Source: SATKGC (arXiv 2407.12703), subgraph sampling. Differs in many short walks per batch instead of one subgraph,
    since entities of one neighbourhood alone would be each other's known tails.

    Args:
        triples: (n, 3) to draw from.
        num_entities: N.
        batch_size: B, triples per step over all processes.
        walk_length: L, triples of a walk, its start among them.
        seed: of the starts and walks.
    """

    def __init__(self, triples: Triples, num_entities: int, batch_size: int, walk_length: int, seed: int) -> None:
        self.batch_size = batch_size
        self.walk_length = walk_length
        self.seed = seed
        self._ends = triples[:, [HEAD, TAIL]]
        self._starts = TripleSampler(len(triples), -(-batch_size // walk_length), seed)
        # incidence i: triple _incident[i] touches the entity whose incidences are _offsets[e] .. _offsets[e + 1] - 1
        touched = self._ends.T.ravel()
        order = np.argsort(touched, kind="stable")
        self._incident = order % len(triples)
        degrees = np.bincount(touched, minlength=num_entities)
        self._offsets = np.concatenate([[0], degrees.cumsum()])
        others = self._ends[:, ::-1].T.ravel()[order]
        self._weights = np.concatenate([[0.0], (1.0 / degrees[others]).cumsum()])

    def rows(self, step: int) -> Rows:
        """The triples of a step, (B,), walk after walk."""
        generator = np.random.default_rng([self.seed, step, 1])
        rows = self._starts.rows(step)
        entities = self._ends[rows, generator.integers(2, size=len(rows))]
        walks = [rows]
        for _ in range(self.walk_length - 1):
            first, last = self._offsets[entities], self._offsets[entities + 1]
            low, high = self._weights[first], self._weights[last]
            drawn = low + generator.random(len(rows)) * (high - low)
            # rounding may put a draw just outside the entity's own stretch
            places = np.clip(np.searchsorted(self._weights, drawn, side="right") - 1, first, last - 1)
            rows = self._incident[places]
            entities = self._ends[rows].sum(axis=1) - entities
            walks.append(rows)
        return self._without_repetitions(np.stack(walks, axis=1).ravel()[: self.batch_size], generator)

    def _without_repetitions(self, rows: Rows, generator: np.random.Generator) -> Rows:
        _, first = np.unique(rows, return_index=True)
        repeated = np.setdiff1d(np.arange(len(rows)), first)
        if len(repeated):
            others = np.setdiff1d(generator.integers(len(self._ends), size=2 * len(repeated)), rows)
            if len(others) < len(repeated):  # most triples are in the batch: a small graph
                others = np.setdiff1d(np.arange(len(self._ends)), rows)
            others = generator.permutation(others)[: len(repeated)]
            rows[repeated[: len(others)]] = others  # a graph smaller than the batch has too few
        return rows
