"""Questions as people ask them, and as ids."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kalm.config import Question, check_question
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples
from kalm.graph.names import Names
from kalm.serving.json_lines import read_json_lines
from kalm.serving.new_entities import NewEntity

UNKNOWN = -1  # in the column that is asked for
NUM_FAULTS = 5  # lines named in one message; looking for the nearest names takes a while in a large graph
KEYS = tuple(field.name for field in fields(Question))


class Placed(NamedTuple):
    """A question and where it was asked, for messages: `questions.jsonl:3: `, or nothing for the command line."""

    place: str
    question: Question
    id: str | int | None = None  # of the asker's own, given back with the answer


class Asked(NamedTuple):
    triples: Triples  # (Q, 3), UNKNOWN in one column; an entity id from N on is one of `described`
    described: list[NewEntity]  # entities that questions bring with them; they have no label


def read_questions(source: str) -> list[Placed]:
    """The questions of a file of JSON lines with the keys of `Question` and `id`, or of standard input for `-`.

    Raises:
        ValueError: there is no such file, it asks nothing, or a line is no question.
    """
    if source == "-":
        place, content = "standard input", sys.stdin.buffer.read()
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise ValueError(f"input: there is no file {source}")
        place, content = source, path.read_bytes()
    questions = []
    for number, row in read_json_lines(content, place, (*KEYS, "id")):
        question = Question(**{key: row.get(key) for key in KEYS})
        try:
            check_question(question)
        except ValueError as error:
            raise ValueError(f"{place}:{number}: {error}") from None
        questions.append(Placed(f"{place}:{number}: ", question, row.get("id")))
    if not questions:
        raise ValueError(f"{place}: no question; expected a JSON object per line, such as "
                         '{"head": "...", "relation": "..."}')  # fmt: skip
    return questions


def resolve(questions: Sequence[Placed], graph: KnowledgeGraph) -> Asked:
    """Find what the questions name.

    Args:
        questions: each passes `check_question`.
        graph: N entities, candidates included.

    Raises:
        ValueError: a name is unknown or ambiguous; the lines of some further faults are named too.
    """
    entities = Names("entities", graph.entity_labels, graph.entity_names, graph.entity_descriptions)
    relations = Names("relations", graph.relation_labels, graph.relation_names, [""] * graph.num_relations)
    described: list[NewEntity] = []
    faults: dict[str, str] = {}  # place -> message

    def entity_id(place: str, key: str, label: str | None, text: str | None, description: str | None) -> int:
        if text is not None:
            described.append(NewEntity("", text.strip(), (description or "").strip()))
            return graph.num_entities + len(described) - 1
        return found(place, key, label, entities)

    def found(place: str, key: str, text: str | None, names: Names) -> int:
        if text is None:
            return UNKNOWN
        try:
            return names.find(text)
        except ValueError as error:
            faults.setdefault(place, f"{place}{key}: {error}")
            return UNKNOWN

    triples = np.empty((len(questions), 3), dtype=np.int64)
    for row, (place, asked, _) in enumerate(questions):
        triples[row, HEAD] = entity_id(place, "head", asked.head, asked.head_text, asked.head_description)
        triples[row, RELATION] = found(place, "relation", asked.relation, relations)
        triples[row, TAIL] = entity_id(place, "tail", asked.tail, asked.tail_text, asked.tail_description)
        if len(faults) == NUM_FAULTS:
            break
    if faults:
        first, *others = faults
        more = f"; also wrong: {', '.join(place.rstrip(': ') for place in others)}" if others else ""
        more += " and maybe others" if len(faults) == NUM_FAULTS else ""
        raise ValueError(faults[first] + more)
    return Asked(triples, described)
