"""Batches depend on seed and step alone, and processes split them without gap or overlap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kalm.training.sampler import TripleSampler


@given(num_triples=st.integers(1, 40), local=st.integers(1, 6), world_size=st.integers(1, 4), seed=st.integers(0, 9))
def test_processes_split_the_same_global_batches(num_triples, local, world_size, seed):
    batch_size = local * world_size
    whole = TripleSampler(num_triples, batch_size, seed, rank=0, world_size=1)
    parts = [TripleSampler(num_triples, batch_size, seed, rank=r, world_size=world_size) for r in range(world_size)]
    for step in (3, 0, 1):  # in any order: there is no state
        assert np.concatenate([part.rows(step) for part in parts]).tolist() == whole.rows(step).tolist()


@given(num_triples=st.integers(1, 40), batch_size=st.integers(1, 15))
def test_each_pass_holds_every_triple_once(num_triples, batch_size):
    sampler = TripleSampler(num_triples, batch_size, 0, rank=0, world_size=1)
    num_steps = -(-3 * num_triples // batch_size)
    stream = np.concatenate([sampler.rows(step) for step in range(num_steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * num_triples : (epoch + 1) * num_triples]) == list(range(num_triples))


def test_passes_and_seeds_have_orders_of_their_own():
    orders = [
        TripleSampler(50, 50, seed, rank=0, world_size=1).rows(step).tolist() for seed in (0, 1) for step in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
