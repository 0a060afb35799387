"""What Neo4j's `apoc.export.json` writes: a node or a relationship on each line."""

import re
from pathlib import Path
from typing import Any

from kalm.graph.account import Account, Fault
from kalm.graph.building import GraphBuilder
from kalm.graph.files import Block, read_blocks, read_head
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.formats.json_text import one_line, parse_json

NAME_PROPERTIES = ("name", "title", "label")  # the first that a node has is its name
REMEDY = (
    'write {"type": "node", "id": ...}, or '
    '{"type": "relationship", "label": ..., "start": {"id": ...}, "end": {"id": ...}}'
)
_SIGN = re.compile(rb'^\s*\{.*?"type"\s*:\s*"(?:node|relationship)"')


def read_neo4j_json(path: Path, split: str, builder: GraphBuilder) -> None:
    """Add the relationships of a file as triples between the ids of nodes, and the texts of its nodes.

    See `node_texts` for these. Properties of relationships are left out, and that is told.

    Raises:
        ValueError: more lines are bad than may be.
    """
    builder.start_split(split)
    account = builder.ledger.open(path)
    num_properties = sum(_add(block, split, builder, account) for block in read_blocks(path, account))
    if num_properties:
        builder.note(f"{path.name}: {num_properties:,} relationships have properties, which were left out")


def node_texts(labels: list[str], properties: dict[str, Any]) -> tuple[str, str]:
    """Name and description of a node, empty where it has none.

    The name is the first of `NAME_PROPERTIES` that is text or a number; the description the property `description`,
    else the node's labels.
    """
    named = (_text(properties.get(key)) for key in NAME_PROPERTIES)
    name = next((text for text in named if text), "")
    return name, _text(properties.get("description")) or one_line(", ".join(labels))


def _add(block: Block, split: str, builder: GraphBuilder, account: Account) -> int:
    """The number of relationships with properties."""
    lines: list[int] = []
    columns: tuple[list[str], list[str], list[str]] = ([], [], [])
    texts: tuple[list[str], list[str], list[str]] = ([], [], [])
    faults: list[Fault] = []
    num_properties = 0
    for number, line in block.numbered_lines():
        if not line.strip():
            account.blank += 1
            continue
        try:
            found = parse_json(line)
            kind = found.get("type") if isinstance(found, dict) else None
            if kind == "node":
                values = (_id(found), *node_texts(_labels(found), _properties(found)))
                account.read += 1
            elif kind == "relationship":
                ends = [_id(_object(found, end)) for end in ("start", "end")]
                values = (ends[0], _relation(found), ends[1])
                lines.append(number)
                num_properties += bool(_properties(found))
            else:
                raise ValueError("neither a node nor a relationship")
        except ValueError as error:
            faults.append(Fault(number, str(error), REMEDY))
            if len(faults) > builder.options.max_bad_lines:
                break  # which `add` will say
            continue
        for column, value in zip(texts if kind == "node" else columns, values, strict=True):
            column.append(value)
    builder.add(split, *columns, account=account, lines=lines, faults=faults)
    builder.add_texts("entity_names", texts[0], texts[1])
    builder.add_texts("entity_descriptions", texts[0], texts[2])
    return num_properties


def _id(found: dict[str, Any]) -> str:
    value = found.get("id")
    if isinstance(value, str | int) and not isinstance(value, bool):
        text = str(value)
        if text.strip() and "\0" not in text:
            return text
    raise ValueError(f"an id that is no text or whole number: {str(value)[:40]!r}")


def _object(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"a relationship without {key}")
    return value


def _relation(found: dict[str, Any]) -> str:
    value = found.get("label")
    if not isinstance(value, str):
        raise ValueError("a relationship without label")
    return value


def _labels(found: dict[str, Any]) -> list[str]:
    value = found.get("labels", [])
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise ValueError("labels that are no list of texts")
    return value


def _properties(found: dict[str, Any]) -> dict[str, Any]:
    value = found.get("properties", {})
    if not isinstance(value, dict):
        raise ValueError("properties that are no object")
    return value


def _text(value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return one_line(str(value))
    return ""


FORMAT = FileFormat(
    "neo4j_json", "Neo4j's JSON lines by apoc.export.json (.json, .jsonl)",
    lambda path: suffix(path) in (".json", ".jsonl", ".ndjson") and bool(_SIGN.match(read_head(path))), read_neo4j_json,
)  # fmt: skip
