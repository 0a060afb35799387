"""The contrastive term, with every source of negatives, against loops over queries and entities."""

import math

import pytest
import torch
from conftest import objective_config
from torch.nn.functional import normalize

from kalm.objective.negatives import COUNTED, ContrastiveObjective, Sites
from kalm.text.batch import SiteIds

NUM_ENTITIES, NUM_RELATIONS = 9, 2
# several tails per query, several queries per tail, a self-loop, and one triple twice
BATCH = [(0, 0, 1), (1, 2, 0), (0, 0, 2), (2, 2, 0), (3, 1, 3), (3, 3, 3), (4, 0, 1), (1, 2, 4), (0, 0, 1), (1, 2, 0)]
KNOWN = {*BATCH, (0, 0, 3), (3, 2, 0), (4, 0, 0), (0, 2, 4), (1, 2, 7)}
HARD = [7, 8, 7]  # entities beside the heads, 7 a known tail of (1, 2)


def ids_of(triples, more_entities=()):
    head, relation, tail = torch.tensor(triples).T.contiguous()
    entity_ids = torch.cat([head, torch.tensor(more_entities, dtype=torch.int64)])
    return SiteIds(head_ids=head, relation_ids=relation, tail_ids=tail, entity_ids=entity_ids)


def make_contrastive(**changes):
    keys = sorted((h * 2 * NUM_RELATIONS + r) * NUM_ENTITIES + t for h, r, t in KNOWN)
    return ContrastiveObjective(
        objective_config(**changes), torch.tensor(keys), num_relations=NUM_RELATIONS, num_entities=NUM_ENTITIES
    )


def random_sites(num_queries, num_entities, seed):
    generator = torch.Generator().manual_seed(seed)
    return Sites(
        torch.randn(num_queries, 5, generator=generator, requires_grad=True),
        torch.randn(num_entities, 5, generator=generator, requires_grad=True),
        torch.tensor([0.3], requires_grad=True),
    )


def debiased(own, negatives, temperature, rate):
    """-log of the positive's share, for one query; own and negatives are logits."""
    total = sum((torch.exp(negative) for negative in negatives), torch.zeros(()))
    if rate:
        corrected = (total - rate * len(negatives) * torch.exp(own)) / (1 - rate)
        total = torch.maximum(corrected, len(negatives) * torch.exp(-1 / temperature))
    return -torch.log(torch.exp(own) / (torch.exp(own) + total))


def loop_contrastive(sites, triples, entity_ids, queue, config):
    """The definition: dictionaries and loops, one query and one candidate at a time.

    queue: entity -> its newest earlier vector.
    """
    options, temperature = config.negatives, sites.temperature[0]
    vectors = {}
    for entity, row in zip(entity_ids, normalize(sites.entity_embeddings, dim=1), strict=True):
        vectors.setdefault(entity, row)
    queries = normalize(sites.query_embeddings, dim=1)
    in_batch = {h for h, _, _ in triples} | {t for _, _, t in triples}
    loss, counts = torch.zeros(()), dict.fromkeys(COUNTED, 0)
    for query, (head, relation, tail) in zip(queries, triples, strict=True):
        own = (query @ vectors[tail] - config.additive_margin) / temperature
        negatives = []
        for entity in [*vectors, *(entity for entity in queue if entity not in vectors)]:
            if entity == tail:
                continue
            if options.mask_known and (head, relation, entity) in KNOWN:
                counts["masked"] += 1
                continue
            if entity not in vectors:
                negatives.append(options.queue_weight * (query @ queue[entity]) / temperature)
                counts["queue"] += 1
                continue
            if entity == head and not options.self_negatives:
                continue
            negatives.append(query @ vectors[entity] / temperature)
            counts["self" if entity == head else "batch" if entity in in_batch else "hard"] += 1
        forward = debiased(own, negatives, temperature, config.false_negative_rate)
        negatives = []
        for other, (other_head, other_relation, other_tail) in zip(queries, triples, strict=True):
            is_positive = other_tail == tail or (options.mask_known and (other_head, other_relation, tail) in KNOWN)
            is_self = other_head == tail and not options.self_negatives
            if not is_positive and not is_self:
                negatives.append(other @ vectors[tail] / temperature)
        backward = debiased(own, negatives, temperature, config.false_negative_rate)
        weight = config.target_to_query_weight
        counts["queries"] += len(negatives) if weight else 0
        loss = loss + ((1 - weight) * forward + weight * backward) / len(triples)
    return loss, [counts[name] / len(triples) for name in COUNTED]


