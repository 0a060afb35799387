"""What a graph holds, in the few numbers that explain a result."""

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.strings import Strings


def coverage(graph: KnowledgeGraph) -> str:
    """One line: sizes, and how many entities have a name and a description of their own."""
    covered = num_covered(graph)
    splits = " / ".join(f"{len(rows):,} {split}" for split, rows in graph.triples.items())
    return (
        f"{graph.num_entities:,} entities, {graph.num_relations:,} relations, {splits} triples; "
        f"names for {share(covered['named'], graph.num_entities)}, "
        f"descriptions for {share(covered['described'], graph.num_entities)} of the entities"
    )


def num_covered(graph: KnowledgeGraph) -> dict[str, int]:
    """How many entities have a name and a description of their own, and relations an inverse with a text."""
    texts = {"described": graph.entity_descriptions, "inverses": graph.inverse_names}
    return {"named": graph.num_named, **{kind: Strings(found).num_filled for kind, found in texts.items()}}


def shown(graph: KnowledgeGraph) -> list[str]:
    """What is said of the reading: format, lines that gave nothing, repeated triples, notes."""
    return [] if graph.reading is None else graph.reading.lines()


def share(part: int, whole: int) -> str:
    """A number, and which share of the whole it is."""
    return f"{part:,} ({part / max(whole, 1):.1%})"
