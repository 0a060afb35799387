"""Every rank again from the files of an evaluation, in numpy alone: the protocol as code.

python tests/reproduce_ranks.py RUN SPLIT FOLDER: the run was evaluated with save_embeddings=true, and FOLDER holds its
graph's train.txt, valid.txt and test.txt.
"""

import sys
from pathlib import Path

import numpy as np


def ranks_from_embeddings(folder: Path, split: str, known: set[tuple[str, str, str]]) -> np.ndarray:
    """Realistic ranks, filtered by `known` triples, in the order of queries.tsv; answers are those of ranks.tsv."""
    entities, queries = (np.load(folder / f"{name}.npy").astype(np.float64) for name in ("entities", "queries"))
    labels = (folder / "entities.tsv").read_text(encoding="utf-8").splitlines()
    listed = (folder / f"kgc-{split}.ranks.tsv").read_text(encoding="utf-8").splitlines()
    asked = (folder / "queries.tsv").read_text(encoding="utf-8").splitlines()
    ranks = []
    for query, described, line in zip(queries, asked, listed, strict=True):
        head, relation, tail, direction = line.split("\t")[:4]
        assert described == "\t".join((head if direction == "tail" else tail, relation, direction)), "another split's"
        triples = [(head, relation, e) if direction == "tail" else (e, relation, tail) for e in labels]
        true = labels.index(tail if direction == "tail" else head)
        above = entities @ query - entities[true] @ query
        above[[e for e, triple in enumerate(triples) if triple in known or e == true]] = -np.inf
        ranks.append(1 + (above > 1e-11).sum() + (abs(above) <= 1e-11).sum() / 2)
    return np.array(ranks)


def main(run: Path, split: str, graph: Path) -> None:
    files = [graph / f"{name}.txt" for name in ("train", "valid", "test")]
    known = {tuple(line.split("\t")) for file in files for line in file.read_text(encoding="utf-8").splitlines()}
    ranks = ranks_from_embeddings(run / "eval", split, known)
    lines = (run / "eval" / f"kgc-{split}.ranks.tsv").read_text(encoding="utf-8").splitlines()
    differing = int((ranks != [float(line.split("\t")[4]) for line in lines]).sum())
    print(f"{len(ranks)} ranks, {differing} differ; MRR {(1 / ranks).mean():.6f}, MR {ranks.mean():.4f}, "
          f"Hits@10 {(ranks <= 10).mean():.6f}")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
