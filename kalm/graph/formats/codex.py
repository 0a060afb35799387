"""The folders of CoDEx: triples of several graphs, and one file of texts for each language."""

from pathlib import Path

from kalm.graph.account import Fault, Ledger
from kalm.graph.building import GraphBuilder, TextKind
from kalm.graph.files import read_blocks, require_file
from kalm.graph.formats.delimited import FORMATS
from kalm.graph.formats.folder import find_split, read_splits
from kalm.graph.formats.format import FolderLayout
from kalm.graph.formats.json_text import parse_json

KINDS: dict[str, TextKind] = {"entities": "entity_names", "relations": "relation_names"}


def find_triples(folder: Path, name: str | None = None) -> Path | None:
    """The folder of one graph's triples, `triples/NAME`; None where the folder is not laid out so.

    Args:
        folder: `data` of the published repository, the repository itself, or already one graph's `triples/NAME`.
        name: of the graph, such as `codex-s`; may be None where there is only one.

    Raises:
        ValueError: there are several and none is named.
    """
    if folder.resolve().parent.name == "triples" and find_split(folder, "train", FORMATS):
        return folder if (folder.resolve().parent.parent / "entities").is_dir() else None
    for parent in (folder, folder / "data"):
        places = parent / "triples"
        if not places.is_dir() or not (parent / "entities").is_dir():
            continue
        found = sorted(place for place in places.iterdir() if place.is_dir() and find_split(place, "train", FORMATS))
        chosen = [place for place in found if name in (None, place.name)]
        if len(chosen) > 1:
            raise ValueError(f"{places} holds {', '.join(place.name for place in found)}; say which is meant with "
                             f"data.path={chosen[0]}")  # fmt: skip
        if chosen:
            return chosen[0]
    return None


def read_codex(folder: Path, builder: GraphBuilder, name: str | None = None) -> None:
    """Add one graph's triples, and labels and descriptions in the language of the options.

    Args:
        folder, name: see `find_triples`.
        builder: takes them.

    Raises:
        ValueError: a file is missing or not JSON of the published form, or more lines are bad than may be.
    """
    triples = find_triples(folder, name)
    if triples is None:
        raise ValueError(f"{folder}: there is no triples/{name or 'NAME'}/train.txt beside entities/")
    read_splits(triples, builder, FORMATS)
    parent = triples.resolve().parent.parent
    for part, kind in KINDS.items():
        _read_texts(_find_texts(parent / part, builder.options.language), kind, builder)


def _find_texts(folder: Path, language: str) -> Path:
    if (folder / language).is_dir():
        return require_file(folder / language, f"{folder.name}.json")
    languages = sorted(place.name for place in folder.iterdir() if place.is_dir()) if folder.is_dir() else []
    if languages:
        raise ValueError(f"{folder}: no texts in data.language={language}; there are {', '.join(languages)}")
    return require_file(folder, f"{folder.name}.json")


def _read_texts(path: Path, kind: TextKind, builder: GraphBuilder) -> None:
    """`{id: {"label": ..., "description": ...}}`, one document whose texts are counted as its parts."""
    content = b"".join(block.content for block in read_blocks(path, Ledger(max_bad_lines=None).open(path)))
    account = builder.ledger.open(path, unit="texts")
    try:
        texts = parse_json(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; download it again") from None
    if not isinstance(texts, dict):
        raise ValueError(f'{path}: expected {{"id": {{"label": ..., "description": ...}}}}')
    account.lines = len(texts)
    labels, names, descriptions = [], [], []
    for number, (label, text) in enumerate(texts.items(), start=1):
        found = [text.get(key, "") for key in ("label", "description")] if isinstance(text, dict) else [None]
        if not all(isinstance(value, str) for value in found):
            account.refuse(Fault(number, f"{label} has no text label and description", "mend the entry"))
            continue
        account.read += 1
        labels.append(label)
        names.append(found[0])
        descriptions.append(found[1])
    builder.add_texts(kind, labels, names)
    if kind == "entity_names":
        builder.add_texts("entity_descriptions", labels, descriptions)


LAYOUT = FolderLayout(
    "codex",
    "triples/NAME/train.txt and so on, entities/LANGUAGE/entities.json, relations/LANGUAGE/relations.json",
    lambda folder: find_triples(folder) is not None,
    read_codex,
)
