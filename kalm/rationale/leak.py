"""Facts of held-out questions, left out of the graph before paths are searched in it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples
from kalm.rationale.chains import find_chains
from kalm.rationale.linking import Linked, Linker
from kalm.rationale.question import read_questions
from kalm.rationale.tails import Tails
from kalm.text.ragged import Ids

AT_ONCE = 4096


def without_facts_of(triples: Triples, paths: Iterable[Path], linker: Linker, graph: KnowledgeGraph) -> Triples:
    """The triples, (n, 3), without those that answer a question.

    They are all between an entity of a question and one of its answers, either way round, and those on the way where
    two relations lead from a topic to exactly the answers (`find_chains`). Where a name is that of several entities,
    the triples between all of them go.

    Raises:
        ValueError: a file is missing or is none of questions.
    """
    size, tails = graph.num_entities, Tails(graph, SPLITS)
    pairs: set[int] = set()  # head * N + tail, either way round
    facts: set[int] = set()  # (head * R + relation) * N + tail
    for linked in (linked for path in paths for linked in _linked(path, linker)):
        topics = [topic for link in linked.question for topic in link.entity_ids]
        answers = {answer for link in linked.answers for answer in link.entity_ids}
        pairs.update(topic * size + answer for topic in topics for answer in answers)
        pairs.update(answer * size + topic for topic in topics for answer in answers)
        for chain in find_chains(tails, topics, answers, 2) if all(_is_one(linked)) else ():
            facts.update(_key(*fact, graph) for fact in chain)
    head, relation, tail = triples[:, HEAD], triples[:, RELATION], triples[:, TAIL]
    is_held = np.isin(head * size + tail, _array(pairs))
    is_held |= np.isin((head * graph.num_relations + relation) * size + tail, _array(facts))
    return triples[~is_held]


def _linked(path: Path, linker: Linker) -> Iterator[Linked]:
    questions = read_questions(path)
    while block := list(islice(questions, AT_ONCE)):
        yield from linker.link(block)


def _is_one(linked: Linked) -> Iterator[bool]:
    return (len(link.entity_ids) == 1 for link in linked.answers)


def _key(head: int, relation: int, tail: int, graph: KnowledgeGraph) -> int:
    """Of a fact walked either way, the triple's."""
    if relation >= graph.num_relations:
        head, relation, tail = tail, relation - graph.num_relations, head
    return (head * graph.num_relations + relation) * graph.num_entities + tail


def _array(keys: set[int]) -> Ids:
    return np.fromiter(keys, np.int64, count=len(keys))
