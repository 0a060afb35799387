"""The entities' vectors, and FAISS over them for the nearest ones."""

import math
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import IndexKind
from kalm.distributed import all_reduce_sum, gather
from kalm.text.ragged import Ids

RECALL_AT, WANTED_RECALL = 10, 0.95
NUM_PROBES = 256  # entities whose neighbours are looked up to set and to measure an approximate index
NUM_CODES = 256  # of each part of a product quantizer
EFFORTS = {IndexKind.ivf: "nprobe", IndexKind.hnsw: "efSearch"}  # FAISS's names of what trades time for recall


class EntityIndex:
    """Unit vectors of entities, so that an inner product is a cosine, and their nearest neighbours.

    A flat index is exact. The others are approximate: they answer `search` alone, never a rank.

    Args:
        vectors: (n, D), float32, unit length, on the CPU: of all entities, or of those that this process holds.
        kind: of FAISS index.
        ids: (n,), which entities this process holds; None: all of them, and no other process is asked.
    """

    def __init__(self, vectors: Tensor, kind: IndexKind = IndexKind.flat, ids: Ids | None = None) -> None:
        num_vectors, size = vectors.shape
        self.kind = kind
        self.is_sharded = ids is not None
        self.ids = np.arange(num_vectors) if ids is None else ids
        self.num_entities = int(self._sum(torch.tensor(num_vectors)))
        self._place_of = np.full(self.num_entities, -1)
        self._place_of[self.ids] = np.arange(num_vectors)
        self.vectors = vectors
        self._index: Any = None  # flat needs none
        if kind is not IndexKind.flat:
            self._index = _new_index(kind, num_vectors, size)
            self._index.train(vectors.numpy())
            self._index.add(vectors.numpy())

    @property
    def size(self) -> int:
        """D."""
        return int(self.vectors.shape[1])

    def places_of(self, entity_ids: Ids) -> Ids:
        """Rows of `vectors`; -1 for entities that another process holds."""
        return np.asarray(self._place_of[entity_ids])

    def vectors_of(self, entity_ids: Ids) -> Tensor:
        """Vectors of any entities, (m, D), on the CPU; the same answer for all processes."""
        places = torch.from_numpy(self.places_of(entity_ids))
        found = torch.zeros(len(places), self.size)
        found[places >= 0] = self.vectors[places[places >= 0]]
        return self._sum(found)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines and ids of the k nearest entities, best first, (q, k) each; exact with a flat index."""
        k = min(k, self.num_entities)
        here = min(k, len(self.vectors))
        scores, places = (torch.from_numpy(part) for part in self._search(queries.numpy(), here))
        ids = torch.from_numpy(self.ids)[places]
        # an approximate index that finds fewer fills up with -1
        scores = scores.masked_fill(places < 0, -torch.inf)
        if not self.is_sharded:
            return scores, ids
        widened = torch.full((len(queries), k), -torch.inf), torch.full((len(queries), k), -1)
        for whole, part in zip(widened, (scores, ids), strict=True):
            whole[:, :here] = part
        of_ranks = [gather(part[None]).permute(1, 0, 2).flatten(1) for part in widened]  # (q, ranks * k)
        best = of_ranks[0].topk(k)
        return best.values, of_ranks[1].gather(1, best.indices)

    def tune(self) -> float:
        """Search an approximate index harder until it finds enough; the recall@10 it then has, of a sample of entities.

        Of several processes, each of which tunes its own, the lowest recall.

        Efforts double until the recall is at least 0.95 or the effort is that of a flat index.
        """
        generator = np.random.default_rng(0)
        probes = self.vectors[np.sort(generator.choice(len(self.vectors), min(NUM_PROBES, len(self.vectors)), False))]
        exact = torch.from_numpy(self._search_all(probes.numpy(), min(RECALL_AT, len(self.vectors)))[1])
        recall = 0.0
        for effort in self._efforts():
            if effort is not None:
                faiss.ParameterSpace().set_index_parameter(self._index, EFFORTS[self.kind], effort)
            _, found = self._search(probes.numpy(), exact.shape[1])
            recall = float((torch.from_numpy(found)[:, :, None] == exact[:, None]).any(1).float().mean())
            if recall >= WANTED_RECALL:
                break
        return float(gather(torch.tensor([recall])).min()) if self.is_sharded else recall

    def _search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], Ids]:
        if self._index is None:
            return self._search_all(queries, k)
        return self._index.search(queries, k)  # type: ignore[no-any-return]

    def _search_all(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], Ids]:
        """What IndexFlatIP does, over the vectors where they lie instead of a copy of them."""
        return faiss.knn(queries, self.vectors.numpy(), k, metric=faiss.METRIC_INNER_PRODUCT)

    def _efforts(self) -> list[int | None]:
        if self.kind not in EFFORTS:
            return [None]
        assert self._index is not None
        most = self._index.nlist if self.kind is IndexKind.ivf else len(self.vectors)
        return [*(2**power for power in range((most - 1).bit_length())), most]

    def _sum(self, value: Tensor) -> Tensor:
        return all_reduce_sum(value) if self.is_sharded else value


def _new_index(kind: IndexKind, num_vectors: int, size: int) -> Any:
    """An empty approximate index for inner products.

    Raises:
        ValueError: there are too few vectors to learn a code from.
    """
    if kind is IndexKind.hnsw:
        description = "HNSW32"
    elif kind is IndexKind.ivf:
        # the usual 4 sqrt(n) cells, and enough vectors in each for FAISS to place its centre
        description = f"IVF{max(1, min(round(4 * math.sqrt(num_vectors)), num_vectors // 39))},Flat"
    else:
        if num_vectors < NUM_CODES:
            raise ValueError(f"index=pq needs at least {NUM_CODES} entities on each process to learn its codes from, "
                             f"and there are {num_vectors}; take index=flat")  # fmt: skip
        # about 4 dimensions per byte
        description = f"PQ{next(parts for parts in range(max(1, size // 4), 0, -1) if size % parts == 0)}"
    return faiss.index_factory(size, description, faiss.METRIC_INNER_PRODUCT)
