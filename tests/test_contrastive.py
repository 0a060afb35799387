"""Reference, property and fault tests of the contrastive loss and its mask."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph.known_tails import known_tails
from kalm.objective.contrastive import columns_of, distinct_targets, false_negative_mask, info_nce


def loop_info_nce(similarity, positives, temperature, margin, mask, rate):
    """The formula, one query and one target at a time."""
    losses = []
    for i, positive in enumerate(positives.tolist()):
        negatives = [j for j in range(similarity.shape[1]) if j != positive and (mask is None or not mask[i, j])]
        own = torch.exp((similarity[i, positive] - margin) / temperature)
        total = sum((torch.exp(similarity[i, j] / temperature) for j in negatives), torch.zeros(1))
        if rate:
            corrected = (total - rate * len(negatives) * own) / (1 - rate)
            total = torch.maximum(corrected, len(negatives) * torch.exp(-1 / temperature))
        losses.append(-torch.log(own / (own + total)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_info_nce_equals_the_loop_in_value_and_gradient(masked, rate):
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(5, 7, generator=generator) * 2 - 1
    values[0, 0] = 1.0  # a positive far above its negatives, where the corrected sum is at its least
    positives = torch.tensor([0, 3, 3, 6, 1])
    mask = torch.rand(5, 7, generator=generator) < 0.3
    mask[torch.arange(5), positives] = False
    mask[4] = torch.arange(7) != 1  # a query without any negative
    mask = mask if masked else None
    results = []
    for of_loop in (True, False):
        similarity = values.clone().requires_grad_()
        log_temperature = torch.tensor([math.log(0.2)], requires_grad=True)
        if of_loop:
            value = loop_info_nce(similarity, positives, log_temperature.exp(), 0.02, mask, rate).squeeze()
        else:
            value = info_nce(
                similarity, positives, temperature=log_temperature.exp(), additive_margin=0.02,
                false_negative_mask=mask, false_negative_rate=rate,
            )  # fmt: skip
        value.backward()
        results.append((value.detach(), similarity.grad, log_temperature.grad))
    for expected, found in zip(*results, strict=True):
        # float32 sums in another order
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_info_nce_stays_finite_at_a_very_low_temperature(rate):
    similarity = torch.tensor([[-1.0, 1.0, 1.0]], requires_grad=True)
    loss = info_nce(similarity, torch.tensor([0]), temperature=0.001, false_negative_rate=rate)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2000 + math.log(2) - math.log(1 - rate), rel=1e-5)
    assert bool(similarity.grad.isfinite().all())


def test_info_nce_without_margin_and_mask_is_cross_entropy():
    similarity = torch.rand(4, 6)
    positives = torch.tensor([5, 0, 2, 2])
    expected = torch.nn.functional.cross_entropy(similarity / 0.1, positives)
    torch.testing.assert_close(info_nce(similarity, positives, temperature=0.1), expected)


def test_info_nce_refuses_a_mask_over_a_positive():
    mask = torch.zeros(2, 3, dtype=torch.bool)
    mask[1, 2] = True
    with pytest.raises(ValueError, match="covers a positive"):
        info_nce(torch.rand(2, 3), torch.tensor([0, 2]), temperature=0.1, false_negative_mask=mask)


@pytest.mark.parametrize(("positives", "mask_shape"), [((3,), (2, 3)), ((2,), (3, 2))])
def test_info_nce_refuses_shapes_that_disagree(positives, mask_shape):
    with pytest.raises(ValueError, match="for similarity"):
        info_nce(
            torch.rand(2, 3), torch.zeros(positives, dtype=torch.int64), temperature=0.1,
            false_negative_mask=torch.zeros(mask_shape, dtype=torch.bool),
        )  # fmt: skip


triples = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)


@given(known=triples, batch=triples)
def test_mask_and_known_tails_equal_a_lookup_in_a_set(known, batch):
    known_set = set(known) | set(batch)
    keys = torch.tensor(sorted((h * 4 + r) * 6 + t for h, r, t in known_set))
    head, relation, tail = torch.tensor(batch).T.contiguous()
    sizes = {"num_relations": 2, "num_entities": 6}
    rows, tails = known_tails(keys, head, relation, **sizes)
    assert sorted(zip(rows.tolist(), tails.tolist(), strict=True)) == sorted(
        (row, t) for row, (h, r, _) in enumerate(batch) for t in range(6) if (h, r, t) in known_set
    )
    target_ids = torch.unique(tail)
    mask = false_negative_mask(head, relation, tail, target_ids, keys, **sizes)
    expected = [[(h, r, e) in known_set and e != t for e in target_ids.tolist()] for h, r, t in batch]
    assert mask.tolist() == expected


def test_mask_on_the_toy_graph_hides_the_other_true_tails(toy_graph):
    labels = list(toy_graph.entity_labels)
    ann, cat, dog, hen = (labels.index(label) for label in ("ann", "cat", "dog", "hen"))
    likes = list(toy_graph.relation_labels).index("likes")
    mask = false_negative_mask(
        torch.tensor([ann]), torch.tensor([likes]), torch.tensor([cat]), torch.tensor(sorted([cat, dog, hen])),
        torch.from_numpy(toy_graph.known_tail_keys(["train"])),
        num_relations=toy_graph.num_relations, num_entities=toy_graph.num_entities,
    )  # fmt: skip
    columns = sorted([cat, dog, hen])
    assert mask[0, columns.index(dog)]
    assert not mask[0, columns.index(cat)]
    assert not mask[0, columns.index(hen)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_distinct_targets_keeps_the_first_row_of_each_entity(ids):
    rows = torch.arange(len(ids), dtype=torch.float32)[:, None]
    targets, target_ids = distinct_targets(rows, torch.tensor(ids))
    assert target_ids.tolist() == sorted(set(ids))
    assert targets[:, 0].tolist() == [ids.index(entity) for entity in sorted(set(ids))]
    assert target_ids[columns_of(torch.tensor(ids), target_ids)].tolist() == ids
