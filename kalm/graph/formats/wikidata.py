"""The JSON dump of Wikidata: an array with an entity on each line.

- Truthy statements are read: those of a property's preferred rank if it has any, else those of normal rank.
- Of these the ones whose value is an item are triples; the others are left out, and that is told.
- Names are labels in the language wanted, then those for all languages (`mul`), then the first alias in the language,
  then the label whose language tag comes first in the alphabet.
- A property's entity names the relation; its own statements, and lexemes, are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kalm.graph.account import Account, Fault
from kalm.graph.building import GraphBuilder
from kalm.graph.files import Block, read_blocks, read_head
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.formats.json_text import one_line, parse_json

MAX_FIRST = 2**22  # bytes of the first entity that are looked at to tell a dump from other JSON
ALL_LANGUAGES = "mul"
REMEDY = "mend the line; a dump has one entity of Wikidata on each"
_ID = re.compile(r"[QP][1-9][0-9]*")
_SIGN = re.compile(rb'^\s*(?:\[\s*)?\{(?=.*"(?:claims|labels)"\s*:).*"type"\s*:\s*"(?:item|property)"', re.DOTALL)


@dataclass(slots=True)
class _Found:
    """What is in a block."""

    lines: list[int] = field(default_factory=list)  # of each triple
    triples: tuple[list[str], list[str], list[str]] = field(default_factory=lambda: ([], [], []))
    texts: dict[str, tuple[list[str], list[str], list[str]]] = field(default_factory=dict)  # of items, of properties
    num_left_out: int = 0  # truthy statements


def read_wikidata(path: Path, split: str, builder: GraphBuilder) -> None:
    """Add the triples and texts of a dump, plain or packed.

    Raises:
        ValueError: more lines are bad than may be.
    """
    builder.start_split(split)
    account = builder.ledger.open(path)
    num_left_out = sum(_add(block, split, builder, account) for block in read_blocks(path, account))
    if num_left_out:
        builder.note(f"{path.name}: {num_left_out:,} truthy statements left out whose value is no item")


def _add(block: Block, split: str, builder: GraphBuilder, account: Account) -> int:
    """The number of truthy statements that were left out."""
    found = _Found(texts={"item": ([], [], []), "property": ([], [], [])})
    faults: list[Fault] = []
    for number, line in block.numbered_lines():
        bare = line.strip()
        if not bare:
            account.blank += 1
            continue
        if bare in (b"[", b"]"):
            account.comment += 1
            continue
        try:
            is_read = _take(parse_json(bare.removesuffix(b",")), number, found, builder.options.language)
        except ValueError as error:
            faults.append(Fault(number, str(error), REMEDY))
            if len(faults) > builder.options.max_bad_lines:
                break  # which `add` will say
            continue
        if is_read:
            account.read += 1
        else:
            account.comment += 1
    # a line has been counted, however many triples it has
    builder.add(
        split, *found.triples, account=account, lines=found.lines, num_lines=[0] * len(found.lines), faults=faults
    )
    for kind, (labels, names, descriptions) in found.texts.items():
        builder.add_texts("entity_names" if kind == "item" else "relation_names", labels, names)
        if kind == "item":
            builder.add_texts("entity_descriptions", labels, descriptions)
    return found.num_left_out


def _take(entity: Any, number: int, found: _Found, language: str) -> bool:
    """Add what a line holds; whether it holds an item or a property.

    Raises:
        ValueError: it is no entity; nothing of it is added then.
    """
    if not isinstance(entity, dict):
        raise ValueError("no entity: not an object")
    kind, label = entity.get("type"), entity.get("id")
    if not isinstance(kind, str) or not isinstance(label, str):
        raise ValueError("an entity without id or type")
    if kind not in found.texts:
        return False
    if not _ID.fullmatch(label):
        raise ValueError(
            f"{label[:40]!r} is no id of {'an item such as Q42' if kind == 'item' else 'a property such as P31'}"
        )
    name, description = _texts(entity, language)
    statements = list(_truthy(_object(entity, "claims"))) if kind == "item" else []
    for column, text in zip(found.texts[kind], (label, name, description), strict=True):
        column.append(text)
    for relation, value in statements:
        if value is None:
            found.num_left_out += 1
            continue
        found.lines.append(number)
        for column, text in zip(found.triples, (label, relation, value), strict=True):
            column.append(text)
    return True


def _truthy(claims: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Property and value of each truthy statement; None for a value that is no item."""
    for relation, statements in claims.items():
        if not _ID.fullmatch(relation) or not isinstance(statements, list):
            raise ValueError(f"claims of {relation[:40]!r} that are no list of a property's statements")
        if not all(isinstance(statement, dict) for statement in statements):
            raise ValueError(f"a statement of {relation} that is no object")
        ranks = [statement.get("rank", "normal") for statement in statements]
        best = "preferred" if "preferred" in ranks else "normal"
        for statement, rank in zip(statements, ranks, strict=True):
            if rank == best:
                yield relation, _item(statement.get("mainsnak"))


def _item(snak: Any) -> str | None:
    """The item that is a statement's value, or None."""
    data = snak.get("datavalue") if isinstance(snak, dict) and snak.get("snaktype") == "value" else None
    value = data.get("value") if isinstance(data, dict) and data.get("type") == "wikibase-entityid" else None
    if not isinstance(value, dict) or value.get("entity-type") != "item":
        return None
    label = value.get("id", f"Q{value.get('numeric-id')}")  # old dumps have the number alone
    if not isinstance(label, str) or not _ID.fullmatch(label):
        raise ValueError(f"a statement whose value is no id of an item: {str(label)[:40]!r}")
    return label


def _texts(entity: dict[str, Any], language: str) -> tuple[str, str]:
    """Name and description, empty where there is none."""
    labels, descriptions = ({tag: _text(entry) for tag, entry in _object(entity, key).items()}
                            for key in ("labels", "descriptions"))  # fmt: skip
    aliases = _object(entity, "aliases").get(language) or []
    alias = _text(aliases[0]) if isinstance(aliases, list) and aliases else ""
    return _choose(labels, language, alias), _own_language(descriptions, language)


def _choose(texts: dict[str, str], language: str, alias: str) -> str:
    others = (texts[tag] for tag in sorted(texts))
    return next((text for text in (texts.get(language), texts.get(ALL_LANGUAGES), alias, *others) if text), "")


def _own_language(texts: dict[str, str], language: str) -> str:
    # a name in any language is better than an id, a sentence in another one is not better than none
    return texts.get(language) or texts.get(ALL_LANGUAGES) or ""


def _text(entry: Any) -> str:
    value = entry.get("value") if isinstance(entry, dict) else None
    if not isinstance(value, str):
        raise ValueError("a label, description or alias without a value")
    return one_line(value)


def _object(entity: dict[str, Any], key: str) -> dict[str, Any]:
    """A part of an entity; an empty one may be missing, or a list as PHP writes it."""
    value = entity.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} that are no object")
    return value


FORMAT = FileFormat(
    "wikidata", "Wikidata's JSON dump (.json, .json.gz, .json.bz2)",
    lambda path: suffix(path) in (".json", ".jsonl", ".ndjson") and bool(_SIGN.match(read_head(path, MAX_FIRST))),
    read_wikidata,
)  # fmt: skip
