"""One process of test_cosine_ranks.py, which finds the others as under torchrun: `python ranking_worker.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import torch

from kalm.config import IndexKind
from kalm.distributed import joined, rank, world_size
from kalm.evaluation import encoding
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.kgc import embed


def broken(*_):
    raise ValueError("a fault of the last process")


def unit_vectors() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(100, 8, generator=torch.Generator().manual_seed(rank())), dim=1)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    encoder, table, questions, ranking = torch.load(folder / "task.pt", weights_only=False)
    with joined():
        embedded = embed(encoder, table, questions, ranking, sharded=world_size() > 1)
        found = {
            "ranks": [*embedded.ranks(questions, ranking, torch.device("cpu"))],
            "scores": embedded.index.search(embedded.queries, 5)[0],
            "vectors": embedded.index.vectors_of(np.arange(questions.graph.num_entities)),
            "held": len(embedded.index.vectors),
        }
        is_last = rank() == world_size() - 1
        index, encode = EntityIndex(unit_vectors(), IndexKind.hnsw, np.arange(100) + 100 * rank()), encoding.encode
        if is_last and world_size() > 1:
            index._search = lambda queries, k: (queries[:, :k], np.full((len(queries), k), -1))
        found["recall"] = index.tune()
        if is_last:
            encoding.encode = broken
        try:
            encoding.encode_queries(encoder, table, np.arange(2), np.arange(2), 64, sharded=True)
        except ValueError as error:
            found["fault"] = str(error)
        encoding.encode = encode
        torch.save(found, folder / f"found-{world_size()}-{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
