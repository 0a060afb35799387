"""How a graph's names and descriptions become the three segments of a sequence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kalm.config import TemplateConfig
from kalm.graph.knowledge_graph import KnowledgeGraph


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """The texts of one kind of segment, in parts that are tokenised apart and then joined.

    Args:
        start: opens every segment, never cut.
        names: one text per segment, cut at `max_name_tokens`.
        descriptions: one text per segment, cut at `max_description_tokens`; empty where there is none.
        end: closes every segment, never cut, so that a site is the same token in each.
    """

    start: str
    names: Sequence[str]
    descriptions: Sequence[str]
    end: str


class Filled(Sequence[str]):
    """Texts put into a template when they are asked for: of millions no second copy is held.

    Args:
        texts: what is put in.
        fill: text -> text in its template.
    """

    def __init__(self, texts: Sequence[str], fill: Callable[[str], str]) -> None:
        self._texts, self._fill = texts, fill

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._fill(text) for text in self._texts[place]]
        return self._fill(self._texts[place])

    def __iter__(self) -> Iterator[str]:
        return map(self._fill, self._texts)


def head_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per entity as head of a query; in one pass its last token is the entity site."""
    return _entity_segments(graph, template, start=template.head_start, end=template.head_end)


def target_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per entity as target, where that has a text of its own; its last token is the entity site."""
    assert template.target is not None
    return _entity_segments(graph, template, start=template.target.start, end=template.target.end)


def relation_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per directed relation, the R inverses last; its last token is the query site."""
    return _relation_segments(graph, template, end=template.relation_end)


def tail_segments(graph: KnowledgeGraph, template: TemplateConfig) -> Segments:
    """One segment per entity, what the LM is to write; the tokenizer's end-of-text token follows."""
    names = Filled(graph.entity_names, lambda name: template.tail.format(name=name))
    descriptions = _descriptions(graph, template) if template.describe_tail else [""] * len(names)
    return Segments(start="", names=names, descriptions=descriptions, end="")


def prompt_segments(graph: KnowledgeGraph, template: TemplateConfig) -> tuple[Segments, Segments]:
    """Head and relation segments of a completion that has a prompt of its own around them."""
    assert template.completion is not None
    return (
        _entity_segments(graph, template, start=template.completion.prompt, end=""),
        _relation_segments(graph, template, end=template.completion.response),
    )


def _entity_segments(graph: KnowledgeGraph, template: TemplateConfig, *, start: str, end: str) -> Segments:
    names = Filled(graph.entity_names, lambda name: template.head.format(name=name))
    return Segments(start=start, names=names, descriptions=_descriptions(graph, template), end=end)


def _relation_segments(graph: KnowledgeGraph, template: TemplateConfig, *, end: str) -> Segments:
    names = [template.relation.format(relation=name) for name in graph.relation_names]
    inverses = graph.inverse_names or [""] * graph.num_relations
    names += [
        template.relation.format(relation=inverse) if inverse else template.inverse_relation.format(relation=name)
        for name, inverse in zip(graph.relation_names, inverses, strict=True)
    ]
    return Segments(start="", names=names, descriptions=[""] * len(names), end=end)


def _descriptions(graph: KnowledgeGraph, template: TemplateConfig) -> Filled:
    return Filled(graph.entity_descriptions, lambda text: template.description.format(description=text) if text else "")
