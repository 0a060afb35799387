"""The entities in a FAISS index: top-k search, and exact scores from the same vectors."""

import faiss
import torch
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
        self._vectors = torch.from_numpy(stored).to(device)

    @property
    def num_entities(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines and ids of the k best entities, best first, (q, k) each."""
        scores, ids = self._index.search(queries.numpy(), min(k, self.num_entities))
        return torch.from_numpy(scores), torch.from_numpy(ids)

    def scores(self, queries: Tensor) -> Tensor:
        """Cosine of each query with every entity, (q, D) -> (q, N), float32."""
        return queries.to(self._vectors.device) @ self._vectors.T
