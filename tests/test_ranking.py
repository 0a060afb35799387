"""Filtered ranks against brute force and against pykeen."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from pykeen.datasets import get_dataset
from pykeen.evaluation import RankBasedEvaluator
from pykeen.metrics.ranking import (
    AdjustedArithmeticMeanRankIndex,
    ArithmeticMeanRank,
    HitsAtK,
    InverseHarmonicMeanRank,
)

from kalm.evaluation.kgc import rank_by_frequency
from kalm.evaluation.metrics import HITS_AT, rank_metrics
from kalm.evaluation.questions import Questions
from kalm.evaluation.ranking import filtered_ranks, rank_by_scores
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
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


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not numbers"):
        ranks_of([[0.0, float("nan")]], [0], set())


def test_entities_that_are_no_candidates_do_not_count():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.3]])
    is_candidate = torch.tensor([False, False, True, True])
    empty = torch.empty(0, dtype=torch.int64)
    ranks = filtered_ranks(scores, torch.tensor([0]), empty, empty, is_candidate)
    assert [column.tolist() for column in ranks] == [[3], [3], [3]], "the true entity is a candidate in any case"


def test_blocks_do_not_change_ranks(toy_graph):
    questions = Questions(toy_graph, toy_graph.directed("train"), SPLITS)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 5, (len(questions), toy_graph.num_entities), generator=generator).float()
    known_rows, known_ids = questions.known(slice(None))
    whole = filtered_ranks(scores, questions.true_ids, known_rows, known_ids)
    for memory_mib in (0, 64):  # one query at a time, and all
        ranks = rank_by_scores(lambda rows: scores[rows], questions, memory_mib)
        assert all(torch.equal(a, b) for a, b in zip(ranks, whole, strict=True))


def test_frequency_ranks_equal_a_count_by_hand(toy_graph, ranking):
    questions = Questions(toy_graph, toy_graph.directed("test"), SPLITS)
    train = toy_graph.directed("train").tolist()
    known = {tuple(triple) for split in SPLITS for triple in toy_graph.directed(split).tolist()}
    ranks = rank_by_frequency(questions, ranking)
    for place, (head, relation, tail) in enumerate(questions.directed.tolist()):
        counts = [sum(r == relation and t == e for _, r, t in train) for e in range(toy_graph.num_entities)]
        others = [counts[e] for e in range(len(counts)) if e != tail and (head, relation, e) not in known]
        assert int(ranks.optimistic[place]) == 1 + sum(count > counts[tail] for count in others)
        assert int(ranks.pessimistic[place]) == 1 + sum(count >= counts[tail] for count in others)
        assert int(ranks.num_candidates[place]) == 1 + len(others)


def graph_of(name: str) -> KnowledgeGraph:
    """UMLS and WN18RR as kalm reads them; the others as pykeen does."""
    if name == "umls":
        return load_graph("umls", None)
    if name == "wn18rr":
        return load_graph("wn18rr", shared("data/WN18RR"))
    dataset = get_dataset(dataset=name)
    factories = (dataset.training, dataset.validation, dataset.testing)
    labels = [[str(i) for i in range(number)] for number in (dataset.num_entities, dataset.num_relations)]
    return KnowledgeGraph(
        entity_labels=labels[0], entity_names=labels[0], entity_descriptions=labels[0], relation_labels=labels[1],
        relation_names=labels[1], num_named=0,
        triples={split: part.mapped_triples.numpy() for split, part in zip(SPLITS, factories, strict=True)},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["umls", "nations", "kinships", "wn18rr"])
@pytest.mark.parametrize("num_values", [1, 7, 10**6])
def test_ranks_and_metrics_equal_pykeens_for_the_same_scores(name, num_values):
    """Both directions, filtered by all three splits; all scores equal, many ties, few."""
    graph = graph_of(name)
    questions = Questions(graph, graph.directed("test")[:200], SPLITS)
    generator = torch.Generator().manual_seed(num_values)
    scores = torch.randint(num_values, (len(questions), graph.num_entities), generator=generator).float()
    ranks = rank_by_scores(lambda rows: scores[rows], questions, 64)

    known = {tuple(triple) for split in SPLITS for triple in graph.triples[split].tolist()}
    answers = defaultdict(list)
    for head, relation, tail in known:
        answers[head, relation].append(tail)
        answers[tail, relation + graph.num_relations].append(head)
    true_scores = scores.gather(1, questions.true_ids[:, None])
    for row, (head, relation, tail) in enumerate(questions.directed.tolist()):
        # pykeen's mark for a filtered score
        scores[row, [entity for entity in answers[head, relation] if entity != tail]] = -torch.inf
    evaluator = RankBasedEvaluator(filtered=True)
    evaluator.process_scores_(
        hrt_batch=torch.from_numpy(questions.directed), target="tail", scores=scores, true_scores=true_scores,
        dense_positive_mask=None,
    )  # fmt: skip
    theirs = {kind: np.concatenate(parts) for (_, kind), parts in evaluator.ranks.items()}
    for kind in ("optimistic", "realistic", "pessimistic"):
        assert getattr(ranks, kind).tolist() == theirs[kind].tolist()
    assert ranks.num_candidates.tolist() == np.concatenate(evaluator.num_candidates["tail"]).tolist()

    own = rank_metrics(ranks.realistic.numpy(), ranks.num_candidates.numpy())
    metrics = {
        "mr": ArithmeticMeanRank(),
        "mrr": InverseHarmonicMeanRank(),
        **{f"hits@{k}": HitsAtK(k) for k in HITS_AT},
        "amri": AdjustedArithmeticMeanRankIndex(),
    }
    for metric_name, metric in metrics.items():
        # the evaluator averages in float32, so its metrics are taken of its ranks in float64
        of_ranks = metric(theirs["realistic"].astype(np.float64), ranks.num_candidates.numpy())
        assert own[metric_name] == pytest.approx(of_ranks, abs=1e-9)
