"""Splits drawn from a graph that has none."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph.knowledge_graph import SPLITS
from kalm.graph.splitting import SplitOptions, split_triples

SIZES = (12, 4)  # entities, relations


def options(shares=(0.8, 0.1, 0.1), seed=0, inductive=False) -> SplitOptions:
    return SplitOptions(shares=shares, seed=seed, inductive=inductive)


def random_triples(num_entities, num_relations, num_triples) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.stack(
        [random.integers(size, size=num_triples) for size in (num_entities, num_relations, num_entities)], 1
    )


def pairs(rows) -> set:
    return {frozenset((head, tail)) for head, _, tail in rows.tolist()}


@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3), st.integers(0, 11)), min_size=1, max_size=60),
    st.sampled_from([(0.8, 0.1, 0.1), (0.4, 0.3, 0.3), (0.01, 0.01, 0.98)]), st.integers(0, 5), st.booleans(),
)  # fmt: skip
def test_a_split_loses_nothing_leaks_nothing_and_trains_every_relation_and_entity(rows, shares, seed, inductive):
    triples = np.array(rows, dtype=np.int64)
    try:
        found = split_triples(triples, *SIZES, options(shares, seed, inductive))
    except ValueError as error:
        assert "no triple can be held out" in str(error)
        needed = len(set(triples[:, 1])) + (0 if inductive else len(set(triples[:, [0, 2]].ravel())))
        assert len(pairs(triples)) < needed + 2, "each takes one pair at most"
        return
    assert list(found) == list(SPLITS)
    assert sum((Counter(map(tuple, part.tolist())) for part in found.values()), Counter()) == Counter(rows)
    assert all(len(part) for part in found.values())
    train, valid, test = found.values()
    assert not pairs(train) & pairs(valid) and not pairs(train) & pairs(test) and not pairs(valid) & pairs(test)
    assert set(train[:, 1]) == set(triples[:, 1])
    if not inductive:
        assert set(train[:, [0, 2]].ravel()) == set(triples[:, [0, 2]].ravel())
    again = split_triples(triples, *SIZES, options(shares, seed, inductive))
    assert all(np.array_equal(again[split], found[split]) for split in SPLITS)


def test_each_relation_is_held_out_by_its_share():
    triples = random_triples(300, 6, 40_000)
    triples[:, 1] = np.minimum(triples[:, 1], np.random.default_rng(2).integers(6, size=len(triples)))  # uneven
    found = split_triples(triples, 300, 6, options((0.7, 0.2, 0.1)))
    for relation in range(6):
        counts = np.array([np.sum(found[split][:, 1] == relation) for split in SPLITS])
        # pairs of several relations count for one of them
        assert np.allclose(counts / counts.sum(), (0.7, 0.2, 0.1), atol=0.03)


def test_rare_relations_are_held_out_too():
    triples = random_triples(2000, 500, 5000)  # ten of each, so that a tenth is one
    found = split_triples(triples, 2000, 500, options(inductive=True))
    assert len(set(found["valid"][:, 1])) > 300
    assert len(found["valid"]) == pytest.approx(500, rel=0.1)


def test_what_is_missing_is_missing_in_both_held_out_splits():
    star = [(0, 0, i) for i in range(1, 1001)]
    chain = [(i, 0, i + 1) for i in range(1, 300)]
    found = split_triples(np.array(star + chain), 1001, 1, options((0.6, 0.2, 0.2)))
    assert len(found["valid"]) == pytest.approx(len(found["test"]), rel=0.05)


def test_another_seed_holds_out_others():
    triples = random_triples(50, 3, 2000)
    one, other = (split_triples(triples, 50, 3, options(seed=seed))["valid"] for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_a_chain_has_nothing_to_spare_unless_the_split_is_inductive():
    chain = np.array([[i, 0, i + 1] for i in range(0, 40, 2)])
    with pytest.raises(ValueError, match=r"no triple can be held out for valid.* or set data\.inductive=true"):
        split_triples(chain, 41, 1, options())
    assert len(split_triples(chain, 41, 1, options(inductive=True))["valid"]) == 2


@pytest.mark.parametrize("shares", [(0.8, 0.2, 0.0), (0.5, 0.1, 0.1), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match=r"data\.split must be three shares above 0 that sum to 1"):
        options(shares)
