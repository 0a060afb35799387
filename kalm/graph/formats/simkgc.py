"""The folders of SimKGC: triples by tabs, and WordNet's or Freebase's texts as they were published."""

from pathlib import Path

from kalm.graph.building import GraphBuilder
from kalm.graph.files import find_file
from kalm.graph.formats.delimited import FORMATS
from kalm.graph.formats.folder import find_split, read_splits
from kalm.graph.formats.format import FolderLayout
from kalm.graph.texts import read_freebase_texts, read_relation_texts, read_wordnet_texts

WORDNET, FREEBASE = "wordnet-mlj12-definitions.txt", "FB15k_mid2name.txt"


def read_wordnet(folder: Path, builder: GraphBuilder) -> None:
    """Add WN18RR's triples, lemmas and definitions."""
    read_splits(folder, builder, FORMATS)
    read_wordnet_texts(folder, builder)
    read_relation_texts(folder, builder)


def read_freebase(folder: Path, builder: GraphBuilder) -> None:
    """Add FB15k-237's triples, names and descriptions."""
    read_splits(folder, builder, FORMATS)
    read_freebase_texts(folder, builder)
    read_relation_texts(folder, builder)


def _has(name: str, folder: Path) -> bool:
    return find_file(folder, name) is not None and find_split(folder, "train", FORMATS) is not None


LAYOUTS = (
    FolderLayout(
        "simkgc_wordnet", f"train, valid, test (.txt), {WORDNET}", lambda folder: _has(WORDNET, folder), read_wordnet
    ),
    FolderLayout(
        "simkgc_freebase",
        f"train, valid, test (.txt), {FREEBASE}, FB15k_mid2description.txt or fb-entity2text-new.txt",
        lambda folder: _has(FREEBASE, folder), read_freebase,
    ),
)  # fmt: skip
