"""JSON lines: an object with head, relation and tail, or an array of the three, on each line."""

import json
from pathlib import Path
from typing import Any

from kalm.graph.account import Account, Fault
from kalm.graph.building import GraphBuilder
from kalm.graph.columns import are_numbers, find_columns, names_roles
from kalm.graph.files import Block, read_blocks
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.formats.json_text import parse_json
from kalm.graph.labelled import ReadOptions

REMEDY = 'write {"head": ..., "relation": ..., "tail": ...}'


def read_json_lines(path: Path, split: str, builder: GraphBuilder) -> None:
    """Add the triples of a file. A label is a string or a whole number.

    Raises:
        ValueError: more lines are bad than may be.
    """
    builder.start_split(split)
    account = builder.ledger.open(path)
    for block in read_blocks(path, account):
        _add(block, split, builder, account)


def _add(block: Block, split: str, builder: GraphBuilder, account: Account) -> None:
    lines: list[int] = []
    columns: tuple[list[str], list[str], list[str]] = ([], [], [])
    faults: list[Fault] = []
    for number, line in block.numbered_lines():
        if not line.strip():
            account.blank += 1
            continue
        try:
            labels = _labels(line, builder.options)
        except ValueError as error:
            faults.append(Fault(number, str(error), REMEDY))
            if len(faults) > builder.options.max_bad_lines:
                break  # which `add` will say
            continue
        for column, label in zip(columns, labels, strict=True):
            column.append(label)
        lines.append(number)
    builder.add(split, *columns, account=account, lines=lines, faults=faults)


def _labels(line: bytes, options: ReadOptions) -> list[str]:
    """Head, relation and tail of one line."""
    found = parse_json(line)
    if isinstance(found, dict):
        names = list(found)
        values = list(found.values())
        if options.columns is not None and are_numbers(options.columns):
            raise ValueError("an object has no numbered columns: give data.columns by name")
    elif isinstance(found, list):
        names, values = None, found
    else:
        raise ValueError("neither an object nor an array")
    if names is not None and options.columns is None and not names_roles(names):
        raise ValueError(f"the keys are {', '.join(names)[:80]}, expected head, relation, tail; or say which with "
                         "data.columns")  # fmt: skip
    places = find_columns(names, len(values), options, "")
    return [_label(values[place]) for place in places]


def _label(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    shown = json.dumps(value)
    raise ValueError(f"{shown[:40]} is no label, which is a string or a whole number")


FORMAT = FileFormat(
    "json_lines", "JSON lines with head, relation, tail (.jsonl, .ndjson)",
    lambda path: suffix(path) in (".jsonl", ".ndjson"), read_json_lines,
)  # fmt: skip
