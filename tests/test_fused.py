"""Fused ranks against one query and one candidate at a time."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_encoder
from hypothesis import given
from hypothesis import strategies as st
from test_config import composed
from test_generation import one_by_one

from kalm.composition import to_dataclass
from kalm.config import FusedConfig, KgcConfig, RankingConfig
from kalm.evaluation import shortlist as shortlist_module
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.fused import Reranker, choose_weights
from kalm.evaluation.kgc import embed
from kalm.evaluation.questions import Questions
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.shortlist import Shortlist, find_shortlist, shortlist_ranks
from kalm.graph.knowledge_graph import SPLITS, TAIL, KnowledgeGraph
from kalm.graph.neighbours import is_neighbour

RANKING = RankingConfig(batch_tokens=64, score_memory_mib=1)
CPU = torch.device("cpu")
TEMPERATURE = 0.07


def fused_config(**changes) -> FusedConfig:
    values = {
        "top_k": 4, "alphas": [0.0, 0.5], "betas": [0.0, 1.0], "num_valid_queries": 100, "seed": 0,
        "neighbour_bonus": 0.0, "neighbour_hops": 1,
    }  # fmt: skip
    return FusedConfig(**{**values, **changes})


class Task:
    """The toy graph's test queries under an LM with random weights."""

    def __init__(self, graph, table, tokenizer, split="test"):
        self.graph, self.table = graph, table
        self.encoder = make_encoder(tokenizer).eval()
        with torch.no_grad():
            for parameter in self.encoder.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4)
        self.questions = Questions(graph, graph.directed(split), SPLITS)
        self.embedded = embed(self.encoder, table, self.questions, RANKING)
        self.by_embedding = self.embedded.ranks(self.questions, RANKING, CPU)

    def rank(self, **changes):
        reranker = Reranker(
            self.encoder, self.table, self.graph, self.questions, TEMPERATURE, RANKING, fused_config(**changes)
        )
        return reranker.rank(self.embedded.index, self.embedded.queries, self.by_embedding)

    def known(self, query):
        """Other answers of the query, in any split."""
        return {
            int(tail) for split in SPLITS for head, relation, tail in self.graph.directed(split)
            if (head, relation) == (query[0], query[1]) and tail != query[TAIL]
        }  # fmt: skip

    def rank_one_by_one(self, score, top_k):
        """The order that is promised: the candidates by score, all others after them by cosine."""
        optimistic, pessimistic = [], []
        cosines = (self.embedded.queries.double() @ self.embedded.index.vectors.double().T).numpy().round(12)
        for query, row in zip(self.questions.directed.tolist(), cosines, strict=True):
            ranked = [cosine for entity, cosine in enumerate(row) if entity not in self.known(query)]
            worst = sorted(ranked, reverse=True)[min(top_k, len(ranked)) - 1]
            keys = [(1, score(query, entity, cosine)) if cosine >= worst else (0, cosine)
                    for entity, cosine in enumerate(row)]  # fmt: skip
            others = [key for entity, key in enumerate(keys) if entity not in self.known(query) | {query[TAIL]}]
            better = sum(key > keys[query[TAIL]] for key in others)
            optimistic.append(1 + better)
            pessimistic.append(1 + better + sum(key == keys[query[TAIL]] for key in others))
        return optimistic, pessimistic

    def log_probability(self, query, entity):
        head, _ = self.table.completion_heads.take(np.array([query[0]]))
        relation, _ = self.table.completion_relations.take(np.array([query[1]]))
        tail, _ = self.table.tails.take(np.array([entity]))
        (score,) = one_by_one(self.encoder, [[*head.tolist(), *relation.tolist()]], [tail.tolist()], [[0]])
        return score, len(tail)


@pytest.fixture
def task(toy_graph, table, tokenizer):
    return Task(toy_graph, table, tokenizer)


def as_lists(ranks: Ranks):
    return ranks.optimistic.tolist(), ranks.pessimistic.tolist()


@pytest.mark.parametrize("top_k", [1, 4, 1000])
def test_alpha_0_gives_exactly_the_embeddings_ranks(task, top_k):
    fused = task.rank(top_k=top_k, alphas=[0.0])
    assert as_lists(fused.fused) == as_lists(task.by_embedding)


@pytest.mark.parametrize("top_k", [1, 4, pytest.param(10, marks=pytest.mark.slow)])
def test_ranks_equal_those_of_one_candidate_at_a_time(toy_graph, table, tokenizer, top_k):
    task = Task(toy_graph, table, tokenizer, split="train")
    fused = task.rank(top_k=top_k, neighbour_bonus=1.5)
    weights = fused.protocol["fused"]

    def rounded(score):
        return round(score, 3)  # equal texts score equally, but one by one and as a tree differ in the last bits

    def generation(query, entity, _):
        score, length = task.log_probability(query, entity)
        return rounded(score / length ** fused.protocol["generation"]["beta"])

    def both(query, entity, cosine):
        score, length = task.log_probability(query, entity)
        edges = {(h, t) for h, _, t in task.graph.triples["train"].tolist()}
        near = entity != query[0] and ((query[0], entity) in edges or (entity, query[0]) in edges)
        return rounded(cosine / TEMPERATURE + weights["alpha"] * score / length ** weights["beta"] + 1.5 * near)

    assert as_lists(fused.generation) == task.rank_one_by_one(generation, top_k)
    assert as_lists(fused.fused) == task.rank_one_by_one(both, top_k)
    if top_k > 4:
        low, high = as_lists(fused.generation)
        assert low != high, "ann likes a dog, and two entities have that name"


