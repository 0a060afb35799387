"""`eval/geometry.py`: the sample, the verdicts, the command with its files and its section of the page."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, make_encoder, write_toy_graph
from test_page import Parsed
from toy_run import configured, make_run

from kalm.config import GeometryConfig
from kalm.evaluation.encoding import encode
from kalm.evaluation.geometry_run import verdict
from kalm.evaluation.geometry_sample import draw_sample
from kalm.graph.knowledge_graph import HEAD, TAIL
from kalm.text.token_table import build_token_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, template):
    place = tmp_path_factory.mktemp("geometry")
    return make_run(place / "run", write_toy_graph(place / "toy"), make_encoder(tokenizer), tokenizer, template)


def config_of(**keys):
    return configured(GeometryConfig, "geometry", run="runs/x", **keys)


def test_each_text_is_in_the_sample_once_and_every_answer_is_found(toy_graph, tokenizer, template):
    names = [*list(toy_graph.entity_names)[:-1], toy_graph.entity_names[0]]
    graph = replace(toy_graph, entity_names=names, entity_descriptions=[""] * toy_graph.num_entities)
    table = build_token_table(graph, tokenizer, template)
    sample = draw_sample(graph, table, config_of(split="train", num_vectors=5))
    assert len({graph.entity_names[entity] for entity in sample.entities}) == len(set(names)) == len(sample.entities)
    assert len(sample.entities) < graph.num_entities
    assert len(sample.entities_drawn) == len(set(sample.entities_drawn.tolist())) == 5
    encoder = make_encoder(tokenizer)
    queries = encode(encoder, sample.queries, 64, sample.distinct_queries)
    torch.testing.assert_close(
        queries[torch.from_numpy(sample.query_of)], encode(encoder, sample.queries, 64), atol=1e-6, rtol=0
    )
    triples = np.unique(graph.triples["train"], axis=0)
    assert sample.num_triples == len(triples)
    answers = sorted(graph.entity_names[sample.entities[place]] for place in sample.tail_of)
    assert answers == sorted(graph.entity_names[entity] for entity in triples[:, [HEAD, TAIL]].ravel())


def test_the_sample_depends_on_the_seed_alone(toy_graph, table):
    first, again, other = (draw_sample(toy_graph, table, config_of(split="train", num_triples=6, seed=seed))
                           for seed in (1, 1, 2))  # fmt: skip
    for name in ("entities", "entities_drawn", "distinct_queries", "query_of", "tail_of"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.num_triples == 6
    assert not np.array_equal(first.tail_of, other.tail_of)


def test_too_little_to_compare_is_refused(toy_graph, table):
    lonely = SimpleNamespace(
        num_entities=toy_graph.num_entities, num_relations=toy_graph.num_relations,
        triples={"test": np.array([[0, 0, 0]])},
    )  # fmt: skip
    with pytest.raises(ValueError, match="queries of test with different texts: a geometry needs at least 3"):
        draw_sample(lonely, table, config_of())


def test_a_claim_is_settled_by_the_interval_of_the_difference():
    assert verdict([-0.2, -0.1]) == "yes"
    assert verdict([0.1, 0.2]) == "no, the other way round"
    assert verdict([-0.1, 0.1]) == "not settled"


def test_the_command_measures_both_models_and_adds_to_the_page(folder, warm_python, offline_environment):
    arguments = [ROOT / "eval" / "geometry.py", f"run={folder}", "split=train", "k=3", "num_parts=4"]
    result = warm_python.run(arguments, environment=offline_environment)
    assert result.returncode == 0, result.stderr
    report = json.loads((folder / "eval" / "geometry.json").read_text())
    assert len(report["measures"]) == 12
    for name, found in report["measures"].items():
        assert found["difference"]["value"] == pytest.approx(found["tuned"]["value"] - found["base"]["value"])
        for of in found.values():
            assert of["interval"][0] <= of["value"] <= of["interval"][1], name
    for side in ("entities", "queries"):
        assert f"less anisotropic, {side}: {report['claims'][f'less anisotropic, {side}']}" in result.stdout
    assert report["step"] == 7
    page = Parsed((folder / "report.html").read_text())
    assert "geometry" in page.ids
    for words in ("Cosines of random pairs", "Spectrum", "Hubs", "before training", "anisotropy, entities"):
        assert words in page.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_vectors": 2}, "num_vectors must be a whole number >= 3, got 2"),
        ({"split": "all"}, "split must be train, valid or test, got 'all'"),
        ({"k": 0}, "k must be a whole number >= 1, got 0"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(config_of(), **changes)


@pytest.mark.slow
@pytest.mark.parametrize("override", ["run=nowhere", "seeds=1"])
def test_a_mistake_is_one_line(override, folder, warm_python, offline_environment, tmp_path):
    arguments = [ROOT / "eval" / "geometry.py", f"run={folder}", override]
    result = warm_python.run(arguments, environment=offline_environment, cwd=tmp_path)
    assert result.returncode == 2, result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert override.partition("=")[0] in line or "nowhere" in line
