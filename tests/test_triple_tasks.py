"""Relation prediction and triple classification, against one triple at a time."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import write_toy_graph
from hypothesis import given
from hypothesis import strategies as st
from toy_run import configured, make_run

from kalm.config import KgcConfig
from kalm.evaluation.corruption import corrupt
from kalm.evaluation.encoding import encode_entities, encode_queries
from kalm.evaluation.relation_prediction import rank_relations, relation_prediction
from kalm.evaluation.run import evaluate
from kalm.evaluation.triple_classification import (
    Scored,
    best_threshold,
    binary_metrics,
    choose_thresholds,
    triple_classification,
)
from kalm.evaluation.triple_scores import TripleScorer
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.graph.known_tails import known_relations
from kalm.graph.sources import load_graph, load_negatives
from kalm.text.token_table import build_token_table

PROTOCOL = configured(KgcConfig, "kgc", run="x").protocol


@pytest.fixture
def make_scorer(tokenizer, template, encoder, ranking):
    def make(graph: KnowledgeGraph) -> TripleScorer:
        table = build_token_table(graph, tokenizer, template)
        entities = encode_entities(encoder, table, 64)
        return TripleScorer(
            encoder=encoder, table=table, vectors_of=lambda ids: entities[ids], num_relations=graph.num_relations,
            config=replace(ranking), sharded=False,
        )  # fmt: skip

    return make


@pytest.fixture
def scorer(make_scorer, toy_graph):
    return make_scorer(toy_graph)


def score_of(scorer: TripleScorer, head: int, relation: int, tail: int) -> float:
    """One query at a time, in both directions."""

    def cosine(anchor: int, directed_relation: int, target: int) -> float:
        query = encode_queries(scorer.encoder, scorer.table, np.array([anchor]), np.array([directed_relation]), 64)
        return float(query[0] @ scorer.vectors_of(np.array([target]))[0])

    return (cosine(head, relation, tail) + cosine(tail, relation + scorer.num_relations, head)) / 2


def all_triples(graph: KnowledgeGraph) -> set[tuple[int, int, int]]:
    return {tuple(triple) for split in SPLITS for triple in graph.triples[split].tolist()}


@pytest.mark.parametrize("memory_mib", [0, 1])  # 0: blocks of one row
def test_scores_equal_one_query_at_a_time(scorer, toy_graph, memory_mib):
    scorer.config.score_memory_mib = memory_mib
    triples = toy_graph.triples["test"]
    expected = [[score_of(scorer, h, r, t) for r in range(toy_graph.num_relations)] for h, _, t in triples.tolist()]
    relations = scorer.relations(triples[:, 0], triples[:, 2])
    # batches of another shape round the last bits differently
    np.testing.assert_allclose(relations, expected, atol=1e-5)
    np.testing.assert_allclose(scorer.triples(triples), np.array(expected)[range(4), triples[:, 1]], atol=1e-5)


def test_relations_with_the_same_text_tie_exactly(make_scorer, toy_graph):
    twins = replace(toy_graph, relation_names=["likes"] * toy_graph.num_relations)
    scores = make_scorer(twins).relations(np.arange(10), np.arange(10)[::-1].copy())
    assert bool((scores == scores[:, :1]).all())
    ranks = rank_relations(make_scorer(twins), twins, twins.triples["test"], ("test",))
    assert ranks.realistic.tolist() == [(1 + toy_graph.num_relations) / 2] * 4


@pytest.mark.parametrize("filter_splits", [("test",), SPLITS])
def test_relation_ranks_equal_one_triple_at_a_time(scorer, toy_graph, filter_splits):
    known = {tuple(triple) for split in filter_splits for triple in toy_graph.triples[split].tolist()}
    for split in ("train", "test"):
        triples = toy_graph.triples[split]
        scores = scorer.relations(triples[:, 0], triples[:, 2]).tolist()
        expected = []
        for row, (h, r, t) in zip(scores, triples.tolist(), strict=True):
            others = [score for other, score in enumerate(row) if other != r and (h, other, t) not in known]
            expected.append(1 + sum(s > row[r] for s in others) + sum(s == row[r] for s in others) / 2)
        assert rank_relations(scorer, toy_graph, triples, filter_splits).realistic.tolist() == expected
    result = relation_prediction(scorer, toy_graph, triples, replace(PROTOCOL, filter=list(filter_splits)))
    assert result["metrics"]["mrr"] == pytest.approx(np.mean(1 / np.array(expected)))
    assert sum(metrics["count"] for metrics in result["per_relation"].values()) == 4


def test_the_filter_of_relations_holds_the_known_ones_of_each_pair(toy_graph):
    heads, tails = (grid.flatten() for grid in torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij"))
    rows, relations = known_relations(
        torch.from_numpy(toy_graph.known_relation_keys(SPLITS)), heads, tails,
        num_relations=toy_graph.num_relations, num_entities=toy_graph.num_entities,
    )  # fmt: skip
    found = set(zip(heads[rows].tolist(), relations.tolist(), tails[rows].tolist(), strict=True))
    assert found == all_triples(toy_graph)


@st.composite
def graphs(draw):
    num_entities, num_relations = draw(st.integers(2, 6)), draw(st.integers(1, 3))
    entity = st.integers(0, num_entities - 1)
    triple = st.tuples(entity, st.integers(0, num_relations - 1), entity)
    triples = {split: np.array(draw(st.lists(triple, min_size=1, max_size=12)), dtype=np.int64) for split in SPLITS}
    texts = [str(i) for i in range(num_entities)]
    return KnowledgeGraph(
        entity_labels=texts, entity_names=texts, entity_descriptions=texts, relation_labels=texts[:1] * num_relations,
        relation_names=texts[:1] * num_relations, triples=triples, num_named=num_entities,
    )  # fmt: skip


@given(graphs(), st.integers(0, 3))
def test_a_corrupted_triple_is_never_known_and_differs_in_one_entity(graph, seed):
    known = all_triples(graph)
    entities = range(graph.num_entities)
    true = graph.triples["test"]
    hopeless = [
        all((e, r, t) in known for e in entities) and all((h, r, e) in known for e in entities)
        for h, r, t in true.tolist()
    ]
    if any(hopeless):
        with pytest.raises(ValueError, match="cannot be made false"):
            corrupt(graph, true, [seed])
        return
    false = corrupt(graph, true, [seed])
    assert not {tuple(triple) for triple in false.tolist()} & known
    assert ((false != true).sum(axis=1) == 1).all()
    assert (false[:, 1] == true[:, 1]).all()
    assert np.array_equal(false, corrupt(graph, true, [seed]))


def test_a_corrupted_triple_keeps_to_entities_of_its_position(toy_graph):
    true = np.repeat(toy_graph.triples["train"], 30, axis=0)
    false = corrupt(toy_graph, true, [0])
    seen = {(column, r, triple[column]) for triple in all_triples(toy_graph) for column in (0, 2) for r in [triple[1]]}
    known = all_triples(toy_graph)
    for (h, r, t), (new_h, _, new_t) in zip(true.tolist(), false.tolist(), strict=True):
        column, entity = (0, new_h) if new_h != h else (2, new_t)
        fitting = [e for e in range(10) if (column, r, e) in seen
                   and ((e, r, t) if column == 0 else (h, r, e)) not in known]  # fmt: skip
        assert entity in fitting or not fitting
    assert (false[:, 0] != true[:, 0]).any()
    assert (false[:, 2] != true[:, 2]).any()
    assert not np.array_equal(false, corrupt(toy_graph, true, [1]))


score_lists = st.lists(st.tuples(st.sampled_from([-0.5, 0.0, 0.1, 0.3, 1.0]), st.booleans()), min_size=1, max_size=9)


@given(score_lists)
def test_the_threshold_is_as_accurate_as_any(pairs):
    scores, is_true = (np.array(column) for column in zip(*pairs, strict=True))
    threshold = best_threshold(scores, is_true)
    right = [((scores >= other) == is_true).sum() for other in [*scores, -2.0, 2.0]]
    assert ((scores >= threshold) == is_true).sum() == max(right)
    assert threshold not in scores, "halfway between two of them"


def test_a_relation_without_valid_triples_takes_the_threshold_of_all():
    valid = Scored(
        relations=np.array([0, 0, 1, 1, 1, 1]), scores=np.array([0.9, 0.7, 0.4, 0.2, 0.3, 0.1]),
        is_true=np.array([True, False, True, False, True, False]),
    )  # fmt: skip
    thresholds = choose_thresholds(valid)
    assert thresholds.of(np.array([0, 1, 2])) == pytest.approx([0.8, 0.25, 0.25])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_metrics_equal_their_definitions(pairs):
    says, true = (np.array(column) for column in zip(*pairs, strict=True))
    metrics = binary_metrics(says, true)
    assert metrics["accuracy"] == pytest.approx(np.mean([a == b for a, b in pairs]))
    kinds = [[a == b for a, b in pairs if b is kind] for kind in (True, False)]
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean([np.mean(kind) for kind in kinds if kind]))
    hits = sum(a and b for a, b in pairs)
    precision, recall = hits / max(says.sum(), 1), hits / max(true.sum(), 1)
    assert metrics["f1"] == pytest.approx(2 * precision * recall / (precision + recall) if hits else 0)
    assert (metrics["num_true"], metrics["num_false"]) == (true.sum(), (~true).sum())


def test_classification_equals_one_triple_at_a_time(scorer, toy_graph):
    unknown = {"valid": None, "test": None}
    result = triple_classification(scorer, toy_graph, toy_graph.triples, unknown, split="test", seed=5)
    sets = {}
    for place, split in ((1, "valid"), (2, "test")):
        true = toy_graph.triples[split]
        rows = [(*triple, True) for triple in true.tolist()]
        rows += [(*triple, False) for triple in corrupt(toy_graph, true, [5, place]).tolist()]
        sets[split] = [(r, score_of(scorer, h, r, t), label) for h, r, t, label in rows]
    right = 0
    for relation, score, label in sets["test"]:
        own = [(s, is_true) for r, s, is_true in sets["valid"] if r == relation]
        pool = own or [(s, is_true) for _, s, is_true in sets["valid"]]
        right += (score >= best_threshold(*(np.array(column) for column in zip(*pool, strict=True)))) == label
    assert result["metrics"]["accuracy"] == right / 8
    assert (result["metrics"]["num_true"], result["metrics"]["num_false"]) == (4, 4)
    assert result["protocol"]["negatives"] == {"valid": "corrupted", "test": "corrupted"}
    sources = {relation: metrics["threshold_from"] for relation, metrics in result["per_relation"].items()}
    assert sources == {"likes": "this relation", "eats": "this relation", "knows": "all relations"}


def test_given_negatives_are_taken(scorer, toy_folder, toy_graph):
    assert load_negatives("folder", toy_folder, toy_graph, "test") is None
    (toy_folder / "test_negatives.txt").write_text("ann\teats\tivy\nivy\tlikes\telm\nelm\tknows\tann\n")
    negatives = load_negatives("folder", toy_folder, toy_graph, "test")
    labels = [(toy_graph.entity_labels[h], toy_graph.relation_labels[r], toy_graph.entity_labels[t])
              for h, r, t in negatives]  # fmt: skip
    assert labels == [("ann", "eats", "ivy"), ("ivy", "likes", "elm"), ("elm", "knows", "ann")]
    false = {"valid": None, "test": negatives}
    result = triple_classification(scorer, toy_graph, toy_graph.triples, false, split="test", seed=0)
    assert result["protocol"]["negatives"] == {"valid": "corrupted", "test": "given"}
    assert (result["metrics"]["num_true"], result["metrics"]["num_false"]) == (4, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ann\teats\tivy\nann\teats\n", "test_negatives.txt:2: 2 tab-separated columns"),
        ("ann\teats\tivy\n\nann\teats\tyak\n", "test_negatives.txt:3: yak occurs in no split"),
        ("ann\teats\tivy\nann\tlikes\tgnu\n", "test_negatives.txt:2: this triple is in the graph"),
        ("\n", "the file is empty"),
    ],
)
def test_a_bad_file_of_negatives_is_refused_with_its_line(toy_folder, toy_graph, text, message):
    (toy_folder / "test_negatives.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_negatives("folder", toy_folder, toy_graph, "test")


def test_an_evaluation_writes_the_tasks_it_is_asked_for(tmp_path, make_scorer, encoder, tokenizer, template, capsys):
    toy_folder = write_toy_graph(tmp_path / "toy")
    run = make_run(tmp_path / "run", toy_folder, encoder, tokenizer, template)
    tasks = ["entity", "relation", "classification"]
    evaluate(configured(KgcConfig, "kgc", run=str(run), tasks=tasks, baselines=False))
    result = json.loads((run / "eval" / "kgc-test.json").read_text())
    graph = load_graph("folder", toy_folder)
    scorer = make_scorer(graph)
    assert result["relation_prediction"] == relation_prediction(scorer, graph, graph.triples["test"], PROTOCOL)
    unknown = {"valid": None, "test": None}
    judged = triple_classification(scorer, graph, graph.triples, unknown, split="test", seed=0)
    thresholds = [metrics.pop("threshold") for metrics in judged["per_relation"].values()]
    written = [metrics.pop("threshold") for metrics in result["triple_classification"]["per_relation"].values()]
    assert written == pytest.approx(thresholds, abs=1e-5), "batches of another size round the last bits differently"
    assert result["triple_classification"] == judged
    shown = capsys.readouterr().out
    for title in ("relation prediction (h, ?, t)", "triple classification", "corrupted for valid"):
        assert title in shown
    evaluate(configured(KgcConfig, "kgc", run=str(run), baselines=False))
    assert "relation_prediction" not in json.loads((run / "eval" / "kgc-test.json").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["relation"]}, "tasks must be a list with entity in it"),
        ({"tasks": ["entity", "classification"], "split": "valid"}, "split must be train or test with classification"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
    ],
)
def test_tasks_that_cannot_be_done_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        configured(KgcConfig, "kgc", run="x", **changes)
