"""The entities in a FAISS index: top-k search, and exact scores from the same vectors."""

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class EntityIndex:
    """A flat, exact inner-product index over unit vectors, so that a score is a cosine.

    Args:
        embeddings: (N, D), float32, unit length, on the CPU.
        device: where scores are computed.
    """

    def __init__(self, embeddings: Tensor, device: torch.device) -> None:
        num_entities, size = embeddings.shape
        self._index = faiss.IndexFlatIP(size)
        self._index.add(embeddings.numpy())
        # the index's own memory, not a copy: what is ranked is what is searched
        stored = faiss.rev_swig_ptr(self._index.get_xb(), num_entities * size).reshape(num_entities, size)
        distinct, distinct_of = _distinct_rows(stored)
        self._vectors = torch.from_numpy(distinct).to(device)
        self._distinct_of = None if len(distinct) == num_entities else torch.from_numpy(distinct_of).to(device)

    @property
    def num_entities(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines and ids of the k best entities, best first, (q, k) each."""
        scores, ids = self._index.search(queries.numpy(), min(k, self.num_entities))
        return torch.from_numpy(scores), torch.from_numpy(ids)

    def scores(self, queries: Tensor) -> Tensor:
        """Cosine of each query with every entity, (q, D) -> (q, N), float32; equal vectors score equally."""
        scores = queries.to(self._vectors.device) @ self._vectors.T
        # matrix products may round equal columns differently (seen with fewer than 6 queries), so each distinct
        # vector is scored once
        return scores if self._distinct_of is None else scores[:, self._distinct_of]


def _distinct_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The distinct rows, and for every row the place of its equal among them; the rows themselves if all differ."""
    as_bytes = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * vectors.itemsize)))
    _, first, distinct_of = np.unique(as_bytes.ravel(), return_index=True, return_inverse=True)
    if len(first) == len(vectors):
        return vectors, np.arange(len(vectors))
    return vectors[first], distinct_of
