"""A folder with one file of triples for each split, and files with texts beside them."""

from collections.abc import Sequence
from pathlib import Path

from kalm.graph.building import GraphBuilder
from kalm.graph.formats.format import FileFormat, FolderLayout
from kalm.graph.knowledge_graph import SPLITS
from kalm.graph.texts import read_entity_texts, read_relation_texts

# what else the file of a split may be called
STEMS = {"train": ("train",), "valid": ("valid", "dev", "validation"), "test": ("test",)}


def layout(file_formats: Sequence[FileFormat]) -> FolderLayout:
    """The layout for files of any of the formats."""

    def read(folder: Path, builder: GraphBuilder) -> None:
        read_splits(folder, builder, file_formats)
        read_entity_texts(folder, builder)
        read_relation_texts(folder, builder)

    return FolderLayout(
        "folder",
        "train, valid or dev, test (.txt, .tsv, .csv, .parquet, .jsonl; .gz) and entity2text.txt, relation2text.txt",
        lambda folder: find_split(folder, "train", file_formats) is not None,
        read,
    )


def read_splits(folder: Path, builder: GraphBuilder, file_formats: Sequence[FileFormat]) -> None:
    """Add the triples of all splits; a folder with `train` alone is a graph that is not split.

    Raises:
        ValueError: a split is missing or there twice, or more lines are bad than may be.
    """
    found = {split: find_split(folder, split, file_formats) for split in SPLITS}
    if found["valid"] is None and found["test"] is None:
        del found["valid"], found["test"]
    for split, place in found.items():
        if place is None:
            raise ValueError(f"{folder}: there is no file {split}.txt (nor {_allowed(split)}); add it, or leave train "
                             "alone there, which is then split")  # fmt: skip
        path, file_format = place
        file_format.read(path, split, builder)


def find_split(folder: Path, split: str, file_formats: Sequence[FileFormat]) -> tuple[Path, FileFormat] | None:
    """The file of a split and its format; a plain file comes before the same one packed.

    Raises:
        ValueError: several files could be meant.
    """
    found: dict[str, tuple[Path, FileFormat]] = {}
    for path in sorted(folder.iterdir()):
        plain = path.name.removesuffix(".gz").removesuffix(".bz2")
        stem = plain.partition(".")[0]
        if stem in STEMS[split] and path.is_file():
            for file_format in file_formats:
                if file_format.matches(path):
                    found.setdefault(plain, (path, file_format))
                    break
    if len(found) > 1:
        raise ValueError(f"{folder}: {' and '.join(sorted(found))} could each be the split {split}; leave one there")
    return next(iter(found.values()), None)


def _allowed(split: str) -> str:
    stems = " or ".join(STEMS[split])
    return f"{stems} with .tsv, .csv, .parquet or .jsonl"
