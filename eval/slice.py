"""Cut a small connected part out of a graph: `python eval/slice.py SOURCE TO --entities 5000`.

SOURCE holds train/valid/test.txt, or train/dev/test.tsv, and the files with its texts, as `data.root` does; so does TO
afterwards. The part is what a breadth-first search over the training triples meets first, from the entity with the most
of them; equal calls give equal parts. With --max-degree the search starts at no entity with more triples and goes on
from none, so that a graph with hubs (a language, a rating) does not become one hub and its neighbours; hubs that are
met are kept.
"""

import argparse
import shutil
import sys
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

SPLITS = {"train": ("train.txt", "train.tsv"), "valid": ("valid.txt", "dev.tsv"), "test": ("test.txt", "test.tsv")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of the graph")
    parser.add_argument("to", type=Path, help="folder to make")
    parser.add_argument(
        "--entities",
        type=int,
        default=2000,
        help="how many to keep (default 2000); of a few, no valid or test triple may be left",
    )
    parser.add_argument(
        "--max-degree", type=int, default=None, help="triples of an entity to go on from (default: any)"
    )
    arguments = parser.parse_args()
    names = {split: first_there(arguments.source, among) for split, among in SPLITS.items()}
    lines = {split: (arguments.source / name).read_text(encoding="utf-8").splitlines() for split, name in names.items()}
    kept = first_met([line.split("\t") for line in lines["train"]], arguments.entities, arguments.max_degree)
    arguments.to.mkdir(parents=True)
    for path in arguments.source.iterdir():
        if path.is_file() and path.name not in names.values():
            shutil.copy(path, arguments.to)
    for split in SPLITS:
        inside = [line for line in lines[split] if {line.split("\t")[0], line.split("\t")[2]} <= kept]
        (arguments.to / names[split]).write_text("".join(f"{line}\n" for line in inside), encoding="utf-8")
        print(f"{split}: {len(inside):,} of {len(lines[split]):,} triples")


def first_there(folder: Path, names: Sequence[str]) -> str:
    """The first of the names that is a file's."""
    found = [name for name in names if (folder / name).is_file()]
    if not found:
        sys.exit(f"error: {folder} has no {names[0]} and no {names[1]}")
    return found[0]


def first_met(triples: list[list[str]], num_entities: int, max_degree: int | None = None) -> set[str]:
    """The entities that a breadth-first search meets first."""
    neighbours: dict[str, dict[str, None]] = {}
    for head, _, tail in triples:
        neighbours.setdefault(head, {})[tail] = None
        neighbours.setdefault(tail, {})[head] = None
    degrees = Counter({entity: len(others) for entity, others in neighbours.items()})
    inner = [entity for entity, degree in degrees.items() if max_degree is None or degree <= max_degree]
    if not inner:
        sys.exit(f"error: --max-degree {max_degree}: each entity has more triples; raise it")
    start = min(inner, key=lambda entity: (-degrees[entity], entity))
    met, waiting = {start}, deque([start])
    while waiting and len(met) < num_entities:
        for other in neighbours[waiting.popleft()]:
            if len(met) < num_entities and other not in met:
                met.add(other)
                if max_degree is None or degrees[other] <= max_degree:
                    waiting.append(other)
    return met


if __name__ == "__main__":
    main()
