"""Reading a large file of triples beside pykeen, and what is built from it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kalm.graph.assemble import assemble
from kalm.graph.formats.registry import read_labelled
from kalm.graph.knowledge_graph import HEAD, RELATION, KnowledgeGraph, contains, triple_keys
from kalm.graph.known_tails import known_tails
from kalm.graph.labelled import ReadOptions
from kalm.speed.measure import Row, peak_memory, rates, ratio_row, take_turns, value_row

NUM_TRIPLES, NUM_LOOKUPS = 5_000_000, 10_000_000
NUM_LINES = 2_000_000  # of N-Triples
TRIPLES_PER_ENTITY, NUM_RELATIONS = 10, 500
LARGE_TRIPLES, LARGE_ENTITIES = 20_000_000, 5_000_000
LINES_AT_ONCE = 100_000


def measure_reading(*, repeats: int, num_triples: int = NUM_TRIPLES) -> list[Row]:
    """Lines per second of a TSV, and the memory that they take, beside pykeen's `TriplesFactory.from_path`.

    Seconds on the wall, since reading uses several cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "triples.tsv"
        write_triples(path, num_triples, num_triples // TRIPLES_PER_ENTITY)
        _check_equal(path)
        systems = {"kalm": _kalm(path), "pykeen": _pykeen(path)}
        seconds = take_turns(systems, repeats, on_the_wall=True)
        peaks = {name: peak_memory(_prepared, name, path)[0] for name in systems}
    speeds = {name: rates(num_triples, times) for name, times in seconds.items()}
    return [
        ratio_row("read_tsv_vs_pykeen", "lines/s", speeds["kalm"], speeds["pykeen"], more_is_better=True),
        ratio_row("peak_memory_of_reading_vs_pykeen", "MiB", [peaks["kalm"]], [peaks["pykeen"]], more_is_better=False),
    ]


def measure_n_triples(*, repeats: int, num_lines: int = NUM_LINES) -> list[Row]:
    """Lines per second of N-Triples beside pyoxigraph's own objects; memory for a quarter of the lines and for all.

    Seconds on the wall, since reading uses several cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{size}.nt" for size in (num_lines // 4, num_lines)]
        for path, size in zip(paths, (num_lines // 4, num_lines), strict=True):
            write_n_triples(path, size, num_lines // TRIPLES_PER_ENTITY)
        seconds = take_turns({"kalm": _labelled(paths[1]), "pyoxigraph": _walked(paths[1])}, repeats, on_the_wall=True)
        added = [peak_memory(_labelled, path)[1] for path in paths]
    speeds = {name: rates(num_lines, times) for name, times in seconds.items()}
    return [
        ratio_row("read_n_triples_vs_pyoxigraph", "lines/s", speeds["kalm"], speeds["pyoxigraph"], more_is_better=True),
        value_row(f"memory_added_by_{num_lines // 4}_n_triples", "MiB", added[:1]),
        value_row(f"memory_added_by_{num_lines}_n_triples", "MiB", added[1:]),
    ]


def measure_lookups(
    *,
    repeats: int,
    num_triples: int = LARGE_TRIPLES,
    num_entities: int = LARGE_ENTITIES,
    num_lookups: int = NUM_LOOKUPS,
) -> list[Row]:
    """Keys of all known tails of a large graph, and look-ups among them."""
    graph = _large_graph(num_triples, num_entities)
    sizes = (graph.num_relations, graph.num_entities)
    keys = graph.known_tail_keys(["train"])
    sorted_keys = torch.from_numpy(keys)
    random = np.random.default_rng(1)
    asked = graph.directed("train")[random.integers(2 * num_triples, size=num_lookups)]
    asked_keys = triple_keys(asked, *sizes)
    heads, relations = (torch.from_numpy(np.ascontiguousarray(asked[:, part])) for part in (HEAD, RELATION))
    seconds = take_turns(
        {
            "keys": lambda: graph.known_tail_keys(["train"]),
            "contains": lambda: contains(keys, asked_keys),
            "known tails": lambda: known_tails(
                sorted_keys, heads, relations, num_relations=sizes[0], num_entities=sizes[1]
            ),
        },
        repeats,
        on_the_wall=True,
    )
    added = peak_memory(_prepared_keys, num_triples, num_entities)[1]
    return [
        value_row(f"known_tail_keys_of_{num_triples}", "s", seconds["keys"]),
        value_row(f"memory_added_by_keys_of_{num_triples}", "MiB", [added]),
        value_row(f"contains_{num_lookups}", "s", seconds["contains"]),
        value_row(f"known_tails_{num_lookups}", "s", seconds["known tails"]),
    ]


def write_triples(path: Path, num_triples: int, num_entities: int) -> None:
    """Random triples with labels as those of Freebase; a few entities are in many of them."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        for start in range(0, num_triples, LINES_AT_ONCE):
            size = min(LINES_AT_ONCE, num_triples - start)
            heads, tails = (_uneven(random, num_entities, size) for _ in range(2))
            relations = random.integers(NUM_RELATIONS, size=size)
            file.writelines(
                f"/m/0{head:07x}\t/people/person/relation_{relation}\t/m/0{tail:07x}\n"
                for head, relation, tail in zip(heads.tolist(), relations.tolist(), tails.tolist(), strict=True)
            )


def write_n_triples(path: Path, num_lines: int, num_entities: int) -> None:
    """Random triples of IRIs; a tenth of the lines are names, a tenth other literals."""
    random = np.random.default_rng(0)
    entity, relation = "<http://example.org/entity/Q{}>", "<http://example.org/prop/P{}>"
    kinds = [f"{entity} {relation} {entity} .\n"] * 8
    kinds.append(f'{entity} <http://www.w3.org/2000/01/rdf-schema#label> "The name of {{}}{{}}"@en .\n')
    kinds.append(f'{entity} {relation} "{{}}"^^<http://www.w3.org/2001/XMLSchema#integer> .\n')
    with path.open("w") as file:
        for start in range(0, num_lines, LINES_AT_ONCE):
            size = min(LINES_AT_ONCE, num_lines - start)
            heads, tails = (_uneven(random, num_entities, size).tolist() for _ in range(2))
            relations = random.integers(NUM_RELATIONS, size=size).tolist()
            file.writelines(
                kinds[place % len(kinds)].format(*triple)
                for place, triple in enumerate(zip(heads, relations, tails, strict=True))
            )


def _uneven(random: np.random.Generator, limit: int, size: int) -> Any:
    return (limit * random.random(size) ** 2).astype(np.int64)


def _kalm(path: Path) -> Callable[[], KnowledgeGraph]:
    return lambda: assemble(read_labelled(path, ReadOptions()))


def _labelled(path: Path) -> Callable[[], Any]:
    return lambda: read_labelled(path, ReadOptions())


def _walked(path: Path) -> Callable[[], None]:
    """Look at each triple as pyoxigraph gives it, and keep nothing."""
    import pyoxigraph

    def walk() -> None:
        for triple in pyoxigraph.parse(path=path):
            _ = (triple.subject.value, triple.predicate.value, triple.object.value)

    return walk


def _pykeen(path: Path) -> Callable[[], Any]:
    from pykeen.triples import TriplesFactory

    return lambda: TriplesFactory.from_path(path)


def _prepared(name: str, path: Path) -> Callable[[], Any]:
    """For a process of its own."""
    return {"kalm": _kalm, "pykeen": _pykeen}[name](path)


def _prepared_keys(num_triples: int, num_entities: int) -> Callable[[], Any]:
    """For a process of its own."""
    graph = _large_graph(num_triples, num_entities)
    return lambda: graph.known_tail_keys(["train"])


def _check_equal(path: Path) -> None:
    """Both have the same triples."""
    ours, theirs = _kalm(path)(), _pykeen(path)()
    labels = theirs.entity_id_to_label, theirs.relation_id_to_label
    if list(ours.entity_labels) != [labels[0][i] for i in range(len(labels[0]))]:
        raise ValueError("kalm and pykeen find different entities")
    # pykeen keeps each triple once, in order
    if not np.array_equal(np.unique(ours.triples["train"], axis=0), np.unique(theirs.mapped_triples.numpy(), axis=0)):
        raise ValueError("kalm and pykeen find different triples")


def _large_graph(num_triples: int, num_entities: int) -> KnowledgeGraph:
    random = np.random.default_rng(0)
    limits = (num_entities, NUM_RELATIONS, num_entities)
    triples = np.empty((num_triples, 3), np.int64)
    for column, limit in enumerate(limits):
        triples[:, column] = random.integers(limit, size=num_triples)
    labels, relations = range(num_entities), range(NUM_RELATIONS)
    return KnowledgeGraph(
        entity_labels=labels, entity_names=labels, entity_descriptions=labels,  # type: ignore[arg-type]
        relation_labels=relations, relation_names=relations, triples={"train": triples}, num_named=0,  # type: ignore[arg-type]
    )  # fmt: skip
