"""How a graph's names and descriptions become the three segments of a sequence."""

from dataclasses import dataclass

from kalm.config import TemplateConfig
from kalm.graph.knowledge_graph import KnowledgeGraph


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """The texts of one kind of segment, in parts that are tokenised apart and then joined.

    Args:
        names: one text per segment, cut at `max_name_tokens`.
        descriptions: one text per segment, cut at `max_description_tokens`; empty where there is none.
        end: closes every segment, never cut, so that a site is the same token in each.
    """

    names: list[str]
    descriptions: list[str]
    end: str


def head_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per entity; its last token is the entity site."""
    return Segments(
        names=[template.head.format(name=name) for name in graph.entity_names],
        descriptions=[
            template.description.format(description=text) if text else "" for text in graph.entity_descriptions
        ],
        end=template.head_end,
    )


def relation_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per directed relation, the R inverses last; its last token is the query site."""
    names = [template.relation.format(relation=name) for name in graph.relation_names]
    names += [template.inverse_relation.format(relation=name) for name in graph.relation_names]
    return Segments(names=names, descriptions=[""] * len(names), end=template.relation_end)


def tail_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per entity, what the LM is to write; the tokenizer's end-of-text token follows."""
    names = [template.tail.format(name=name) for name in graph.entity_names]
    return Segments(names=names, descriptions=[""] * len(names), end="")
