"""From a step's number to micro-batches: what is in them, whatever the switches."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir

from kalm.composition import load_config
from kalm.config import RankingConfig
from kalm.text.batch import SiteIds
from kalm.training.batches import BatchMaker
from kalm.training.hard_negatives import HardNegatives
from kalm.training.run import fit_batch

RANKING = RankingConfig(batch_tokens=100, score_memory_mib=1)


def loaded(*overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return load_config(compose("train", overrides=["training.batch_size=8", *overrides]))


def make(toy_graph, table, *overrides, rank=0, world_size=1):
    return BatchMaker(loaded(*overrides), toy_graph, table, rank=rank, world_size=world_size)


def triples_of(batches) -> list[tuple[int, ...]]:
    ids = SiteIds.cat(batch.ids for batch in batches)
    return list(zip(ids.head_ids.tolist(), ids.relation_ids.tolist(), ids.tail_ids.tolist(), strict=True))


def test_processes_and_micro_batches_split_the_same_global_batch(toy_graph, table, encoder):
    for sampling in ("uniform", "random_walk"):
        overrides = (f"training.sampling={sampling}", "training.walk_length=3")
        (whole,) = make(toy_graph, table, *overrides).of_step(2, encoder)
        parts = [
            make(toy_graph, table, *overrides, "training.micro_batch_size=2", rank=rank, world_size=2).of_step(
                2, encoder
            )
            for rank in range(2)
        ]
        assert [len(batches) for batches in parts] == [2, 2]
        assert sorted(triples_of(parts[0] + parts[1])) == sorted(triples_of([whole]))
        assert sum(batch.num_tokens for batches in parts for batch in batches) == whole.num_tokens


def test_micro_batches_hold_sequences_of_similar_length(toy_graph, table, encoder):
    longest = [
        max(group.shape[1] for group in batch.input_ids)
        for batch in make(toy_graph, table, "training.micro_batch_size=2").of_step(0, encoder)
    ]
    assert longest == sorted(longest, reverse=True)
    assert longest[0] > longest[-1]


def test_without_the_inverse_view_tails_are_encoded_as_targets(toy_graph, table, encoder):
    (batch,) = make(toy_graph, table, "objective.inverse_view=false").of_step(0, encoder)
    assert len(batch.query_sites) == 8
    assert max(batch.ids.relation_ids) < toy_graph.num_relations
    assert set(batch.ids.tail_ids.tolist()) <= set(batch.ids.entity_ids[8:].tolist())


@pytest.mark.parametrize(("share", "expected"), [(1.0, 16), (0.25, 4), (0.001, 1)])
@pytest.mark.parametrize("separate", ["null", "{encode_heads:true,logits_everywhere:false}"])
def test_the_share_of_completions_is_as_asked(share, expected, separate, toy_graph, table, encoder):
    overrides = [f"objective.completion_share={share}", f"objective.separate={separate}"]
    batches = make(toy_graph, table, "training.micro_batch_size=4", *overrides).of_step(0, encoder)
    # the end of text closes each completion
    ends = sum(int((batch.labels == table.tails.values[-1]).sum()) for batch in batches)
    assert ends == expected


def test_both_directions_are_completed(toy_graph, table, encoder):
    makers = make(toy_graph, table, "objective.completion_share=0.25", "training.batch_size=12")
    directions = set()
    for step in range(8):
        (batch,) = makers.of_step(step, encoder)
        completed = torch.isin(batch.query_sites, batch.label_positions)
        directions |= set((batch.ids.relation_ids[completed] >= toy_graph.num_relations).tolist())
    assert directions == {False, True}


def test_separate_forwards_are_equally_many_in_every_micro_batch(toy_graph, table, encoder):
    overrides = ("objective.separate={encode_heads:false,logits_everywhere:true}", "objective.completion_share=0.1")
    batches = make(toy_graph, table, *overrides, "training.micro_batch_size=1").of_step(0, encoder)
    assert {len(batch.input_ids) for batch in batches} == {3}
    assert 0 in {batch.num_labels for batch in batches}


def test_hard_negatives_are_the_nearest_free_entities(toy_graph, table, encoder):
    hard = HardNegatives(table, 1, RANKING, seed=0)
    hard.neighbours = np.array([[row, (row + 1) % 10, (row + 2) % 10] for row in range(10)])
    directed = np.array([[0, 0, 3], [1, 0, 5], [2, 0, 8]])
    # FAISS finds each tail itself first, which is no negative
    assert hard.of(directed, step=0, rank=0).tolist() == [4, 6, 9]
    directed = np.array([[3, 0, 3], [5, 0, 5], [8, 0, 8]])
    assert hard.of(directed, step=0, rank=0).tolist() == [4, 6, 9]
    # every entity but one is a head: what is left repeats, so that all ranks have equally many
    directed = np.array([[row, 0, 0] for row in range(9)])
    assert hard.of(directed, step=0, rank=0).tolist() == [9] * 9
    hard.per_triple = 3
    nearest = hard.of(np.array([[0, 0, 3]]), step=0, rank=0).tolist()
    assert nearest[:2] == [4, 5]
    assert nearest[2] in {1, 2, 6, 7, 8, 9}, "where neighbours run out, any other"


def test_hard_negatives_are_mined_at_the_start_and_when_due(toy_graph, table, encoder, monkeypatch):
    mined = []
    whole_mine = HardNegatives.mine
    monkeypatch.setattr(HardNegatives, "mine", lambda self, lm: (mined.append(step), whole_mine(self, lm)))
    batches = make(toy_graph, table, "objective.negatives.hard_per_triple=1", "objective.negatives.mine_every_steps=3")
    for step in range(1, 8):
        (batch,) = batches.of_step(step, encoder)
        assert len(batch.ids.entity_ids) == 32
    assert mined == [1, 3, 6]


@pytest.mark.parametrize(
    ("overrides", "world_size", "message"),
    [
        (["training.batch_size=14"], 2, None),
        (
            ["training.batch_size=15", "training.micro_batch_size=3"],
            1,
            "the graph has 14 training triples; set it to 14 or",
        ),
        (["training.batch_size=16", "training.micro_batch_size=4"], 4, "set it to 12 or less"),
        (["training.batch_size=16"], 16, "set it to 0 or less with fewer processes"),
        (["training.batch_size=5", "objective.negatives.hard_per_triple=1"], 1, None),
        (["training.batch_size=6", "objective.negatives.hard_per_triple=1"], 1, "12 directed triples of each process"),
        (["training.batch_size=6", "objective.negatives.hard_per_triple=1"], 2, None),
        (
            ["training.batch_size=6", "objective.negatives.hard_per_triple=2", "objective.inverse_view=false"],
            1,
            "want 12 entities a step and the graph has 10; set it to 1 or less",
        ),
    ],
)
def test_a_batch_that_the_graph_cannot_fill_is_refused(overrides, world_size, message, toy_graph):
    if message is None:
        fit_batch(loaded(*overrides), toy_graph, world_size)
    else:
        with pytest.raises(ValueError, match=re.escape(message)):
            fit_batch(loaded(*overrides), toy_graph, world_size)


@pytest.mark.parametrize(("world_size", "expected"), [(1, 14), (4, 12)])
def test_a_batch_that_the_graph_cannot_fill_is_made_smaller(toy_graph, world_size, expected):
    config = loaded("training.batch_size=128")
    fit_batch(config, toy_graph, world_size)
    assert config.training.batch_size == expected
