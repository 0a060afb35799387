"""Entities that the graph has never seen: read, checked and put after its own, without training."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kalm.evaluation.loaded_run import LoadedRun
from kalm.graph.rows import read_rows
from kalm.serving.json_lines import read_json_lines
from kalm.text.token_table import build_token_table


class NewEntity(NamedTuple):
    label: str  # tells it from others of the same name
    name: str
    description: str  # may be empty


def read_candidates(path: Path) -> list[NewEntity]:
    """The entities of a file: lines of name and, after a tab, description; or JSON lines with these keys (.jsonl).

    The label of each is its file and line, as in `new.tsv:3`.

    Raises:
        ValueError: there is no such file, it is empty, a line has no name, or two lines have the same.
    """
    if not path.is_file():
        raise ValueError(f"candidates: there is no file {path}")
    first_line: dict[str, int] = {}
    entities = []
    for number, name, description in _json_rows(path) if path.suffix == ".jsonl" else _tab_rows(path):
        if not name:
            raise ValueError(f"{path}:{number}: the candidate has no name; expected a name and, if any, a description")
        first = first_line.setdefault(name.casefold(), number)
        if first != number:
            raise ValueError(f"{path}:{number}: {name!r} stands in line {first} already; give each candidate one line "
                             "and a name of its own")  # fmt: skip
        entities.append(NewEntity(f"{path.name}:{number}", name, description))
    if not entities:
        raise ValueError(f"{path}: the file is empty; expected a candidate per line")
    return entities


def with_new_entities(run: LoadedRun, new: Sequence[NewEntity]) -> LoadedRun:
    """The run with more entities in graph and token table: ids N, N + 1, ... in the order of `new`."""
    if not new:
        return run
    labels, names, descriptions = ([entity[part] for entity in new] for part in range(3))
    graph = run.graph
    alone = replace(graph, entity_labels=labels, entity_names=names, entity_descriptions=descriptions, triples={})
    joined = replace(
        graph,
        entity_labels=[*graph.entity_labels, *labels],
        entity_names=[*graph.entity_names, *names],
        entity_descriptions=[*graph.entity_descriptions, *descriptions],
    )
    table = run.table.with_entities(build_token_table(alone, run.tokenizer, run.template))
    return replace(run, graph=joined, table=table)


def _tab_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, (name, *description) in read_rows(path, range(1, 3)):
        yield number, name.strip(), "".join(description).strip()


def _json_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, row in read_json_lines(path.read_bytes(), str(path), ("name", "description")):
        name, description = (" ".join((row.get(key) or "").split()) for key in ("name", "description"))
        yield number, name, description
