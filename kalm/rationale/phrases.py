"""Relations in plain words: as facts, and as what a question asks for."""

from collections.abc import Mapping

from kalm.config import Phrase
from kalm.graph.knowledge_graph import KnowledgeGraph

PREPOSITIONS = frozenset(
    ("about", "against", "among", "as", "at", "by", "during", "for", "from", "in", "into", "near", "of", "on", "over",
     "through", "to", "under", "until", "with", "within")
)  # fmt: skip
# what a relation's text may begin with that is a verb by itself
VERBS = frozenset(("is", "was", "are", "were", "has", "had", "have", "can", "may", "does", "did"))


def phrases_of(graph: KnowledgeGraph, given: Mapping[str, Phrase]) -> list[Phrase]:
    """One phrase per relation: the given one, else one made of the words of the relation and of its inverse.

    Args:
        graph: with R relations.
        given: by name or label of the relation.

    Raises:
        ValueError: a phrase is of no relation of the graph.
    """
    known = {*graph.relation_labels, *graph.relation_names}
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"phrases.{unknown[0]}: the graph has no relation of this name or label")
    inverses = graph.inverse_names or [""] * graph.num_relations
    return [
        given.get(label) or given.get(name) or plain_phrase(name, inverse)
        for label, name, inverse in zip(graph.relation_labels, graph.relation_names, inverses, strict=True)
    ]


def plain_phrase(relation: str, inverse: str = "") -> Phrase:
    """A relation by its own words, as they begin and end.

    | relation | fact | what is asked for |
    |---|---|---|
    | `has genre` | H has genre T. | all that H has genre |
    | `located in` | H is located in T. | all that H is located in |
    | `works for`, `knows` | H knows T. | all that H knows |
    | `release year` | H has the release year T. | the release year of H |

    Args:
        relation: its name.
        inverse: the name of its inverse, by which the fact is told from the tail; empty: told the same way.
    """
    predicate = _predicate(relation)
    noun = _plain(relation) if predicate.startswith("has the ") else None
    if noun is None:
        ask_tail = [f"{every} {{head}} {predicate}" for every in ("all that", "whatever", "anything that")]
    else:
        ask_tail = [f"the {noun} of {{head}}", f"what {{head}} has as {noun}", f"the {noun} that {{head}} has"]
    forward = f"{{head}} {predicate} {{tail}}."
    return Phrase(
        forward=forward,
        backward=f"{{tail}} {_predicate(inverse)} {{head}}." if inverse.strip() else forward,
        ask_tail=ask_tail,
        ask_head=[f"{every} {predicate} {{tail}}" for every in ("all that", "whatever", "anything that")],
    )


def _predicate(relation: str) -> str:
    words = relation.split() or ["related to"]
    text = _plain(relation) or "is related to"
    if words[0] in VERBS or _is_verb(words[0], alone=len(words) == 1, ends=words[-1]):
        return text
    return f"is {text}" if words[-1] in PREPOSITIONS else f"has the {text}"


def _is_verb(word: str, *, alone: bool, ends: str) -> bool:
    """By its ending, and where no noun may follow it: `knows`, `works for`, not `class` or `actors played`."""
    is_verb = word.islower() and word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2
    return is_verb and (alone or ends in PREPOSITIONS)


def _plain(text: str) -> str:
    """With single spaces, and braces that stand for themselves."""
    return " ".join(text.split()).replace("{", "{{").replace("}", "}}")
