"""Facts and paths in plain sentences, without a model."""

from collections.abc import Iterable, Mapping

from kalm.config import Phrase
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.paths import Path, Step

PREPOSITIONS = frozenset(
    ("about", "against", "among", "as", "at", "by", "during", "for", "from", "in", "into", "near", "of", "on", "over",
     "through", "to", "under", "until", "with", "within")
)  # fmt: skip
# what a relation's text may begin with that is a verb by itself
VERBS = frozenset(("is", "was", "are", "were", "has", "had", "have", "can", "may", "does", "did"))


class Verbaliser:
    """Sentences by template.

    A relation in `phrases` has a sentence for each direction it is walked in; the sentence begins with the entity that
    the path comes from. For the others the sentence follows from the words of the relation (see `plain_sentence`), and
    from those of its inverse where the graph has them.

    Args:
        graph: names of entities and relations.
        phrases: relation name or label -> its sentences.

    Raises:
        ValueError: a phrase is of no relation of the graph.
    """

    def __init__(self, graph: KnowledgeGraph, phrases: Mapping[str, Phrase]) -> None:
        self._names = graph.entity_names
        known = {*graph.relation_labels, *graph.relation_names}
        if unknown := [name for name in phrases if name not in known]:
            raise ValueError(f"phrases.{unknown[0]}: the graph has no relation of this name or label")
        self._forward, self._backward = [], []
        inverses = graph.inverse_names or [""] * graph.num_relations
        for label, name, inverse in zip(graph.relation_labels, graph.relation_names, inverses, strict=True):
            phrase = phrases.get(label) or phrases.get(name)
            forward = plain_sentence(name, "{head}", "{tail}") if phrase is None else phrase.forward
            if phrase is not None:
                backward = phrase.backward
            else:
                backward = plain_sentence(inverse, "{tail}", "{head}") if inverse else forward
            self._forward.append(forward)
            self._backward.append(backward)

    def sentence(self, step: Step) -> str:
        """One fact."""
        template = (self._forward if step.direction == "tail" else self._backward)[step.relation]
        text = template.format(head=self._names[step.head], tail=self._names[step.tail])
        # a name may end in the stop that ends the sentence: `Robert Downey Jr.`
        return text[:-1] if text.endswith("..") and not text.endswith("...") else text

    def sentences(self, paths: Iterable[Path]) -> list[str]:
        """The facts of the paths, in their order, each once."""
        said: dict[tuple[int, int, int], str] = {}
        for path in paths:
            for step in path.steps:
                said.setdefault((step.head, step.relation, step.tail), self.sentence(step))
        return list(said.values())


def plain_sentence(relation: str, subject: str, other: str) -> str:
    """A sentence from a relation's own words, by what they begin and end with.

    `has genre` -> `S has genre O.`; `located in` -> `S is located in O.`; `works for` -> `S works for O.`;
    `knows` -> `S knows O.`; `release year` -> `S has the release year O.`
    """
    words = relation.split()
    if words[0] in VERBS:
        predicate = relation
    elif words[-1] in PREPOSITIONS:
        predicate = relation if _is_verb(words[0]) else f"is {relation}"
    elif len(words) == 1 and _is_verb(words[0]):
        predicate = relation
    else:
        predicate = f"has the {relation}"
    return f"{subject} {predicate} {other}."


def _is_verb(word: str) -> bool:
    """By its ending alone: `knows`, `works`, not `class`."""
    return word.islower() and word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2
