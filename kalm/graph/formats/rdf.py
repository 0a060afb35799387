"""What the triples of RDF are to kalm, whatever file they come from.

- A triple of IRIs is a triple of the graph; `rdf:type` is a relation like any other. Named graphs are read as one.
- A literal of a text property is a name or description of its subject: see `TEXTS` and `language_rank`.
- Other literals, blank nodes (also those of lists) and triples within triples have no text that a language model
  could read: such triples are left out, counted as comments, and told.
"""

import importlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kalm.graph.account import Account
from kalm.graph.building import GraphBuilder, TextKind
from kalm.graph.formats.json_text import one_line

SCHEMA = ("http://schema.org/", "https://schema.org/")
# property -> what its literals are, and the rank among properties of the same kind
TEXTS: dict[str, tuple[TextKind, int]] = {
    "http://www.w3.org/2000/01/rdf-schema#label": ("entity_names", 2),
    "http://www.w3.org/2004/02/skos/core#prefLabel": ("entity_names", 1),
    **{f"{schema}name": ("entity_names", 0) for schema in SCHEMA},
    "http://www.w3.org/2000/01/rdf-schema#comment": ("entity_descriptions", 1),
    **{f"{schema}description": ("entity_descriptions", 0) for schema in SCHEMA},
}
NUM_PROPERTY_RANKS = 3
LITERAL, BLANK, NESTED = (
    "with a literal that is no name or description",
    "with a blank node (an IRI, @id or rdf:about, makes it an entity)",
    "about a triple",
)

Texts = dict[tuple[TextKind, int], tuple[list[str], list[str]]]


def pyoxigraph() -> Any:
    """The library that parses RDF.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module("pyoxigraph")
    except ImportError:
        raise ValueError("RDF is read by pyoxigraph, which is not installed: pip install 'kalm[rdf]'") from None


def language_rank(tag: str | None, wanted: str) -> int:
    """The higher the better: the language wanted, a variety of it (`en-GB` for `en`), none, any other."""
    if not tag:
        return 1
    tag, wanted = tag.lower(), wanted.lower()
    return 3 if tag == wanted else 2 if tag.startswith(wanted + "-") else 0


class RdfAdder:
    """Adds the triples of one file to a builder, each by its rule, and counts them on the account.

    Args:
        path: of the file.
        split, builder, account: that take the triples.
    """

    def __init__(self, path: Path, split: str, builder: GraphBuilder, account: Account) -> None:
        self._library = pyoxigraph()
        self._path, self._split, self._builder, self._account = path, split, builder, account
        self._left_out: Counter[str] = Counter()

    def add(self, quads: Iterable[Any], lines: Sequence[int], num_lines: Sequence[int] | None = None) -> None:
        """Add n triples or quads.

        Args:
            quads: as pyoxigraph gives them.
            lines: where each stands.
            num_lines: how many lines each takes; 1 each where it is None.
        """
        library, account = self._library, self._account
        sizes = num_lines or [1] * len(lines)
        columns: tuple[list[str], list[str], list[str]] = ([], [], [])
        taken: tuple[list[int], list[int]] = ([], [])
        texts: Texts = {}
        for quad, line, size in zip(quads, lines, sizes, strict=True):
            head, relation, tail = quad.subject, quad.predicate.value, quad.object
            kind = type(tail)
            if type(head) is not library.NamedNode or kind is library.BlankNode:
                self.leave_out(NESTED if library.Triple in (type(head), kind) else BLANK, size)
            elif kind is library.NamedNode:
                for column, label in zip(columns, (head.value, relation, tail.value), strict=True):
                    column.append(label)
                taken[0].append(line)
                taken[1].append(size)
            elif kind is library.Literal and relation in TEXTS:
                what, rank = TEXTS[relation]
                rank += NUM_PROPERTY_RANKS * language_rank(tail.language, self._builder.options.language)
                labels, values = texts.setdefault((what, rank), ([], []))
                labels.append(head.value)
                values.append(one_line(tail.value))
                account.read += size
            else:
                self.leave_out(LITERAL if kind is library.Literal else NESTED, size)
        self._builder.add(self._split, *columns, account=account, lines=taken[0], num_lines=taken[1])
        for (what, rank), (labels, values) in texts.items():
            self._builder.add_texts(what, labels, values, rank=rank)
            if what == "entity_names":
                # a property is labelled like anything else
                self._builder.add_texts("relation_names", labels, values, rank=rank)

    def leave_out(self, reason: str, size: int) -> None:
        """Count so many lines as of a triple that is left out by a rule."""
        self._left_out[reason] += size
        self._account.comment += size

    def finish(self) -> None:
        """Tell what was left out."""
        for reason, count in sorted(self._left_out.items()):
            if count:
                self._builder.note(f"{self._path.name}: triples left out: {count:,} {reason}")
