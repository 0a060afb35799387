"""All formats, and which of them a path is of. A new one is a module and a line here."""

from pathlib import Path

from kalm.graph.building import GraphBuilder
from kalm.graph.columns import check_columns
from kalm.graph.formats import (
    codex,
    delimited,
    folder,
    json_lines,
    neo4j_csv,
    neo4j_json,
    own,
    parquet,
    rdf_documents,
    rdf_lines,
    simkgc,
    wikidata,
    wikidata5m,
)
from kalm.graph.formats.format import FileFormat, FolderLayout
from kalm.graph.labelled import LabelledGraph, ReadOptions

# the first that matches is taken: those that look into a file come before those that go by its name
FILE_FORMATS: tuple[FileFormat, ...] = (
    neo4j_json.FORMAT,
    wikidata.FORMAT,
    *delimited.FORMATS,
    parquet.FORMAT,
    *rdf_lines.FORMATS,
    *rdf_documents.FORMATS,
    json_lines.FORMAT,
)
# special layouts come before the general one
FOLDER_LAYOUTS: tuple[FolderLayout, ...] = (
    own.LAYOUT,
    *simkgc.LAYOUTS,
    wikidata5m.LAYOUT,
    codex.LAYOUT,
    neo4j_csv.LAYOUT,
    folder.layout(FILE_FORMATS),
)

UNPACK_FIRST = (".zip", ".tar", ".tgz", ".xz", ".zst", ".7z", ".rar")


def read_labelled(path: Path, options: ReadOptions, format_name: str | None = None) -> LabelledGraph:
    """Read the graph at a path.

    Args:
        path: a file of triples, or a folder.
        options: where the files do not say it themselves.
        format_name: the format's name; None finds it.

    Raises:
        ValueError: nothing is there, it has no known format, or more lines are bad than may be.
    """
    check_columns(options)
    found = recognise(path, format_name)
    builder = GraphBuilder(options)
    if isinstance(found, FileFormat):
        found.read(path, "train", builder)
    else:
        found.read(path, builder)
    return builder.finish(f"{path}: {found.shown}")


def recognise(path: Path, format_name: str | None = None) -> FileFormat | FolderLayout:
    """The format of what lies at a path.

    Raises:
        ValueError: nothing is there, or it has no known format, or `format_name` is not one.
    """
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder")
    if not path.is_file() and not path.is_dir():
        raise ValueError(f"{path}: neither a file nor a folder")
    known: tuple[FileFormat | FolderLayout, ...] = FOLDER_LAYOUTS if path.is_dir() else FILE_FORMATS
    if format_name is not None:
        for form in known:
            if form.name == format_name:
                return form
        kind = "folders" if path.is_dir() else "files"
        raise ValueError(
            f"data.format={format_name}: no format of {kind}; choose {', '.join(form.name for form in known)}"
        )
    for form in known:
        if form.matches(path):
            return form
    shown = "; ".join(form.shown for form in known)
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir())
        raise ValueError(f"{path}: there is no file train.txt or the like; a folder may be: {shown}. It holds "
                         f"{', '.join(inside[:5]) or 'nothing'}{', ...' if len(inside) > 5 else ''}")  # fmt: skip
    if path.suffix.lower() in UNPACK_FIRST:
        raise ValueError(f"{path}: an archive; unpack it and give what was in it")
    raise ValueError(f"{path}: unknown format; a file may be: {shown}. Rename it, or say which with data.format=NAME")
