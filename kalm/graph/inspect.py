"""What a graph holds, in the few numbers that explain a result."""

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.strings import Strings


def coverage(graph: KnowledgeGraph) -> str:
    """One line: sizes, and how many entities have a name and a description of their own."""
    described = Strings(graph.entity_descriptions).num_filled
    splits = " / ".join(f"{len(rows):,} {split}" for split, rows in graph.triples.items())
    return (
        f"{graph.num_entities:,} entities, {graph.num_relations:,} relations, {splits} triples; "
        f"names for {_share(graph.num_named, graph.num_entities)}, "
        f"descriptions for {_share(described, graph.num_entities)} of the entities"
    )


def shown(graph: KnowledgeGraph) -> list[str]:
    """What is said of the reading: format, lines that gave nothing, repeated triples, notes."""
    return [] if graph.reading is None else graph.reading.lines()


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})"
