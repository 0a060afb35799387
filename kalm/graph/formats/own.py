"""kalm's own form of a graph: what `launch/data.py import` writes, and reading it again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kalm import __version__
from kalm.graph.building import GraphBuilder, TextKind
from kalm.graph.coverage import num_covered
from kalm.graph.formats.format import FolderLayout
from kalm.graph.formats.parquet import ROWS_AT_ONCE, read_parquet
from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples
from kalm.graph.readable import readable_entities
from kalm.graph.strings import Strings
from kalm.provenance import file_digest, whole_folder

ENTITIES, RELATIONS, SHEET = "entities.parquet", "relations.parquet", "datasheet.json"
FORM = 1  # of the files; raised when they change, so that an older kalm refuses them by name
TEXT_COLUMNS: dict[str, tuple[tuple[str, TextKind], ...]] = {
    ENTITIES: (("name", "entity_names"), ("description", "entity_descriptions")),
    RELATIONS: (("name", "relation_names"), ("inverse", "inverse_names")),
}


def write_graph(graph: KnowledgeGraph, folder: Path, negatives: Mapping[str, Triples | None]) -> None:
    """Write a graph that reads as the same one, and a data sheet of where it comes from; whole or not at all.

    Args:
        graph, folder: what, and where.
        negatives: split -> triples that are known to be false, where there are any.

    Raises:
        ValueError: the folder is there already, or cannot be written.
    """
    if folder.exists():
        raise ValueError(f"to={folder} is there already; import writes a new folder, so give another name or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as unfinished:
            _write(graph, unfinished, negatives)
    except OSError as error:
        raise ValueError(f"to={folder} cannot be written: {error}") from None


def _write(graph: KnowledgeGraph, folder: Path, negatives: Mapping[str, Triples | None]) -> None:
    for name, table in _tables(graph):
        pq.write_table(table, folder / name, compression="zstd")
    names = (graph.entity_labels, graph.relation_labels, graph.entity_labels)
    for split, triples in negatives.items():
        if triples is not None:
            lines = ("\t".join(labels[i] for labels, i in zip(names, row, strict=True)) for row in triples.tolist())
            (folder / f"{split}_negatives.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    content = json.dumps(_data_sheet(graph, folder), indent=2, ensure_ascii=False)
    (folder / SHEET).write_text(f"{content}\n", encoding="utf-8")


def read_own(folder: Path, builder: GraphBuilder) -> None:
    """Add what `write_graph` wrote.

    Raises:
        ValueError: a file is missing, damaged or of another version.
    """
    try:
        form = json.loads((folder / SHEET).read_text(encoding="utf-8"))["form"]
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise ValueError(
            f"{folder / SHEET}: not the data sheet of an imported graph ({error!r}); import it again"
        ) from None
    if form != FORM:
        raise ValueError(f"{folder}: written in form {form}, and this version reads {FORM}; import it again")
    for split in SPLITS:
        read_parquet(_there(folder / f"{split}.parquet"), split, builder)
    for name, columns in TEXT_COLUMNS.items():
        path = _there(folder / name)
        account = builder.ledger.open(path, unit="rows")
        try:
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(ROWS_AT_ONCE, columns=["id", *(column for column, _ in columns)]):
                    account.lines += part.num_rows
                    account.read += part.num_rows
                    for column, kind in columns:
                        builder.add_texts(kind, part.column("id"), part.column(column))
        except (pa.ArrowException, OSError, KeyError) as error:
            raise ValueError(f"{path}: not whole ({error}); import the graph again") from None


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: the file is missing; import the graph again")
    return path


def _tables(graph: KnowledgeGraph) -> list[tuple[str, pa.Table]]:
    entities, relations = Strings(graph.entity_labels).array, Strings(graph.relation_labels).array
    inverses = graph.inverse_names or [""] * graph.num_relations
    return [
        *((f"{split}.parquet", _triples(graph.triples[split], entities, relations)) for split in SPLITS),
        (ENTITIES, pa.table({"id": entities, "name": _given_names(graph),
                             "description": Strings(graph.entity_descriptions).array})),
        (RELATIONS, pa.table({"id": relations, "name": Strings(graph.relation_names).array,
                              "inverse": Strings(inverses).array})),
    ]  # fmt: skip


def _triples(triples: Triples, entities: pa.Array, relations: pa.Array) -> pa.Table:
    columns = {"head": (HEAD, entities), "relation": (RELATION, relations), "tail": (TAIL, entities)}
    return pa.table({name: labels.take(pa.array(triples[:, place])) for name, (place, labels) in columns.items()})


def _given_names(graph: KnowledgeGraph) -> pa.Array:
    """The names, without those that would be made from the ids anyway.

    Which of the names that equal a made one were given is not known, only how many: the first ones are taken to be,
    which gives the same names and the same count.
    """
    names = Strings(graph.entity_names).array
    is_made = pc.equal(names, readable_entities(Strings(graph.entity_labels).array)).to_numpy(zero_copy_only=False)
    num_given = graph.num_named - int(np.count_nonzero(~is_made))
    is_made[np.flatnonzero(is_made)[:num_given]] = False
    return pc.if_else(pa.array(is_made), "", names)


def _data_sheet(graph: KnowledgeGraph, folder: Path) -> dict[str, Any]:
    reading = graph.reading
    assert reading is not None
    sources = [{**account.as_json(), "sha256": _digest(Path(account.file))} for account in reading.accounts]
    return {
        "form": FORM,
        "kalm": __version__,
        "source": {**reading.as_json(), "files": sources},
        "counts": {"entities": graph.num_entities, "relations": graph.num_relations,
                   **{split: len(graph.triples[split]) for split in SPLITS}},
        "coverage": num_covered(graph),
        "digest": graph.digest(),
        "files": {path.name: _digest(path) for path in sorted(folder.iterdir())},
    }  # fmt: skip


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None for what is no file, such as a data frame."""
    return file_digest(path) if path.is_file() else None


LAYOUT = FolderLayout(
    "kalm",
    f"a graph that was imported: {', '.join(f'{split}.parquet' for split in SPLITS)}, {ENTITIES}, {RELATIONS}, {SHEET}",
    lambda folder: (folder / SHEET).is_file() and (folder / ENTITIES).is_file(),
    read_own,
)
