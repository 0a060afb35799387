"""Where graphs come from: named data sets, and folders with triples and text."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kalm.graph.files import find_file, read_rows, require_file
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph, Triples, contains, triple_keys

# label -> (name, description); a description may be empty
EntityTexts = dict[str, tuple[str, str]]


def load_graph(source: str, folder: Path | None) -> KnowledgeGraph:
    """Read a graph.

    Args:
        source: a key of `SOURCES`.
        folder: where its files are; None takes the copy inside pykeen, for sources that have one.

    Raises:
        ValueError: a file is missing, a line is malformed, or a split is empty.
    """
    if folder is None:
        folder = pykeen_folder(source)
    labelled = {split: _read_triples(folder, split) for split in SPLITS}
    entity_labels = sorted({label for rows in labelled.values() for row in rows for label in (row[0], row[2])})
    relation_labels = sorted({row[1] for rows in labelled.values() for row in rows})
    entity_ids = {label: i for i, label in enumerate(entity_labels)}
    relation_ids = {label: i for i, label in enumerate(relation_labels)}
    triples = {split: _to_ids(rows, entity_ids, relation_ids) for split, rows in labelled.items()}
    texts = SOURCES[source](folder)
    relation_texts = _relation_texts(folder)
    named = [texts.get(label, ("", "")) for label in entity_labels]
    return KnowledgeGraph(
        entity_labels=entity_labels,
        entity_names=[name or readable(label) for label, (name, _) in zip(entity_labels, named, strict=True)],
        entity_descriptions=[description for _, description in named],
        relation_labels=relation_labels,
        relation_names=[relation_texts.get(label) or readable(label) for label in relation_labels],
        triples=triples,
        num_named=sum(bool(name) for name, _ in named),
    )


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


def readable(label: str) -> str:
    """An id in readable form: `/people/person/birth_place` -> `people person birth place`."""
    return re.sub(r"[\s_/.]+", " ", label).strip() or label


def _read_triples(folder: Path, split: str) -> list[list[str]]:
    path = require_file(folder, f"{split}.txt")
    rows = []
    for number, columns in read_rows(path, range(3, 4)):
        if not all(column.strip() for column in columns):
            raise ValueError(f"{path}:{number}: an empty column; expected head, relation, tail")
        rows.append(columns)
    if not rows:
        raise ValueError(f"{path}: the split is empty; expected lines of head, relation, tail")
    return rows


def _to_ids(rows: list[list[str]], entity_ids: dict[str, int], relation_ids: dict[str, int]) -> Triples:
    return np.array([(entity_ids[h], relation_ids[r], entity_ids[t]) for h, r, t in rows], dtype=np.int64)


def _relation_texts(folder: Path) -> dict[str, str]:
    path = find_file(folder, "relation2text.txt")
    if path is None:
        return {}
    return {label: text.strip() for _, (label, text) in read_rows(path, range(2, 3))}


def _folder_texts(folder: Path) -> EntityTexts:
    """`entity2text.txt`: id, name and, as a third column, a description; else from `entity2textlong.txt`."""
    descriptions: dict[str, str] = {}
    if long_path := find_file(folder, "entity2textlong.txt"):
        descriptions = {label: text.strip() for _, (label, text) in read_rows(long_path, range(2, 3))}
    path = find_file(folder, "entity2text.txt")
    rows = [columns for _, columns in read_rows(path, range(2, 4))] if path else []
    texts = {label: ("", description) for label, description in descriptions.items()}
    for label, name, *rest in rows:
        texts[label] = (name.strip(), rest[0].strip() if rest else descriptions.get(label, ""))
    return texts


def _wn18rr_texts(folder: Path) -> EntityTexts:
    """`wordnet-mlj12-definitions.txt`: id, `__lemma_words_POS_n`, definition."""
    path = require_file(folder, "wordnet-mlj12-definitions.txt")
    texts: EntityTexts = {}
    for _, (label, sense, definition) in read_rows(path, range(3, 4)):
        lemma = sense.removeprefix("__").rsplit("_", 2)[0]
        # a run of spaces is where two different glosses were joined by mistake: keep the first
        texts[label] = (lemma.replace("_", " ").strip(), re.split(r"\s{2,}", definition.strip())[0])
    return texts


def _fb15k237_texts(folder: Path) -> EntityTexts:
    """Names from `FB15k_mid2name.txt`, else `entity2text.txt`; descriptions from whichever file is there."""
    name_path = require_file(folder, "FB15k_mid2name.txt", "entity2text.txt")
    names = {label: name.replace("_", " ").strip() for _, (label, name) in read_rows(name_path, range(2, 3))}
    descriptions: dict[str, str] = {}
    if path := find_file(folder, "FB15k_mid2description.txt"):
        for _, (label, text) in read_rows(path, range(2, 3)):
            descriptions[label] = _unescape(text.strip().removesuffix("@en").strip('"'))
    elif path := find_file(folder, "fb-entity2text-new.txt"):
        for _, (label, text) in read_rows(path, range(2, 3)):
            # lines without the separator hold a name only
            descriptions[label] = _unescape(text.partition(" -- ")[2])
    return {label: (names.get(label, ""), descriptions.get(label, "")) for label in names | descriptions}


def _unescape(text: str) -> str:
    """Freebase dumps hold the two characters backslash and n for a line end, and escaped quotes."""
    return " ".join(text.replace("\\n", " ").replace('\\"', '"').replace("\\", "").split())


SOURCES: dict[str, Callable[[Path], EntityTexts]] = {
    "umls": _folder_texts,
    "wn18rr": _wn18rr_texts,
    "fb15k237": _fb15k237_texts,
    "folder": _folder_texts,
}
