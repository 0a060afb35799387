"""Where graphs come from: named data sets, and files and folders of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kalm.graph.assemble import assemble
from kalm.graph.building import GraphBuilder
from kalm.graph.columns import check_columns
from kalm.graph.files import find_file
from kalm.graph.formats.codex import find_triples
from kalm.graph.formats.registry import read_labelled
from kalm.graph.in_memory import from_triples_factories
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph, Triples, contains, triple_keys
from kalm.graph.labelled import LabelledGraph, ReadOptions
from kalm.graph.named import CODEX, NAMED, find_data_set
from kalm.graph.rows import read_rows
from kalm.graph.splitting import SplitOptions, split_graph


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
        folder = path or find_data_set(source, cache=None)
        check_columns(options)
        builder = GraphBuilder(options)
        NAMED[source].read(folder, builder)
        return complete(builder.finish(f"{folder}: {source}"), folder, split=None)
    assert path is not None
    return complete(read_labelled(path, options, format_name), path, split)


def load_pykeen(name: str) -> KnowledgeGraph:
    """Read a data set of pykeen's, which downloads it on first use.

    Args:
        name: as pykeen knows it, in any case.

    Raises:
        ValueError: pykeen is not installed, has no such data set, or cannot download it.
    """
    try:
        from pykeen.datasets import get_dataset
    except ImportError:
        raise ValueError(f"data.pykeen={name} needs pykeen: pip install pykeen") from None
    try:
        data_set: Any = get_dataset(dataset=name)
        factories = dict(zip(SPLITS, (data_set.training, data_set.validation, data_set.testing), strict=True))
    except (OSError, ValueError, LookupError) as error:
        shown = " ".join(str(error).split())[:300]
        raise ValueError(
            f"data.pykeen={name}: pykeen gives no such data set ({type(error).__name__}: {shown}); without a network, "
            "set data.path to a folder with train.txt, valid.txt and test.txt"
        ) from None
    labelled = from_triples_factories(factories)
    # what a data set says of its files is not what pykeen gives
    note = ("pykeen leaves out triples of valid and test with an entity or relation that train lacks, and repeated "
            "ones, before kalm sees them; data.path=FOLDER with the files themselves reads all")  # fmt: skip
    return complete(replace(labelled, notes=(*labelled.notes, note)), Path(name), split=None)


def complete(labelled: LabelledGraph, place: Path, split: SplitOptions | None) -> KnowledgeGraph:
    """The graph of ids, with train, valid and test.

    Args:
        labelled: as it was read.
        place: what it was read from, for messages.
        split: how to split a graph that is not split; None refuses it.

    Raises:
        ValueError: a split is missing or empty, or nothing can be held out.
    """
    if not any(len(codes) for codes in labelled.triples.values()):
        raise ValueError(f"{place}: no triple in it; expected lines of head, relation, tail")
    graph = assemble(labelled)
    if set(graph.triples) == {"train"}:
        if split is None:
            raise ValueError(f"{place}: there is no file valid.txt, nor test.txt; add them")
        graph = split_graph(graph, split)
    for name in SPLITS:
        if not len(graph.triples[name]):
            file = next(
                (account.file for account in labelled.accounts if Path(account.file).name.startswith(name)), place
            )
            raise ValueError(f"{file}: the split is empty; expected lines of head, relation, tail")
    return graph


def load_negatives(source: str, folder: Path | None, graph: KnowledgeGraph, split: str) -> Triples | None:
    """The triples of `SPLIT_negatives.txt`, which are known to be false; None where there is no such file.

    Args:
        source, folder: as for `load_graph`.
        graph: what that gave.
        split: of the negatives.

    Raises:
        ValueError: a line is malformed, holds an entity or relation that the graph lacks, or a triple that it holds.
    """
    folder = folder or find_data_set(source, cache=None)
    if folder.is_dir():
        folder = find_triples(folder, CODEX.get(source)) or folder
    path = find_file(folder, f"{split}_negatives.txt")
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


def _to_ids(rows: list[list[str]], entity_ids: dict[str, int], relation_ids: dict[str, int]) -> Triples:
    return np.array([(entity_ids[h], relation_ids[r], entity_ids[t]) for h, r, t in rows], dtype=np.int64)
