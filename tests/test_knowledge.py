"""What a model knows: which facts are asked, ranks as text against a loop, what is counted, the command."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, make_encoder, write_toy_graph
from test_page import Parsed
from toy_run import configured, make_run

from kalm.config import Direction, KnowledgeConfig
from kalm.evaluation import facts as facts_module
from kalm.evaluation import generation
from kalm.evaluation.facts import draw_facts, rank_as_text
from kalm.evaluation.knowledge_summary import fact_lines, is_first, summarise
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL
from kalm.text.prefix_tree import PrefixTree


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, template):
    place = tmp_path_factory.mktemp("knowledge")
    return make_run(place / "run", write_toy_graph(place / "toy"), make_encoder(tokenizer), tokenizer, template)


def config_of(**keys):
    return configured(KnowledgeConfig, "knowledge", run="runs/x", **keys)


def plain_score(encoder, table, query, entity, beta):
    """Log p(text | query) / length^beta, read alone."""
    tokens = [*table.completion_heads.take(np.array([query[HEAD]]))[0],
              *table.completion_relations.take(np.array([query[RELATION]]))[0]]  # fmt: skip
    text = table.tails.take(np.array([entity]))[0].tolist()
    with torch.no_grad():
        logits = encoder.logits(encoder.states(torch.tensor([tokens + text]))[0]).log_softmax(dim=1)
    steps = [float(logits[len(tokens) - 1 + place, token]) for place, token in enumerate(text)]
    return sum(steps) / len(text) ** beta


def test_all_distinct_training_triples_are_asked_both_ways(toy_graph):
    facts = draw_facts(toy_graph, config_of(num_facts=None))
    train = {tuple(triple) for triple in toy_graph.triples["train"].tolist()}
    directed = [tuple(query) for query in facts.questions.directed.tolist()]
    assert len(set(directed)) == len(directed) == 2 * len(train)
    assert set(directed) == {tuple(query) for query in toy_graph.directed("train").tolist()}
    assert (facts.weights == 1).all()
    for row, (head, _, tail) in enumerate(directed):  # both directions of one fact are of one triple
        twin = next(place for place in np.flatnonzero(facts.fact_of == facts.fact_of[row]) if place != row)
        assert directed[twin][HEAD] == tail
        assert directed[twin][TAIL] == head


def test_a_sample_has_so_many_facts_of_each_relation_and_weights_give_its_size_back(toy_graph):
    config = config_of(num_facts=2, directions=["head"])
    facts = draw_facts(toy_graph, config)
    train = np.unique(toy_graph.triples["train"], axis=0)
    for relation in range(toy_graph.num_relations):
        size = (train[:, RELATION] == relation).sum()
        of_relation = facts.relations == relation
        assert of_relation.sum() == min(2, size)
        assert facts.weights[of_relation].sum() == pytest.approx(size)
    assert facts.questions.is_head.all()
    np.testing.assert_array_equal(draw_facts(toy_graph, config).questions.directed, facts.questions.directed)
    others = [draw_facts(toy_graph, config_of(num_facts=2, directions=["head"], seed=seed)) for seed in range(1, 6)]
    assert any(not np.array_equal(other.questions.directed, facts.questions.directed) for other in others)


@pytest.mark.parametrize(("beta", "candidates", "at_once"), [(1.0, None, 2**20), (0.0, None, 25), (0.5, 4, 11)])
def test_ranks_as_text_are_those_of_texts_read_one_by_one(
    beta, candidates, at_once, toy_graph, table, tokenizer, monkeypatch
):
    monkeypatch.setattr(facts_module, "PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(generation, "TREE_TOKENS", at_once)  # entities of one name would be read in different forwards
    config = config_of(num_facts=None, beta=beta, candidates=candidates)
    facts = draw_facts(toy_graph, config)
    encoder = make_encoder(tokenizer)
    ranks = rank_as_text(encoder, table, PrefixTree.from_rows(table.tails), facts, "", beta=beta,
                         ranking=config.ranking)  # fmt: skip
    known = {tuple(query) for split in ("train", "valid", "test") for query in toy_graph.directed(split).tolist()}
    assert len(facts.candidates) == (candidates or toy_graph.num_entities)
    scores = {}
    for row, query in enumerate(facts.questions.directed.tolist()):
        rivals = [entity for entity in facts.candidates.tolist()
                  if entity != query[TAIL] and (*query[:2], entity) not in known]  # fmt: skip
        for entity in [*rivals, query[TAIL]]:
            key = (*query[:2], entity)
            if key not in scores:
                scores[key] = plain_score(encoder, table, query, entity, beta)
        away = [scores[(*query[:2], entity)] - scores[tuple(query)] for entity in rivals]
        assert ranks.optimistic[row] == 1 + sum(value > 1e-5 for value in away), query
        assert ranks.pessimistic[row] == 1 + sum(value > -1e-5 for value in away), query
        assert ranks.num_candidates[row] == 1 + len(rivals)
    assert candidates is not None or (ranks.pessimistic > ranks.optimistic).any(), "two entities of one name"


def test_entities_of_one_text_tie_and_who_shares_the_first_place_is_not_known():
    ranks = Ranks(*(torch.tensor(column) for column in ([1, 1, 2], [1, 2, 2], [9, 9, 9])))
    assert is_first(ranks).tolist() == [True, False, False]


def test_shares_are_weighted_counts_and_lines_say_which_facts_are_known(toy_graph):
    facts = draw_facts(toy_graph, config_of(num_facts=2))
    num = len(facts.questions)
    generator = np.random.default_rng(0)
    firsts = {name: generator.integers(1, 3, size=num) for name in ("base_text", "text", "embedding")}
    ranks = {name: Ranks(*(torch.from_numpy(column) for column in (of, of, np.full(num, 9))))
             for name, of in firsts.items()}  # fmt: skip
    found = summarise(ranks, facts)
    lines = list(fact_lines(ranks, facts))
    assert len(lines) == num
    for name in ranks:
        flags = firsts[name] == 1
        assert found["overall"]["all"][name]["value"] == pytest.approx(
            (flags * facts.weights).sum() / facts.weights.sum()
        )
        for label, of in found["by_relation"].items():
            mask = [line["relation"] == label for line in lines]
            assert of["count"] == sum(mask)
            assert of[name] == pytest.approx(flags[mask].mean())
        assert [line[f"knows_{name}"] for line in lines] == flags.tolist()
        for direction in ("tail", "head"):
            mask = np.array([line["direction"] == direction for line in lines])
            value = (flags * facts.weights)[mask].sum() / facts.weights[mask].sum()
            assert found["overall"][direction][name]["value"] == pytest.approx(value)
    assert sum(of["count"] for of in found["by_frequency"].values()) == num
    shares = [found["overall"]["all"][name]["value"] for name in ("base_text", "text")]
    assert found["differences"]["tuned, text less base, text"]["difference"] == pytest.approx(shares[1] - shares[0])
    train = {tuple(triple) for triple in toy_graph.triples["train"].tolist()}
    place = {label: entity for entity, label in enumerate(toy_graph.entity_labels)}
    for line in lines:
        relation = list(toy_graph.relation_labels).index(line["relation"])
        assert (place[line["head"]], relation, place[line["tail"]]) in train
        answer = place[line["tail" if line["direction"] == "tail" else "head"]]
        assert line["frequency"] == sum(answer in (head, tail) for head, _, tail in train)


def test_the_command_writes_each_fact_and_adds_to_the_page(folder, warm_python, offline_environment):
    arguments = [ROOT / "eval" / "knowledge.py", f"run={folder}", "candidates=5", "num_facts=3"]
    result = warm_python.run(arguments, environment=offline_environment)
    assert result.returncode == 0, result.stderr
    report = json.loads((folder / "eval" / "knowledge.json").read_text())
    lines = [json.loads(line) for line in (folder / "eval" / "knowledge.jsonl").read_text().splitlines()]
    assert report["protocol"]["candidates"] == "first of 5 sampled entities and itself"
    assert report["protocol"]["num_questions"] == len(lines)
    assert report["overall"]["all"]["count"] == len(lines)
    assert all(line["candidates"] <= 6 for line in lines)
    for line in lines:
        assert line["knows_text"] == (line["rank_text"] == 1)
    assert "first of 5 sampled" in " ".join(result.stdout.split())
    page = Parsed((folder / "report.html").read_text())
    assert "knowledge" in page.ids
    for words in ("What the model knows", "base, text", "Frequency of the answer", "first of 5 sampled entities"):
        assert words in page.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_facts": 0}, "num_facts must be a whole number > 0 or null, got 0"),
        ({"candidates": 0}, "candidates must be a whole number > 0 or null, got 0"),
        ({"directions": []}, "directions must be a list of tail, head or both, got []"),
        ({"directions": [Direction.tail] * 2}, "directions must be a list of tail, head or both"),
        ({"beta": -1.0}, "beta must be a finite number >= 0, got -1.0"),
        ({"filter": ["test"]},
         "filter must be a list of splits among train, valid and test, train being one of them"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_its_key(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(config_of(), **changes)


@pytest.mark.slow
def test_a_mistake_is_one_line(warm_python, offline_environment, tmp_path):
    arguments = [ROOT / "eval" / "knowledge.py", "run=x", "directions=[up]"]
    result = warm_python.run(arguments, environment=offline_environment, cwd=tmp_path)
    assert result.returncode == 2, result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: directions")


def test_directions_are_named_in_the_order_of_rows():
    assert [direction.value for direction in Direction] == ["tail", "head"]
