"""From the words of questions and answers to entities of the graph."""

from collections.abc import Callable, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from kalm.config import LinkingConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.rows import read_rows
from kalm.rationale.name_index import NameIndex
from kalm.rationale.question import Kind, Question


class How(Enum):
    """What found an entity."""

    given = "given"  # it stands in the data
    name = "name"  # a name or alias
    linker = "linker"  # the user's own function
    embedding = "embedding"  # the nearest vector


class Link(NamedTuple):
    """A text and the entities that it may mean."""

    text: str
    entity_ids: tuple[int, ...]  # ascending; several share the name, none is known by it
    how: How


class Linked(NamedTuple):
    """A question's entities."""

    question: tuple[Link, ...]
    answers: tuple[Link, ...]  # one per answer, or per name in a free answer


# texts -> the entity nearest to each, none where all are too far
NearestEntities = Callable[[Sequence[str]], list[tuple[int, ...]]]
# texts and the graph -> per text the labels of its entities
OwnLinker = Callable[[Sequence[str], KnowledgeGraph], Sequence[Sequence[str]]]


class Linker:
    """Links given in the data are used as they are; then the user's own linker, else names; at last vectors.

    Args:
        graph: its names, and the aliases of `config.aliases`, are what is looked for.
        config: see there.
        nearest: asked for texts in which no name is found; None where there is no run to ask.
    """

    def __init__(self, graph: KnowledgeGraph, config: LinkingConfig, nearest: NearestEntities | None = None) -> None:
        self._graph = graph
        self._ids = {label: place for place, label in enumerate(graph.entity_labels)}
        self.index = NameIndex(graph.entity_names, self._aliases(config.aliases))
        self.ignored = frozenset(word.casefold() for word in config.ignored)
        self._own = None if config.linker is None else own_linker(config.linker)
        self._nearest = nearest

    def link(self, questions: Sequence[Question]) -> list[Linked]:
        """The entities of each question and of its answers.

        Raises:
            ValueError: the user's own linker answers otherwise than it should.
        """
        of_questions = self._of_texts(
            [question.text for question in questions], [question.links for question in questions]
        )
        free = [place for place, question in enumerate(questions) if question.kind is Kind.free_answer]
        of_free = self._of_texts(
            [" ".join(questions[place].answers) for place in free], [questions[place].answer_links for place in free]
        )
        of_answers = dict(zip(free, of_free, strict=True))
        for place, question in enumerate(questions):
            if place not in of_answers:
                how = How.given if question.answer_links else How.name
                of_answers[place] = [self._named(text, how) for text in question.answer_links or question.answers]
        self._fall_back([links for place, links in of_answers.items() if place not in free])
        return [Linked(tuple(links), tuple(of_answers[place])) for place, links in enumerate(of_questions)]

    def _of_texts(self, texts: Sequence[str], given: Sequence[tuple[str, ...] | None]) -> list[list[Link]]:
        links = [[self._named(name, How.given) for name in names or ()] for names in given]
        open_places = [place for place, names in enumerate(given) if names is None]
        if self._own is not None:
            found = self._by_own([texts[place] for place in open_places])
            for place, ids in zip(open_places, found, strict=True):
                links[place] = [Link(self._graph.entity_names[entity], (entity,), How.linker) for entity in ids]
        else:
            for place in open_places:
                mentions = self.index.mentions(texts[place], self.ignored)
                links[place] = [Link(mention.text, mention.entity_ids, How.name) for mention in mentions]
        left = [place for place in open_places if not links[place]]
        if self._nearest is not None and left:
            for place, nearest in zip(left, self._nearest([texts[place] for place in left]), strict=True):
                links[place] = [Link(texts[place], nearest, How.embedding)] if nearest else []
        return links

    def _named(self, text: str, how: How = How.name) -> Link:
        """Of a name, else of a label: a graph's labels may be numbers, and its names years."""
        return Link(text, self.index.find(text) or ((self._ids[text],) if text in self._ids else ()), how)

    def _fall_back(self, answers: Sequence[list[Link]]) -> None:
        """Put the nearest entities where an answer is no name."""
        open_places = [(links, place) for links in answers for place, link in enumerate(links) if not link.entity_ids]
        if self._nearest is None or not open_places:
            return
        found = self._nearest([links[place].text for links, place in open_places])
        for (links, place), ids in zip(open_places, found, strict=True):
            if ids:
                links[place] = Link(links[place].text, ids, How.embedding)

    def _by_own(self, texts: Sequence[str]) -> list[list[int]]:
        assert self._own is not None
        answered = self._own(texts, self._graph) if texts else []
        if not isinstance(answered, Sequence) or len(answered) != len(texts):
            raise ValueError(f"linking.linker must return one list of labels per text, {len(texts)} here, got "
                             f"{answered!r:.80}")  # fmt: skip
        for labels in answered:
            if isinstance(labels, str) or not isinstance(labels, Sequence):
                raise ValueError(f"linking.linker must return a list of labels per text, got {labels!r:.80}")
            if unknown := [label for label in labels if label not in self._ids]:
                raise ValueError(f"linking.linker returned {unknown[0]!r:.80}, which is no entity's label in the graph")
        return [list(dict.fromkeys(self._ids[label] for label in labels)) for labels in answered]

    def _aliases(self, path: str | None) -> list[tuple[int, str]]:
        if path is None:
            return []
        place = Path(path).expanduser()
        if not place.is_file():
            raise ValueError(f"linking.aliases: there is no file {path}; expected lines of `label<TAB>name|name`")
        # of an entity that the graph lacks there is nothing to link
        return [
            (self._ids[label], alias)
            for _, (label, aliases) in read_rows(place, range(2, 3))
            for alias in aliases.split("|")
            if label in self._ids
        ]


def own_linker(dotted: str) -> OwnLinker:
    """The function that `package.module:function` names.

    Raises:
        ValueError: there is no such module or function.
    """
    module, colon, name = dotted.partition(":")
    if not colon or not module or not name:
        raise ValueError(f"linking.linker must be package.module:function, got {dotted!r}")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"linking.linker={dotted}: {error}; it is imported from PYTHONPATH") from error
    if not callable(found):
        raise ValueError(f"linking.linker={dotted}: it is no function")
    linker: OwnLinker = found
    return linker
