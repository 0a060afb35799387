"""Filtered ranks against brute force and against pykeen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.config import EvaluationConfig
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.kgc import Embeddings, rank_by_embedding, split_queries
from kalm.evaluation.ranking import HITS_AT, filtered_ranks, rank_metrics, rank_queries
from kalm.graph.knowledge_graph import SPLITS, TAIL
from kalm.graph.known_tails import known_tails
from kalm.graph.sources import load_graph


def brute_force(scores, true_ids, known):
    """One query and one candidate at a time."""
    optimistic, pessimistic = [], []
    for row, true in enumerate(true_ids):
        others = [s for e, s in enumerate(scores[row]) if e != true and (row, e) not in known]
        better = sum(s > scores[row][true] for s in others)
        optimistic.append(1 + better)
        pessimistic.append(1 + better + sum(s == scores[row][true] for s in others))
    return optimistic, pessimistic


@st.composite
def ranking_tasks(draw):
    num_queries, num_entities = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    score = st.integers(0, 3)  # few values, so that ties are common
    scores = draw(st.lists(st.lists(score, min_size=num_entities, max_size=num_entities),
                           min_size=num_queries, max_size=num_queries))  # fmt: skip
    true_ids = draw(st.lists(st.integers(0, num_entities - 1), min_size=num_queries, max_size=num_queries))
    pairs = st.tuples(st.integers(0, num_queries - 1), st.integers(0, num_entities - 1))
    return scores, true_ids, draw(st.sets(pairs))


def ranks_of(scores, true_ids, known):
    known = sorted(known)
    rows = torch.tensor([row for row, _ in known], dtype=torch.int64)
    ids = torch.tensor([entity for _, entity in known], dtype=torch.int64)
    return filtered_ranks(torch.tensor(scores, dtype=torch.float32), torch.tensor(true_ids), rows, ids)


@given(ranking_tasks())
def test_ranks_equal_brute_force(task):
    ranks = ranks_of(*task)
    assert (ranks.optimistic.tolist(), ranks.pessimistic.tolist()) == brute_force(*task)
    assert bool((ranks.optimistic <= ranks.realistic).all())
    assert bool((ranks.realistic <= ranks.pessimistic).all())


@given(ranking_tasks())
def test_a_worse_candidate_never_changes_a_rank(task):
    scores, true_ids, known = task
    widened = [[*row, -1] for row in scores]
    assert torch.equal(ranks_of(scores, true_ids, known).realistic, ranks_of(widened, true_ids, known).realistic)


def test_equal_scores_rank_in_the_middle():
    for true in (0, 500, 999):
        assert ranks_of(np.zeros((1, 1000)), [true], set()).realistic.tolist() == [500.5]


def test_filtered_rank_ignores_other_known_answers():
    scores = [[0.9, 0.8, 0.7, 0.1]]
    assert ranks_of(scores, [2], set()).realistic.tolist() == [3]
    assert ranks_of(scores, [2], {(0, 0), (0, 2)}).realistic.tolist() == [2]


@pytest.mark.parametrize("memory_mib", [1, 64])
def test_blocks_do_not_change_ranks(memory_mib):
    generator = torch.Generator().manual_seed(0)
    num_entities, num_queries = 70_000, 9  # a block of 1 MiB holds 3 queries
    scores = torch.randint(0, 50, (num_queries, num_entities), generator=generator).float()
    heads = torch.arange(num_queries)
    relations = torch.zeros(num_queries, dtype=torch.int64)
    true_ids = torch.randint(num_entities, (num_queries,), generator=generator)
    keys = torch.unique(torch.cat([heads * 2 * num_entities + t for t in (true_ids, (true_ids + 7) % num_entities)]))
    ranks = rank_queries(
        lambda rows: scores[rows], heads, relations, true_ids, keys,
        num_relations=1, num_entities=num_entities, memory_mib=memory_mib,
    )  # fmt: skip
    rows, ids = known_tails(keys, heads, relations, num_relations=1, num_entities=num_entities)
    whole = filtered_ranks(scores, true_ids, rows, ids)
    assert torch.equal(ranks.optimistic, whole.optimistic)
    assert torch.equal(ranks.pessimistic, whole.pessimistic)


def test_the_index_scores_what_it_searches():
    vectors = torch.nn.functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    index = EntityIndex(vectors, torch.device("cpu"))
    queries = vectors[:5]
    scores, ids = index.search(queries, 10)
    dense = index.scores(queries)
    torch.testing.assert_close(dense, queries @ vectors.T)
    # FAISS and torch may round the last bit differently, so the order is compared by score
    torch.testing.assert_close(dense.gather(1, ids), scores, rtol=0, atol=1e-6)
    torch.testing.assert_close(dense.topk(10).values, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_queries", range(1, 10))
def test_equal_vectors_tie_however_few_queries_there_are(num_queries):
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(100, 24, generator=generator), dim=1)
    vectors = torch.cat([vectors, vectors[:1].expand(35, -1)])
    scores = EntityIndex(vectors, torch.device("cpu")).scores(vectors[:num_queries].clone())
    assert bool((scores[:, 100:] == scores[:, :1]).all())
    torch.testing.assert_close(scores, vectors[:num_queries] @ vectors.T)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 1000]))
def test_ranks_and_metrics_equal_pykeens(seed, num_values):
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.metrics.ranking import ArithmeticMeanRank, HitsAtK, InverseHarmonicMeanRank

    generator = torch.Generator().manual_seed(seed)
    num_queries, num_entities = 8, 40
    scores = torch.randint(num_values, (num_queries, num_entities), generator=generator).float()
    true_ids = torch.randint(num_entities, (num_queries,), generator=generator)
    known = torch.rand(num_queries, num_entities, generator=generator) < 0.2
    rows, ids = known.nonzero(as_tuple=True)
    ranks = filtered_ranks(scores, true_ids, rows, ids)

    filtered = scores.masked_fill(known, -torch.inf)  # pykeen's mark for a filtered score
    filtered[torch.arange(num_queries), true_ids] = scores[torch.arange(num_queries), true_ids]
    evaluator = RankBasedEvaluator(filtered=True)
    evaluator.process_scores_(
        hrt_batch=torch.zeros(num_queries, 3, dtype=torch.int64), target="tail", scores=filtered,
        true_scores=scores.gather(1, true_ids[:, None]), dense_positive_mask=None,
    )  # fmt: skip
    theirs = {kind: np.concatenate(parts) for (_, kind), parts in evaluator.ranks.items()}
    assert ranks.realistic.tolist() == theirs["realistic"].tolist()
    assert ranks.optimistic.tolist() == theirs["optimistic"].tolist()
    assert ranks.pessimistic.tolist() == theirs["pessimistic"].tolist()
    own = rank_metrics(ranks.realistic.numpy())
    metrics = {
        "mr": ArithmeticMeanRank(),
        "mrr": InverseHarmonicMeanRank(),
        **{f"hits@{k}": HitsAtK(k) for k in HITS_AT},
    }
    for name, metric in metrics.items():
        # the evaluator averages in float32, so its metrics are taken of its ranks in float64
        assert own[name] == pytest.approx(metric(theirs["realistic"].astype(np.float64)), abs=1e-9)


def test_ranks_on_umls_equal_pykeens_for_the_same_scores():
    """An untrained LM over the whole test split, both directions, filtered by all three splits."""
    from pykeen.datasets import UMLS
    from pykeen.evaluation import RankBasedEvaluator

    graph = load_graph("umls", None)
    # pykeen's own reading of the data, by label, says what to filter
    dataset = UMLS()
    labels = {i: label for label, i in dataset.training.entity_to_id.items()}
    relations = {i: label for label, i in dataset.training.relation_to_id.items()}
    factories = (dataset.training, dataset.validation, dataset.testing)
    known = {
        (labels[h], relations[r], labels[t]) for factory in factories for h, r, t in factory.mapped_triples.tolist()
    }
    queries = split_queries(graph, "test")
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(graph.num_entities, 16, generator=generator), dim=1)
    vectors[7] = vectors[3]  # a tie
    asked = torch.nn.functional.normalize(torch.randn(len(queries), 16, generator=generator), dim=1)
    index = EntityIndex(vectors, torch.device("cpu"))
    config = EvaluationConfig(batch_tokens=1024, score_memory_mib=1, num_predictions=10)
    ranks = rank_by_embedding(Embeddings(entities=vectors, queries=asked), index, queries, graph, config, SPLITS)

    scores = index.scores(asked)
    true_scores = scores.gather(1, torch.from_numpy(queries[:, TAIL].copy())[:, None])
    for row, (anchor, relation, answer) in enumerate(queries.tolist()):
        label = graph.relation_labels[relation % graph.num_relations]
        for entity in range(graph.num_entities):
            pair = (graph.entity_labels[anchor], graph.entity_labels[entity])
            head, tail = pair if relation < graph.num_relations else pair[::-1]
            if entity != answer and (head, label, tail) in known:
                scores[row, entity] = -torch.inf
    evaluator = RankBasedEvaluator(filtered=True)
    evaluator.process_scores_(
        hrt_batch=torch.from_numpy(queries), target="tail", scores=scores, true_scores=true_scores,
        dense_positive_mask=None,
    )  # fmt: skip
    theirs = {kind: np.concatenate(parts) for (_, kind), parts in evaluator.ranks.items()}
    for kind in ("optimistic", "realistic", "pessimistic"):
        assert getattr(ranks, kind).tolist() == theirs[kind].tolist()


def test_a_filter_without_test_does_not_look_at_test(toy_graph):
    queries = split_queries(toy_graph, "valid")
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(toy_graph.num_entities, 8, generator=generator), dim=1)
    asked = torch.nn.functional.normalize(torch.randn(len(queries), 8, generator=generator), dim=1)
    config = EvaluationConfig(batch_tokens=64, score_memory_mib=1, num_predictions=3)

    def pessimistic(test_triples, filter_splits):
        graph = replace(toy_graph, triples={**toy_graph.triples, "test": test_triples})
        index = EntityIndex(vectors, torch.device("cpu"))
        embeddings = Embeddings(entities=vectors, queries=asked)
        return rank_by_embedding(embeddings, index, queries, graph, config, filter_splits).pessimistic.tolist()

    # as if every entity answered every query: with test in the filter nothing is left to rank against
    head, relation, _ = toy_graph.triples["valid"].T
    everything = np.array([(h, r, t) for h, r in zip(head, relation, strict=True) for t in range(len(vectors))])
    assert pessimistic(everything, SPLITS)[::2] == [1] * len(head)
    blind = pessimistic(everything, ("train", "valid"))
    assert blind == pessimistic(toy_graph.triples["test"], ("train", "valid"))
    assert max(blind[::2]) > 1
