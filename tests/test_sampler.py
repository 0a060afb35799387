"""Batches depend on seed and step alone, and random walks go along the graph."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.training.sampler import RandomWalkSampler, TripleSampler


@given(num_triples=st.integers(1, 40), batch_size=st.integers(1, 15))
def test_each_pass_holds_every_triple_once(num_triples, batch_size):
    sampler = TripleSampler(num_triples, batch_size, 0)
    num_steps = -(-3 * num_triples // batch_size)
    stream = np.concatenate([sampler.rows(step) for step in range(num_steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * num_triples : (epoch + 1) * num_triples]) == list(range(num_triples))


def test_passes_and_seeds_have_orders_of_their_own():
    orders = [TripleSampler(50, 50, seed).rows(step).tolist() for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


some_triples = st.lists(st.tuples(st.integers(0, 6), st.just(0), st.integers(0, 6)), min_size=1, max_size=30)


@given(triples=some_triples, batch_size=st.integers(1, 20), walk_length=st.integers(1, 6), step=st.integers(0, 50))
def test_walked_batches_are_full_repeatable_and_without_repetition(triples, batch_size, walk_length, step):
    samplers = [RandomWalkSampler(np.array(triples), 7, batch_size, walk_length, seed=3) for _ in range(2)]
    samplers[0].rows(step + 1)  # what was asked before makes no difference
    rows = samplers[0].rows(step)
    assert rows.tolist() == samplers[1].rows(step).tolist()
    assert len(rows) == batch_size
    assert len(set(rows.tolist())) == min(batch_size, len(triples)) or batch_size > len(triples)


def path_graph(num_triples: int) -> np.ndarray:
    """0 - 1 - 2 - ..., each entity the tail of one triple and the head of the next."""
    places = np.arange(num_triples)
    return np.stack([places, np.zeros_like(places), places + 1], axis=1)


def test_a_walk_goes_from_triple_to_triple_that_share_an_entity():
    triples = path_graph(2000)
    sampler = RandomWalkSampler(triples, 2001, batch_size=40, walk_length=8, seed=0)
    adjacent = 0
    for step in range(20):
        walks = sampler.rows(step).reshape(5, 8)
        ends = [[set(triples[row, [0, 2]]) for row in walk] for walk in walks]
        adjacent += sum(bool(a & b) for walk in ends for a, b in pairwise(walk))
    # a triple met twice is replaced by a far one, so not all of 20 * 5 * 7
    assert adjacent > 150
    uniform = TripleSampler(2000, 40, 0)
    ends = [set(triples[row, [0, 2]]) for row in uniform.rows(0)]
    assert sum(bool(a & b) for a, b in pairwise(ends)) < 5


def test_walks_keep_off_hubs():
    # entity 0 has 200 neighbours; entity 1 touches it and entity 2
    hub = [(0, 0, other) for other in range(3, 203)]
    triples = np.array([(1, 0, 2), (1, 0, 0), *hub])
    sampler = RandomWalkSampler(triples, 203, batch_size=2, walk_length=2, seed=0)
    incident = sampler._incident[sampler._offsets[1] : sampler._offsets[2]]
    weights = np.diff(sampler._weights)[sampler._offsets[1] : sampler._offsets[2]]
    by_triple = dict(zip(incident.tolist(), weights.tolist(), strict=True))
    assert by_triple[0] == pytest.approx(1.0)  # entity 2 has degree 1
    assert by_triple[1] == pytest.approx(1 / 201)


@given(triples=some_triples, seed=st.integers(0, 5))
def test_every_triple_starts_a_walk_equally_often(triples, seed):
    sampler = RandomWalkSampler(np.array(triples), 7, batch_size=3, walk_length=3, seed=seed)
    starts = [int(sampler.rows(step)[0]) for step in range(len(triples))]
    assert sorted(starts) == list(range(len(triples)))