def test_weights_are_the_best_on_valid_and_do_not_depend_on_test(task, table, tokenizer, toy_graph):
    chosen = task.rank(top_k=10, alphas=[0.0, 0.1, 1.0, 10.0]).protocol
    tried = {(row["alpha"], row["beta"]): row for row in chosen["choice"]["mrr"]["fused"]}
    assert len(tried) == 8
    gains = {weights: row["gain"] - row["standard_error"] for weights, row in tried.items()}
    assert len(set(gains.values())) > 2
    assert gains[chosen["fused"]["alpha"], chosen["fused"]["beta"]] == max(gains.values()) >= 0
    embedding = chosen["choice"]["mrr"]["embedding"]
    assert tried[0.0, 0.0]["mrr"] == tried[0.0, 1.0]["mrr"] == embedding
    for row in tried.values():
        assert row["gain"] == pytest.approx(row["mrr"] - embedding, abs=1e-12)
        assert row["alpha"] > 0 or row["standard_error"] == 0
    assert any(row["standard_error"] > 0 for row in tried.values())
    other = Task(
        replace(toy_graph, triples={**toy_graph.triples, "test": toy_graph.triples["valid"]}), table, tokenizer
    )
    assert other.rank(top_k=10, alphas=[0.0, 0.1, 1.0, 10.0]).protocol == chosen


def test_a_gain_of_a_few_queries_does_not_count():
    embedding = np.full(100, 0.5)
    lucky, steady = embedding.copy(), embedding + 0.004
    lucky[0] = 1.0  # a gain of .005 that is one query's
    tried = {(0.0, 0.0): embedding, (1.0, 0.0): lucky, (2.0, 0.0): steady}
    best, rows = choose_weights(tried, embedding)
    assert best == (2.0, 0.0)
    assert [row["gain"] for row in rows] == pytest.approx([0, 0.005, 0.004])
    assert [row["standard_error"] for row in rows] == pytest.approx([0, 0.005, 0], abs=1e-12)
    assert choose_weights({**tried, (2.0, 0.0): embedding - 0.1, (1.0, 0.0): lucky - 0.001}, embedding)[0] == (0.0, 0.0)


def test_the_mrr_that_weights_are_chosen_by_is_that_of_valid(toy_graph, table, tokenizer):
    blind = replace(toy_graph, triples={**toy_graph.triples, "test": toy_graph.triples["valid"]})
    task = Task(blind, table, tokenizer, split="valid")
    fused = task.rank(top_k=10)
    weights = fused.protocol["fused"]
    (best,) = (row["mrr"] for row in fused.protocol["choice"]["mrr"]["fused"]
               if (row["alpha"], row["beta"]) == (weights["alpha"], weights["beta"]))  # fmt: skip
    assert float((1 / fused.fused.realistic).mean()) == pytest.approx(best)
    best = max(row["mrr"] for row in fused.protocol["choice"]["mrr"]["generation"])
    assert float((1 / fused.generation.realistic).mean()) == pytest.approx(best)


@pytest.mark.parametrize("wide", [1, 8])
@pytest.mark.parametrize("k", [1, 3, 29, 30, 99])
def test_the_shortlist_is_the_k_best_and_those_that_tie_with_the_last(k, wide, monkeypatch):
    monkeypatch.setattr(shortlist_module, "WIDE", wide)
    vectors = torch.nn.functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    vectors[5:25] = vectors[3]
    queries = vectors[[3, 8, 28]]
    found = find_shortlist(EntityIndex(vectors), queries, k)
    cosines = (queries.double() @ vectors.double().T).numpy()
    expected = [
        (row, entity)
        for row, of_query in enumerate(cosines)
        for entity, cosine in enumerate(of_query)
        if cosine >= sorted(of_query, reverse=True)[min(k, 30) - 1] - 1e-11
    ]
    assert list(zip(found.rows.tolist(), found.entity_ids.tolist(), strict=True)) == expected
    assert found.cosines == pytest.approx(cosines[found.rows, found.entity_ids], abs=1e-12)


