"""The page about a run: whole, safe whatever entities are called, the same for the same data, and true to it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from conftest import make_encoder

from kalm.config import Candidates, Protocol, Ties
from kalm.evaluation.breakdown import breakdown
from kalm.evaluation.drawn import DrawnEntities
from kalm.evaluation.embedding_pictures import (
    clustered,
    most_frequent_relations,
    principal_components,
    similarity_matrices,
    spread,
)
from kalm.evaluation.kgc import by_direction, by_relation, describe_protocol, embed, intervals_by_direction
from kalm.evaluation.kgc_section import kgc_section, worst_queries
from kalm.evaluation.pictures import rank_histogram, training_curves
from kalm.evaluation.questions import split_questions
from kalm.evaluation.report import write_predictions
from kalm.evaluation.sections import render
from kalm.graph.knowledge_graph import HEAD, RELATION
from kalm.logged import read_logged
from kalm.provenance import environment

HOSTILE = [
    "<script>alert(1)</script>",
    "$x^2 & \"y\" 'z'$",
    "--></svg><img src=http://example.org/x>",
    "東京 {{ 7*7 }}",
]
PROTOCOL = Protocol(
    filter=["train", "valid", "test"], ties=Ties.realistic, candidates=Candidates.all, ask_unseen=True,
    repeat_duplicates=True,
)  # fmt: skip
LOGGED = [
    {"step": step, "loss/contrastive": 3 / step, "loss/triple_completion": 2 / step, "temperature": 0.05}
    for step in (1, 2, 3)
]


def section_ids(page: str) -> set[str]:
    return set(re.findall('<section id="kgc-test-([a-z]+)"', page))


class Parsed(HTMLParser):
    """Tags, what is linked to, what can be linked to, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            is_address = "://" in (value or "") and not name.startswith("xmlns")
            self.links += [value] if is_address or name in {"href", "src", "xlink:href", "srcset"} else []
            self.links += re.findall(r"url\(([^)]*)\)", value or "")
            self.handlers += [name] if name.startswith("on") else []
            self.ids |= {value} if name == "id" else set()

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def hostile_graph(toy_graph):
    names = HOSTILE + list(toy_graph.entity_names)[len(HOSTILE) :]
    return replace(toy_graph, entity_names=names, relation_names=["<b>eats</b>", *toy_graph.relation_names[1:]],
                   relation_labels=["<i>eats</i>", *toy_graph.relation_labels[1:]])  # fmt: skip


@pytest.fixture(scope="module")
def make_page(hostile_graph, table, tokenizer, ranking, tmp_path_factory):
    def make(logged, drawn_ids, more_protocol=(), **more) -> str:
        questions = split_questions(hostile_graph, "test", PROTOCOL)
        embedded = embed(make_encoder(tokenizer), table, questions, ranking)
        ranks = embedded.ranks(questions, ranking, torch.device("cpu"))
        metrics = by_direction(ranks, questions)
        result = {
            "split": "test", "protocol": describe_protocol(questions, "test", PROTOCOL), "metrics": metrics, "step": 3,
            "intervals": intervals_by_direction(ranks, questions, Ties.realistic), "baselines": {},
            "per_relation": by_relation(ranks, questions, Ties.realistic), "environment": environment(),
            "breakdown": breakdown(ranks, questions, table.targets.lengths, Ties.realistic),
        }  # fmt: skip
        result |= more
        result["protocol"].update(more_protocol)
        predictions = tmp_path_factory.mktemp("page") / "predictions.jsonl"
        write_predictions(predictions, questions, embedded, num_predictions=10, filter_splits=PROTOCOL.filter)
        vectors = embedded.index.vectors_of(drawn_ids).numpy()
        section = kgc_section(
            result, {"trained <LM>": metrics["both"]}, {}, questions=questions, ranks=ranks.realistic.numpy(),
            logged=logged, worst=worst_queries(predictions, ranks.realistic.numpy()),
            drawn=DrawnEntities(ids=drawn_ids, trained=vectors, untrained=vectors[:, ::-1]),
        )  # fmt: skip
        return render("run <1>", [section])

    return make


@pytest.fixture(scope="module")
def page(make_page) -> str:
    return make_page(LOGGED, np.arange(10))


def test_a_page_needs_no_network_runs_nothing_and_shows_names_as_they_are(page):
    parsed = Parsed(page)
    assert not parsed.tags & {"script", "img", "iframe", "object", "embed", "link", "form", "i"}
    assert not parsed.handlers
    for link in parsed.links:
        assert link.startswith("data:image/png;base64,") or link.removeprefix("#") in parsed.ids, link
    for name in (*HOSTILE, "run <1>", "trained <LM>", "<b>eats</b>", "<i>eats</i>"):
        assert name[:20] in parsed.text, name
    assert "nan" not in parsed.text


def test_a_page_holds_each_section(page):
    assert section_ids(page) == {
        "metrics", "groups", "worst", "training", "ranks", "relations", "frequency", "map", "similarity",
    }  # fmt: skip