VARIANTS = {
    "default": {"target_to_query_weight": 0.0, "false_negative_rate": 0.0},
    "both directions, debiased": {"target_to_query_weight": 0.5, "false_negative_rate": 0.1},
    "no self-negatives": {"negatives": {"self_negatives": False}},
    "no mask": {"negatives": {"mask_known": False}},
    "queue": {"negatives": {"queue_batches": 2, "queue_weight": 0.6}},
    "queue, no mask, no self": {"negatives": {"queue_batches": 1, "mask_known": False, "self_negatives": False}},
}


@pytest.mark.parametrize("query_chunk", [1000, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_term_equals_the_loop_in_value_gradient_and_counts(variant, query_chunk):
    contrastive = make_contrastive(query_chunk=query_chunk, **VARIANTS[variant])
    config, queue = contrastive.config, {}
    # newest last: later batches overwrite an entity's older vector
    for seed, triples in ((1, [(5, 0, 1), (6, 1, 5)]), (2, [(7, 0, 5), (5, 0, 2)])):
        earlier = random_sites(len(triples), 2 * len(triples), seed)
        ids = ids_of(triples, [t for _, _, t in triples])
        result = contrastive(earlier, ids)
        contrastive.queue.push(result.targets, result.target_ids)
        vectors = normalize(earlier.entity_embeddings.detach(), dim=1)
        if config.negatives.queue_batches == 1:
            queue = {}
        for entity, row in reversed(list(zip(ids.entity_ids.tolist(), vectors, strict=True))):
            queue[entity] = row  # backwards, since of one batch the first row counts
    if config.negatives.queue_batches == 0:
        queue = {}
    ids = ids_of(BATCH, HARD)
    results = []
    for of_loop in (True, False):
        sites = random_sites(len(BATCH), len(BATCH) + len(HARD), seed=3)
        if of_loop:
            loss, counts = loop_contrastive(sites, BATCH, ids.entity_ids.tolist(), queue, config)
        else:
            result = contrastive(sites, ids)
            loss, counts = result.loss, result.counts.tolist()
        results.append((loss.detach(), *torch.autograd.grad(loss, sites), torch.tensor(counts).double()))
    for expected, found in zip(*results, strict=True):
        # float32 sums in another order
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    counts = dict(zip(COUNTED, results[1][-1].tolist(), strict=True))
    assert counts["hard"] > 0
    assert (counts["queue"] > 0) == ("queue" in variant)
    assert (counts["masked"] > 0) == config.negatives.mask_known
    assert (counts["self"] > 0) == config.negatives.self_negatives


def test_the_order_of_queries_and_entities_is_irrelevant():
    contrastive, sites, ids = make_contrastive(), random_sites(len(BATCH), len(BATCH), seed=3), ids_of(BATCH)
    # the two equal triples stay apart, as their rows differ; only the first row of an entity counts, so keep those
    order = torch.tensor([9, 4, 0, 2, 1, 3, 6, 5, 7, 8])
    queries = [(BATCH[i], sites.query_embeddings[i]) for i in order.tolist()]
    shuffled = ids_of([triple for triple, _ in queries])
    permuted = SiteIds(
        head_ids=shuffled.head_ids, relation_ids=shuffled.relation_ids, tail_ids=shuffled.tail_ids,
        entity_ids=ids.entity_ids,
    )  # fmt: skip
    again = contrastive(sites._replace(query_embeddings=torch.stack([row for _, row in queries])), permuted)
    assert float(again.loss.detach()) == pytest.approx(float(contrastive(sites, ids).loss.detach()), rel=1e-6)


def test_a_fixed_temperature_of_one_and_no_margin_is_cross_entropy_over_the_targets():
    changes = {"additive_margin": 0.0, "false_negative_rate": 0.0, "target_to_query_weight": 0.0}
    contrastive = make_contrastive(**changes, negatives={"mask_known": False})
    sites = random_sites(2, 2, seed=0)._replace(temperature=torch.ones(1))
    loss = contrastive(sites, ids_of([(0, 0, 1), (1, 2, 0)])).loss
    similarity = normalize(sites.query_embeddings, dim=1) @ normalize(sites.entity_embeddings, dim=1).T
    expected = torch.nn.functional.cross_entropy(similarity, torch.tensor([1, 0]))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert math.isfinite(float(loss.detach()))
