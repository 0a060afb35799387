"""Further names of entities, from files."""

from pathlib import Path

from kalm.graph.account import Ledger
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.rows import read_rows

SEPARATOR = "|"  # between names


def read_aliases(path: Path, graph: KnowledgeGraph, max_bad_lines: int | None) -> tuple[dict[int, list[str]], int]:
    """Entity id -> further names, from lines `label<TAB>name|name`; and how many labels are no entity's.

    Args:
        path: the file, packed or not.
        graph: whose entities are meant.
        max_bad_lines: that may be left out; None: not one.

    Raises:
        ValueError: more of its lines are bad than may be.
    """
    place_of = {label: place for place, label in enumerate(graph.entity_labels)}
    aliases: dict[int, list[str]] = {}
    num_others = 0
    account = Ledger(max_bad_lines, "max_bad_lines").open(path)
    for _, (label, names) in read_rows(path, range(2, 3), account, lambda row: None if row[1].strip() else "no name"):
        if (place := place_of.get(label)) is None:
            num_others += 1
        else:
            aliases.setdefault(place, []).extend(filter(None, map(str.strip, names.split(SEPARATOR))))
    return aliases, num_others