def test_the_other_tasks_are_on_the_page(make_page):
    asked = {"mr": 1.5, "mrr": 0.75, "hits@1": 0.5, "hits@3": 1.0, "hits@10": 1.0, "amri": 0.9, "count": 12_345}
    plain = Parsed(make_page(LOGGED, np.arange(10))).text
    parsed = Parsed(make_page(
        LOGGED, np.arange(10), relation_prediction={"metrics": asked, "intervals": {"mrr": (0.7, 0.8)}},
        triple_classification={"metrics": {"accuracy": 0.91, "balanced_accuracy": 0.92, "f1": 0.93, "num_true": 8,
                                           "num_false": 9}},
        fused_less_embedding={"mrr": {"difference": 0.0271, "interval": (0.013, 0.041)}},
        more_protocol={"fused": {"fused": {"alpha": 0.5, "beta": 1.0}, "choice": {"split": "valid"}}},
    ))  # fmt: skip
    for words in ("relation (h, ?, t)", "0.700 – 0.800", "12,345", "accuracy 0.910", "9 false triples", "+0.027"):
        assert words in parsed.text
        assert words not in plain


def test_a_picture_that_would_show_nothing_is_left_out(make_page):
    page = make_page([], np.arange(2))
    assert section_ids(page) == {"metrics", "groups", "worst", "ranks", "relations", "frequency"}
    assert not {"#kgc-test-training", "#kgc-test-map", "#kgc-test-similarity"} & set(Parsed(page).links)


def test_what_was_not_measured_is_not_drawn():
    valid = {"step": 3, "valid_sample/mrr": 0.5}
    assert "MRR of a sample of valid" in training_curves([*LOGGED, valid])
    assert "MRR of a sample of valid" not in training_curves(LOGGED)
    vectors = np.eye(4, dtype=np.float32)
    both = similarity_matrices(vectors, vectors, list("abcd"))
    assert "before training: cosine 0.00" in both
    alone = similarity_matrices(None, vectors, list("abcd"))
    assert "after training: cosine 0.00" in alone
    assert "before training" not in alone


def test_a_picture_is_the_same_text_for_the_same_data():
    ranks, is_head = np.array([1, 1.5, 20, 3]), np.array([False, True, False, True])
    assert rank_histogram(ranks, is_head) == rank_histogram(ranks, is_head)
    assert rank_histogram(ranks, is_head) != rank_histogram(ranks, ~is_head)


def test_bars_of_the_histogram_are_shares_of_a_direction():
    ranks = np.array([1, 3, 3.5, 11, 1, 1, 1, 2])
    svg = rank_histogram(ranks, np.arange(8) >= 4)
    texts = re.findall("<text[^>]*>([^<]*)</text>", svg)
    shown = [text for text in texts if text in {"25", "75"}]
    assert sorted(shown) == ["25"] * 5 + ["75"]  # tail: 1, to 3, to 10, to 30; head: 1, to 3


def test_worst_queries_come_worst_first_with_what_is_not_known(tmp_path):
    path = tmp_path / "predictions.jsonl"
    predictions = [{"name": f"e{place}", "known": place % 2 == 0} for place in range(10)]
    path.write_text("".join(json.dumps({"anchor": row, "predictions": predictions}) + "\n" for row in range(40)))
    ranks = np.random.default_rng(0).permutation(40).astype(float)
    worst = worst_queries(path, ranks)
    assert [rank for rank, _ in worst] == sorted(ranks, reverse=True)[:25]
    assert all(ranks[query["anchor"]] == rank for rank, query in worst)
    assert [prediction["name"] for prediction in worst[0][1]["instead"]] == ["e1", "e3", "e5"]


def test_a_line_that_a_kill_cut_short_is_not_drawn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_logged(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_logged(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl:2: not JSON"):
        read_logged(path)


def test_places_on_the_map_are_the_first_two_principal_components():
    vectors = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    places, shares = principal_components(vectors)
    centred = vectors - vectors.mean(axis=0)
    left, values, _ = np.linalg.svd(centred)
    # the sign of a component is arbitrary
    np.testing.assert_allclose(np.abs(places), np.abs(left[:, :2] * values[:2]), atol=1e-5)
    np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum(), atol=1e-5)


def test_an_entity_has_the_colour_of_the_relation_it_is_most_often_the_head_of(toy_graph):
    found = most_frequent_relations(toy_graph)
    train = toy_graph.directed("train")
    for entity in range(toy_graph.num_entities):
        relations = train[train[:, HEAD] == entity, RELATION].tolist()
        if relations:
            assert relations.count(found[entity]) == max(map(relations.count, relations))
        else:
            assert found[entity] == -1


def test_labels_are_spread_and_near_vectors_stand_side_by_side():
    places = np.array([[0.0, 0], [0.1, 0], [10, 0], [10, 0.1], [0, 10]])
    assert sorted(point // 2 for point in spread(places, 3)) == [0, 1, 2]
    groups = np.array([0, 1, 0, 1, 0, 1])
    vectors = np.eye(2)[groups] + np.random.default_rng(0).normal(size=(6, 2)) * 0.01
    assert np.count_nonzero(np.diff(groups[clustered(vectors)])) == 1