@pytest.mark.parametrize("wide", [1, 1000])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_known_answers_take_no_place_on_the_shortlist(toy_graph, k, wide, monkeypatch):
    monkeypatch.setattr(shortlist_module, "WIDE", wide)
    monkeypatch.setattr(shortlist_module, "FOUND_AT_ONCE", 16)
    questions = Questions(toy_graph, toy_graph.directed("train"), SPLITS)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(toy_graph.num_entities, 8, generator=generator), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(len(questions), 8, generator=generator), dim=1)
    found = find_shortlist(EntityIndex(vectors), queries, k, questions)
    known = {tuple(triple) for split in SPLITS for triple in toy_graph.directed(split).tolist()}
    cosines = (queries.double() @ vectors.double().T).tolist()
    for row, (head, relation, true) in enumerate(questions.directed.tolist()):
        ranked = [entity for entity in range(toy_graph.num_entities)
                  if entity == true or (head, relation, entity) not in known]  # fmt: skip
        best = sorted(ranked, key=lambda entity: -cosines[row][entity])[:k]
        assert found.entity_ids[found.rows == row].tolist() == sorted(best)


@st.composite
def reranking_tasks(draw):
    num_queries, num_entities = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    score = st.integers(0, 2).map(float)  # few values, so that ties are common
    pairs = sorted(draw(st.sets(st.tuples(st.integers(0, num_queries - 1), st.integers(0, num_entities - 1)))))
    scores = draw(st.lists(score, min_size=len(pairs), max_size=len(pairs)))
    true_ids = draw(st.lists(st.integers(0, num_entities - 1), min_size=num_queries, max_size=num_queries))
    known = draw(st.sets(st.tuples(st.integers(0, num_queries - 1), st.integers(0, num_entities - 1))))
    return num_entities, dict(zip(pairs, scores, strict=True)), true_ids, known


@given(reranking_tasks())
def test_filtered_ranks_among_candidates_equal_brute_force(task):
    num_entities, scores, true_ids, known = task
    num_queries = len(true_ids)
    directed = np.array([(row, 0, true) for row, true in enumerate(true_ids)])
    labels = [str(i) for i in range(max(num_entities, num_queries))]
    triples = np.array([(row, 0, entity) for row, entity in sorted(known)], dtype=np.int64).reshape(-1, 3)
    graph = KnowledgeGraph(
        entity_labels=labels, entity_names=labels, entity_descriptions=labels, relation_labels=["r"],
        relation_names=["r"], triples={"train": triples}, num_named=0,
    )  # fmt: skip
    # as a shortlist is: without what is known of others
    listed = [pair for pair in scores if pair not in known or pair[1] == true_ids[pair[0]]]
    pairs = np.array(listed, dtype=np.int64).reshape(-1, 2)
    otherwise = Ranks(*(torch.arange(num_queries) + start for start in (100, 200, 300)))
    ranks = shortlist_ranks(
        Shortlist(pairs[:, 0], pairs[:, 1], np.zeros(len(pairs))), np.array([scores[pair] for pair in listed]),
        Questions(graph, directed, ["train"]), otherwise, tie=1e-9,
    )  # fmt: skip
    for row, true in enumerate(true_ids):
        others = [score for (query, entity), score in scores.items()
                  if query == row and entity != true and (row, entity) not in known]  # fmt: skip
        expected = (row + 100, row + 200)
        if (row, true) in scores:
            own = scores[row, true]
            expected = (1 + sum(s > own for s in others), 1 + sum(s >= own for s in others))
        assert (int(ranks.optimistic[row]), int(ranks.pessimistic[row])) == expected


@pytest.mark.parametrize("num_hops", [1, 2, 3])
def test_neighbours_are_those_that_a_walk_reaches(toy_graph, num_hops):
    pairs = np.array(
        [(head, entity) for head in range(toy_graph.num_entities) for entity in range(toy_graph.num_entities)]
    )
    near = is_neighbour(toy_graph, pairs[:, 0], pairs[:, 1], num_hops)
    edges = {(h, t) for h, _, t in toy_graph.triples["train"].tolist()}
    edges |= {(t, h) for h, t in edges}
    for (head, entity), answer in zip(pairs.tolist(), near.tolist(), strict=True):
        reached = {head}
        for _ in range(num_hops):
            reached |= {t for h, t in edges if h in reached}
        assert answer == (entity in reached and entity != head)
    assert 0 < near.sum() < len(pairs) - toy_graph.num_entities


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fused.top_k=0"], "fused.top_k must be a whole number >= 1, got 0"),
        (["fused.alphas=[0.1]"], "fused.alphas must be a list with 0 in it"),
        (["fused.alphas=[0,-1]"], "fused.alphas must be a list of finite numbers >= 0"),
        (["fused.betas=[]"], "fused.betas must be a list of finite numbers >= 0"),
        (["fused.neighbour_bonus=-1"], "fused.neighbour_bonus must be a finite number >= 0"),
        (["scores=fused", "index=ivf"], "index must be flat with scores=fused"),
        (
            ["scores=fused", "split=valid", "protocol.filter=[train,valid]"],
            "split must be train or test with scores=fused",
        ),
        (
            ["scores=fused", "fused.neighbour_bonus=1", "split=train"],
            "fused.neighbour_bonus must be 0 with split=train",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_dataclass(composed("run=runs/x", *overrides, name="kgc"), KgcConfig)
