"""One process of test_cosine_ranks.py, which finds the others as under torchrun: `python ranking_worker.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import torch

from kalm.distributed import faults_shared, joined, rank, world_size
from kalm.evaluation.kgc import embed


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
        try:
            with faults_shared():
                if rank() == world_size() - 1:
                    raise ValueError("a fault of the last process")
        except ValueError as error:
            found["fault"] = str(error)
        torch.save(found, folder / f"found-{world_size()}-{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
