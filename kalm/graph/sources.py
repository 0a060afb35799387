"""Where graphs come from: named data sets, and files and folders of one's own."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kalm.graph.assemble import assemble
from kalm.graph.building import GraphBuilder
from kalm.graph.columns import check_columns
from kalm.graph.files import find_file
from kalm.graph.formats.folder import read_splits
from kalm.graph.formats.registry import FILE_FORMATS, read_labelled
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph, Triples, contains, triple_keys
from kalm.graph.labelled import LabelledGraph, ReadOptions
from kalm.graph.rows import read_rows
from kalm.graph.splitting import SplitOptions, split_graph
from kalm.graph.texts import read_entity_texts, read_freebase_texts, read_relation_texts, read_wordnet_texts

# data sets whose files need a reader of their own for the entities' texts
NAMED: dict[str, Callable[[Path, GraphBuilder], None]] = {
    "umls": read_entity_texts,
    "wn18rr": read_wordnet_texts,
    "fb15k237": read_freebase_texts,
}


def load_graph(
    source: str,
    path: Path | None,
    options: ReadOptions | None = None,
    *,
    format_name: str | None = None,
    split: SplitOptions | None = None,
) -> KnowledgeGraph:
    """Read a graph.

    Args:
        source: a key of `NAMED`, or `folder` for whatever lies at the path.
        path: where its files are; None takes the copy inside pykeen, for sources that have one.
        options: how to read them where they do not say it themselves.
        format_name: of a file or folder of one's own; None finds it.
        split: how to split a graph that is not split; None refuses it.

    Raises:
        ValueError: a file is missing, more lines are bad than may be, or a split is empty.
    """
    options = options or ReadOptions()
    if source in NAMED:
        labelled = _read_named(source, path or pykeen_folder(source), options)
    else:
        assert path is not None
        labelled = read_labelled(path, options, format_name)
    graph = assemble(labelled)
    if set(graph.triples) == {"train"}:
        if split is None or source in NAMED:
            raise ValueError(f"{path}: there is no file valid.txt, nor test.txt; add them")
        graph = split_graph(graph, split)
    for name in SPLITS:
        if not len(graph.triples[name]):
            file = next(
                (account.file for account in labelled.accounts if Path(account.file).name.startswith(name)), path
            )
            raise ValueError(f"{file}: the split is empty; expected lines of head, relation, tail")
    return graph


def _read_named(source: str, folder: Path, options: ReadOptions) -> LabelledGraph:
    check_columns(options)
    builder = GraphBuilder(options)
    read_splits(folder, builder, FILE_FORMATS)
    NAMED[source](folder, builder)
    read_relation_texts(folder, builder)
    return builder.finish(f"{folder}: {source}")


def load_negatives(source: str, folder: Path | None, graph: KnowledgeGraph, split: str) -> Triples | None:
    """The triples of `SPLIT_negatives.txt`, which are known to be false; None where there is no such file.

    Args:
        source, folder: as for `load_graph`.
        graph: what that gave.
        split: of the negatives.

    Raises:
        ValueError: a line is malformed, holds an entity or relation that the graph lacks, or a triple that it holds.
    """
    path = find_file(folder or pykeen_folder(source), f"{split}_negatives.txt")
    if path is None:
        return None
    entity_ids = {label: i for i, label in enumerate(graph.entity_labels)}
    relation_ids = {label: i for i, label in enumerate(graph.relation_labels)}
    rows, numbers = [], []
    for number, (head, relation, tail) in read_rows(path, range(3, 4)):
        unknown = [label for label in (head, tail) if label not in entity_ids]
        unknown += [relation] if relation not in relation_ids else []
        if unknown:
            raise ValueError(f"{path}:{number}: {unknown[0]} occurs in no split; a negative joins what the graph has")
        rows.append([head, relation, tail])
        numbers.append(number)
    if not rows:
        raise ValueError(f"{path}: the file is empty; expected lines of head, relation, tail")
    negatives = _to_ids(rows, entity_ids, relation_ids)
    sizes = (graph.num_relations, graph.num_entities)
    is_known = contains(graph.known_tail_keys(SPLITS), triple_keys(negatives, *sizes))
    if is_known.any():
        raise ValueError(f"{path}:{numbers[int(is_known.argmax())]}: this triple is in the graph, so it is no negative")
    return negatives


def pykeen_folder(source: str) -> Path:
    """The folder of a data set that pykeen ships.

    pykeen is located, not imported: its import takes seconds and kalm needs the files only.

    Raises:
        ValueError: pykeen is not installed, or it ships no such data set.
    """
    spec = importlib.util.find_spec("pykeen")
    if spec is None or spec.origin is None:
        raise ValueError(f"data={source} is read from the package pykeen: pip install pykeen, or set data.root")
    folder = Path(spec.origin).parent / "datasets" / source
    if not folder.is_dir():
        raise ValueError(f"data={source} needs its files: set data.root to the folder that holds train.txt")
    return folder


def _to_ids(rows: list[list[str]], entity_ids: dict[str, int], relation_ids: dict[str, int]) -> Triples:
    return np.array([(entity_ids[h], relation_ids[r], entity_ids[t]) for h, r, t in rows], dtype=np.int64)
