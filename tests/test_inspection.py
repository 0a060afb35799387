"""Facts about a graph, against plain loops."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph.inspection import (
    MIN_PAIRS,
    NEAR_DUPLICATE,
    Leaks,
    degrees,
    doubling_histogram,
    leaks,
    like_relations,
    only_in,
    relation_counts,
    shared_names,
)
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph

ENTITIES, RELATIONS = 5, 3
triples = st.lists(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)),
    min_size=1, max_size=40,
)  # fmt: skip


def make_graph(train, valid, test, names="abcab") -> KnowledgeGraph:
    rows = dict(zip(SPLITS, (np.array(split, np.int64).reshape(-1, 3) for split in (train, valid, test)), strict=True))
    return KnowledgeGraph(
        entity_labels=[str(i) for i in range(ENTITIES)], entity_names=list(names), entity_descriptions=[""] * ENTITIES,
        relation_labels=list("rst"), relation_names=list("rst"), triples=rows, num_named=ENTITIES,
    )  # fmt: skip


@given(train=triples, test=triples)
@settings(max_examples=200, deadline=None)
def test_leaks_are_those_of_a_loop(train, test):
    graph = make_graph(train, test, test)
    known = set(train)
    entities = {entity for h, _, t in train for entity in (h, t)}
    same = reverse = reverse_other = same_pair = unseen = 0
    for h, r, t in test:
        is_same, is_reverse = (h, r, t) in known, (t, r, h) in known and h != t
        same += is_same
        reverse += is_reverse
        reverse_other += not is_reverse and h != t and any((t, other, h) in known for other in range(RELATIONS))
        same_pair += not is_same and any((h, other, t) in known for other in range(RELATIONS))
        unseen += h not in entities or t not in entities or r not in {r for _, r, _ in train}
    assert leaks(graph, "test") == Leaks(len(test), same, reverse, reverse_other, same_pair, unseen)
    held = {entity for h, _, t in test for entity in (h, t)}
    assert only_in(graph, "test").tolist() == sorted(held - entities)


@given(train=triples, test=triples)
@settings(max_examples=200, deadline=None)
def test_like_relations_are_those_of_a_loop(train, test):
    pairs = {r: {(h, t) for h, q, t in train + test if q == r} for r in range(RELATIONS)}
    expected = set()
    for one in range(RELATIONS):
        for two in range(one, RELATIONS):
            if min(len(pairs[one]), len(pairs[two])) < MIN_PAIRS:
                continue
            for is_reverse in (False, True):
                if one == two and not is_reverse:
                    continue
                other = {(t, h) for h, t in pairs[two]} if is_reverse else pairs[two]
                share = len(pairs[one] & other) / max(len(pairs[one]), len(pairs[two]))
                if share >= NEAR_DUPLICATE:
                    expected.add((one, two, share, is_reverse))
    found = like_relations(make_graph(train, [], test))
    assert {(pair.first, pair.second, pair.share, pair.is_reverse) for pair in found} == expected
    assert len(found) == len(expected)
    assert [pair.share for pair in found] == sorted((pair.share for pair in found), reverse=True)


def test_thousands_of_relations_of_one_pair_are_no_burden():
    graph = make_graph([], [], [])
    labels = [str(i) for i in range(3000)]
    rows = {**graph.triples, "train": np.array([(0, relation, 1) for relation in range(3000)])}
    tracemalloc.start()
    assert like_relations(replace(graph, relation_labels=labels, relation_names=labels, triples=rows)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24, "a share of each pair of relations would take ten times as much"


@given(train=triples, test=triples)
@settings(max_examples=100, deadline=None)
def test_degrees_and_counts_are_those_of_a_loop(train, test):
    graph = make_graph(train, test[:0], test)
    counted = Counter(entity for h, _, t in train for entity in (h, t))
    assert degrees(graph).tolist() == [counted[i] for i in range(ENTITIES)]
    of_relations = [[sum(r == i for _, r, _ in split) for split in (train, [], test)] for i in range(RELATIONS)]
    assert relation_counts(graph).tolist() == of_relations


@given(st.lists(st.integers(0, 1000), max_size=50))
def test_each_value_is_in_the_bin_that_holds_it(values):
    bins = doubling_histogram(np.array(values, np.int64))
    assert [count for *_, count in bins] == [sum(low <= value <= high for value in values) for low, high, _ in bins]
    assert sum(count for *_, count in bins) == len(values)
    assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(bins))


@pytest.mark.parametrize(
    ("names", "expected"), [("abcab", [("a", 2), ("b", 2)]), ("abcde", []), ("aaabb", [("a", 3), ("b", 2)])]
)
def test_shared_names_come_with_their_number(names, expected):
    assert shared_names(make_graph([(0, 0, 1)], [], [], names)) == expected
