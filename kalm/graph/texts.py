"""Files that give entities and relations their texts."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from kalm.graph.building import GraphBuilder
from kalm.graph.files import find_file, require_file
from kalm.graph.rows import read_texts


def read_entity_texts(folder: Path, builder: GraphBuilder) -> None:
    """`entity2text.txt`: id, name and, as a third column, a description; else from `entity2textlong.txt`."""
    if path := find_file(folder, "entity2textlong.txt"):
        for labels, texts in read_texts(path, builder.ledger.open(path), range(2, 3)):
            builder.add_texts("entity_descriptions", labels, texts)
    if path := find_file(folder, "entity2text.txt"):
        for labels, names, texts in read_texts(path, builder.ledger.open(path), range(2, 4)):
            builder.add_texts("entity_names", labels, names)
            builder.add_texts("entity_descriptions", labels, texts)


def read_relation_texts(folder: Path, builder: GraphBuilder) -> None:
    """`relation2text.txt`: id and text; `relation_inverse.txt`: id and text of the inverse."""
    for name, kind in (("relation2text.txt", "relation_names"), ("relation_inverse.txt", "inverse_names")):
        if path := find_file(folder, name):
            for labels, texts in read_texts(path, builder.ledger.open(path), range(2, 3)):
                builder.add_texts(kind, labels, texts)  # type: ignore[arg-type]


def read_wordnet_texts(folder: Path, builder: GraphBuilder) -> None:
    """`wordnet-mlj12-definitions.txt`: id, `__lemma_words_POS_n`, definition."""
    path = require_file(folder, "wordnet-mlj12-definitions.txt")
    for labels, senses, definitions in read_texts(path, builder.ledger.open(path), range(3, 4)):
        lemmas = [sense.removeprefix("__").rsplit("_", 2)[0].replace("_", " ") for sense in _list(senses)]
        builder.add_texts("entity_names", labels, lemmas)
        # a run of spaces is where two different glosses were joined by mistake: keep the first
        first = [re.split(r"\s{2,}", definition.strip())[0] for definition in _list(definitions)]
        builder.add_texts("entity_descriptions", labels, first)


def read_freebase_texts(folder: Path, builder: GraphBuilder) -> None:
    """Names from `FB15k_mid2name.txt`, else `entity2text.txt`; descriptions from whichever file is there."""
    path = require_file(folder, "FB15k_mid2name.txt", "entity2text.txt")
    for labels, names in read_texts(path, builder.ledger.open(path), range(2, 3)):
        builder.add_texts("entity_names", labels, [name.replace("_", " ") for name in _list(names)])
    if path_long := find_file(folder, "FB15k_mid2description.txt"):
        for labels, texts in read_texts(path_long, builder.ledger.open(path_long), range(2, 3)):
            bare = [text.strip().removesuffix("@en").strip('"') for text in _list(texts)]
            builder.add_texts("entity_descriptions", labels, [_unescape(text) for text in bare])
    elif path_long := find_file(folder, "fb-entity2text-new.txt"):
        for labels, texts in read_texts(path_long, builder.ledger.open(path_long), range(2, 3)):
            # lines without the separator hold a name only
            after = [text.partition(" -- ")[2] for text in _list(texts)]
            builder.add_texts("entity_descriptions", labels, [_unescape(text) for text in after])


def _list(texts: Any) -> list[str]:
    return texts.to_pylist() if isinstance(texts, pa.Array) else texts  # type: ignore[no-any-return]


def _unescape(text: str) -> str:
    """Freebase dumps hold the two characters backslash and n for a line end, and escaped quotes."""
    return " ".join(text.replace("\\n", " ").replace('\\"', '"').replace("\\", "").split())
