"""The facts that answer a question, found from its topic and its answers alone."""

from collections.abc import Iterator, Sequence

from kalm.rationale.tails import Tails

MAX_MIDDLE = 100  # entities after the first of two relations; from more, nobody asks on

Fact = tuple[int, int, int]  # a directed triple, as it is walked
Chain = tuple[Fact, ...]  # from a topic to an answer


def find_chains(tails: Tails, topics: Sequence[int], answers: set[int], hops: int) -> list[Chain]:
    """The facts that lead from a topic to the answers.

    A question asks for what its topic leads to by a relation, or by two, directed each: the relations are those whose
    entities are exactly the question's answers; they may lead to the topic itself where that is no answer. Several may
    be. A question without such relations has no chain: it asks for something else, or its answers are not all those of
    the graph. None goes over more than `MAX_MIDDLE` entities.

    Args:
        tails: of the graph.
        topics: that the question may mean.
        answers: all of them.
        hops: 1 or 2.
    """
    walk = {1: _one_hop, 2: _two_hops}[hops]
    return [chain for topic in topics for chain in walk(tails, topic, answers)] if answers else []


def _one_hop(tails: Tails, topic: int, answers: set[int]) -> Iterator[Chain]:
    for relation in tails.relations_of(topic):
        if _are_exactly(set(tails.of(topic, relation).tolist()), answers, topic):
            yield from (((topic, relation, answer),) for answer in sorted(answers))


def _two_hops(tails: Tails, topic: int, answers: set[int]) -> Iterator[Chain]:
    for first in tails.relations_of(topic):
        middle = tails.of(topic, first).tolist()
        if len(middle) > MAX_MIDDLE:
            continue
        for second in sorted({relation for entity in middle for relation in tails.relations_of(entity)}):
            ends = {entity: set(tails.of(entity, second).tolist()) for entity in middle}
            if _are_exactly(set().union(*ends.values()), answers, topic):
                yield from (
                    ((topic, first, entity), (entity, second, answer))
                    for answer in sorted(answers) for entity in middle if answer in ends[entity]
                )  # fmt: skip


def _are_exactly(ends: set[int], answers: set[int], topic: int) -> bool:
    return ends in (answers, answers | {topic})
