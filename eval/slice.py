"""Cut a small connected part out of a graph: `python eval/slice.py SOURCE TO --entities 5000`.

SOURCE holds train/valid/test.txt and the files with its texts, as `data.root` does; so does TO afterwards. The part is
what a breadth-first search over the training triples meets first, from the entity with the most of them; equal calls
give equal parts.
"""

import argparse
import shutil
from collections import Counter, deque
from pathlib import Path

SPLITS = ("train", "valid", "test")


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
    arguments = parser.parse_args()
    lines = {split: (arguments.source / f"{split}.txt").read_text(encoding="utf-8").splitlines() for split in SPLITS}
    kept = first_met([line.split("\t") for line in lines["train"]], arguments.entities)
    arguments.to.mkdir(parents=True)
    for path in arguments.source.iterdir():
        if path.is_file() and path.stem not in SPLITS:
            shutil.copy(path, arguments.to)
    for split in SPLITS:
        inside = [line for line in lines[split] if {line.split("\t")[0], line.split("\t")[2]} <= kept]
        (arguments.to / f"{split}.txt").write_text("".join(f"{line}\n" for line in inside), encoding="utf-8")
        print(f"{split}: {len(inside):,} of {len(lines[split]):,} triples")


def first_met(triples: list[list[str]], num_entities: int) -> set[str]:
    """The entities that a breadth-first search meets first."""
    neighbours: dict[str, dict[str, None]] = {}
    for head, _, tail in triples:
        neighbours.setdefault(head, {})[tail] = None
        neighbours.setdefault(tail, {})[head] = None
    degrees = Counter({entity: len(others) for entity, others in neighbours.items()})
    start = min(degrees, key=lambda entity: (-degrees[entity], entity))
    met, waiting = {start}, deque([start])
    while waiting and len(met) < num_entities:
        for other in neighbours[waiting.popleft()]:
            if len(met) < num_entities and other not in met:
                met.add(other)
                waiting.append(other)
    return met


if __name__ == "__main__":
    main()
