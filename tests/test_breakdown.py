"""Groups of queries, and their metrics, against plain loops over triples."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kalm.config import Ties
from kalm.evaluation.breakdown import (
    MEANINGS,
    answer_frequency,
    answer_length,
    breakdown,
    num_training_triples,
    relation_category,
    reverse_in_training,
    seen_in_training,
)
from kalm.evaluation.questions import Questions
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import KnowledgeGraph, add_inverses

NUM_ENTITIES, NUM_RELATIONS = 6, 3
TRIPLES = st.lists(
    st.tuples(
        st.integers(0, NUM_ENTITIES - 1), st.integers(0, NUM_RELATIONS - 1), st.integers(0, NUM_ENTITIES - 1)
    ),
    min_size=1, max_size=30,
)  # fmt: skip


def asked(train, test) -> Questions:
    entities, relations = ([f"{kind}{i}" for i in range(n)] for kind, n in (("e", NUM_ENTITIES), ("r", NUM_RELATIONS)))
    triples = {split: np.array(rows, dtype=np.int64).reshape(-1, 3) for split, rows in
               (("train", train), ("valid", []), ("test", test))}  # fmt: skip
    graph = KnowledgeGraph(
        entity_labels=entities, entity_names=entities, entity_descriptions=[""] * NUM_ENTITIES,
        relation_labels=relations, relation_names=relations, triples=triples, num_named=0,
    )  # fmt: skip
    return Questions(graph, add_inverses(triples["test"], NUM_RELATIONS), ["train"])


def group_names(grouping) -> list[str]:
    return [grouping.names[group] for group in grouping.group_of]


@given(TRIPLES, TRIPLES)
def test_groups_equal_loops_over_the_training_triples(train, test):
    questions = asked(train, test)
    known = set(train)  # a triple that stands twice counts once

    def category(relation):
        pairs = [(h, t) for h, r, t in known if r == relation]
        if not pairs:
            return "not in training"
        heads_per_tail = np.mean([sum(t == tail for _, t in pairs) for tail in {t for _, t in pairs}])
        tails_per_head = np.mean([sum(h == head for h, _ in pairs) for head in {h for h, _ in pairs}])
        return f"{'N' if heads_per_tail >= 1.5 else '1'}-{'N' if tails_per_head >= 1.5 else '1'}"

    def frequency(entity):
        return sum(entity in (h, t) for h, _, t in known)

    def frequency_bin(count):
        return next(name for name, bin_ in (("0", {0}), ("1-2", {1, 2}), ("3-9", set(range(3, 10))),
                                            ("10-99", set(range(10, 100)))) if count in bin_)  # fmt: skip

    def seen(anchor, answer):
        missing = [frequency(anchor) == 0, frequency(answer) == 0]
        return {(False, False): "both", (False, True): "answer unseen", (True, False): "known entity unseen",
                (True, True): "neither"}[tuple(missing)]  # fmt: skip

    queries = [(h, t, h, r, t) for h, r, t in test for _ in range(2)]
    queries[1::2] = [(answer, anchor, *triple) for anchor, answer, *triple in queries[1::2]]
    assert num_training_triples(questions.graph).tolist() == [frequency(entity) for entity in range(NUM_ENTITIES)]
    assert group_names(relation_category(questions)) == [category(r) for _, _, _, r, _ in queries]
    assert group_names(answer_frequency(questions)) == [frequency_bin(frequency(answer)) for _, answer, *_ in queries]
    assert group_names(seen_in_training(questions)) == [seen(anchor, answer) for anchor, answer, *_ in queries]
    assert group_names(reverse_in_training(questions)) == [
        "yes" if any((t, other, h) in known for other in range(NUM_RELATIONS)) else "no" for *_, h, _, t in queries
    ]


@given(TRIPLES, st.lists(st.integers(1, 40), min_size=NUM_ENTITIES, max_size=NUM_ENTITIES))
def test_groups_by_length_hold_the_lengths_they_name_and_split_at_the_quartiles(test, lengths):
    grouping = answer_length(asked([], test), np.array(lengths))
    of_queries = sorted(lengths[entity] for h, _, t in test for entity in (t, h))
    ranges = [tuple(map(int, name.split("-"))) for name in grouping.names]
    ranges = [(bounds[0], bounds[-1]) for bounds in ranges]
    assert (ranges[0][0], ranges[-1][1]) == (of_queries[0], of_queries[-1])
    assert all(low == high + 1 for (_, high), (low, _) in pairwise(ranges))
    for query, group in enumerate(grouping.group_of):
        h, _, t = test[query // 2]
        low, high = ranges[group]
        assert low <= lengths[h if query % 2 else t] <= high
    quartiles = {of_queries[-(-len(of_queries) * part // 4) - 1] for part in (1, 2, 3)}
    assert {high for _, high in ranges} == quartiles | {of_queries[-1]}


def test_metrics_of_groups_are_those_of_their_queries(toy_graph):
    questions = Questions(toy_graph, toy_graph.directed("test"), ["train"])
    optimistic = torch.tensor([1, 4, 2, 7, 3, 1, 9, 2])
    ranks = Ranks(optimistic, optimistic + 2, torch.full((8,), 10))
    found = breakdown(ranks, questions, np.arange(toy_graph.num_entities) + 1, Ties.pessimistic)
    assert found.keys() == MEANINGS.keys()
    for name, groups in found.items():
        assert sum(group["both"]["count"] for group in groups.values()) == 8, name
        assert all(directions.keys() <= {"both", "tail", "head"} for directions in groups.values())
    # (bob knows ann) alone: training holds (ann knows bob)
    back = found["reverse_in_training"]["yes"]
    assert back["both"]["count"] == 2
    assert back["tail"]["mr"] == 5
    assert back["head"]["mrr"] == pytest.approx(1 / 3)
    assert found["seen_in_training"].keys() == {"both"}


def test_relations_and_entities_without_training_triples_have_groups_of_their_own(toy_graph):
    train = toy_graph.triples["train"]
    gnu, likes = toy_graph.entity_labels.index("gnu"), toy_graph.relation_labels.index("likes")
    without = train[(train[:, [0, 2]] != gnu).all(axis=1) & (train[:, 1] != likes)]
    graph = replace(toy_graph, triples={**toy_graph.triples, "train": without})
    questions = Questions(graph, graph.directed("test"), ["train"])  # ann likes gnu, gnu likes ann, ...
    assert group_names(relation_category(questions))[:4] == ["not in training"] * 4
    assert group_names(seen_in_training(questions))[:4] == [
        "answer unseen", "known entity unseen", "known entity unseen", "answer unseen",
    ]  # fmt: skip
