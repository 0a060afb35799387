"""What a format is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kalm.graph.building import GraphBuilder
from kalm.graph.files import PACKED


@dataclass(frozen=True, slots=True)
class FileFormat:
    """Triples in one file; in a folder, one such file for each split.

    Args:
        name: what `data.format` calls it.
        shown: what it is and how its files are called, for messages.
        matches: whether a file is of this format, by its name or its first bytes; it may be packed.
        read: adds the triples of a file to the builder, as those of the split.
    """

    name: str
    shown: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str, GraphBuilder], None]


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Triples and texts in several files of one folder.

    Args:
        name: what `data.format` calls it.
        shown: what it is and which files it has, for messages.
        matches: whether a folder is laid out so, by the files in it.
        read: adds all triples and texts of the folder to the builder.
    """

    name: str
    shown: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, GraphBuilder], None]


def suffix(path: Path) -> str:
    """The end of a file's name in small letters, without that of its packing: `.tsv` of `train.TSV.gz`."""
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).suffix.lower()
