"""Which triples make up the batch of each step."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class TripleSampler:
    """Passes over the triples, each in an order of its own, cut into global batches without a gap.

    Step s takes positions [s * B, (s + 1) * B) of the endless row of passes. A batch depends on seed and step
    alone: there is no state to save, and any number of processes splits the same global batches.

    Args:
        num_triples: n, rows to draw from.
        batch_size: B, triples per step over all processes.
        seed: of the orders.
        rank, world_size: this process takes the rank-th of world_size equal parts of each batch.
    """

    def __init__(self, num_triples: int, batch_size: int, seed: int, *, rank: int, world_size: int) -> None:
        assert batch_size % world_size == 0, "validate() has checked this"
        self.num_triples = num_triples
        self.batch_size = batch_size
        self.first = rank * (batch_size // world_size)
        self.local_size = batch_size // world_size
        self._order = lru_cache(maxsize=2)(lambda epoch: np.random.default_rng([seed, epoch]).permutation(num_triples))

    def rows(self, step: int) -> NDArray[np.int64]:
        """This process's triples at a step, (B / world_size,)."""
        start = step * self.batch_size + self.first
        epochs, places = np.divmod(np.arange(start, start + self.local_size), self.num_triples)
        rows = np.empty(self.local_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._order(int(epoch))[places[here]]
        return rows
