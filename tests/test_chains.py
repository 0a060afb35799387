"""The facts that answer a question, against trying all relations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.rationale.chains import find_chains
from kalm.rationale.tails import Tails


@st.composite
def walks(draw):
    """A graph of few entities and two relations, a topic, and answers that some walk may lead to."""
    entity = st.integers(0, 3)
    triples = draw(st.lists(st.tuples(entity, st.integers(0, 1), entity), min_size=1, max_size=7))
    return triples, draw(entity), draw(st.sets(entity, min_size=1, max_size=3))


@given(walks())
def test_chains_are_those_of_trying_all_relations(walk):
    triples, topic, answers = walk
    rows = np.array(triples, np.int64)
    graph = KnowledgeGraph(
        entity_labels=list("abcd"), entity_names=list("abcd"), entity_descriptions=[""] * 4, relation_labels=list("rs"),
        relation_names=list("rs"), triples={"train": rows[1:], "valid": rows[:0], "test": rows[:1]}, num_named=4,
    )  # fmt: skip
    facts = {fact for head, relation, tail in triples for fact in ((head, relation, tail), (tail, relation + 2, head))}

    def leading(chains):
        """All chains of the relations whose ends are the answers, the topic left aside where it is none."""
        left = set() if topic in answers else {topic}
        by_relations = {}
        for chain in chains:
            by_relations.setdefault(tuple(relation for _, relation, _ in chain), []).append(chain)
        return [chain for own in by_relations.values() if {chain[-1][2] for chain in own} - left == answers
                for chain in own if chain[-1][2] in answers]  # fmt: skip

    one = leading([(fact,) for fact in facts if fact[0] == topic])
    two = leading([(fact, onward) for fact in facts if fact[0] == topic for onward in facts if onward[0] == fact[2]])
    for hops, expected in ((1, one), (2, two)):
        assert sorted(find_chains(Tails(graph, SPLITS), [topic], answers, hops)) == sorted(expected)
