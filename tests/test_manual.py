"""`--help`: every key with its value and what it means."""

from dataclasses import fields

import pytest
from conftest import ROOT
from toy_run import composed

from kalm.config import (
    Config,
    GeometryConfig,
    KgcConfig,
    KgqaConfig,
    KnowledgeConfig,
    PredictConfig,
    PreparationConfig,
    QaConfig,
    QuestionsConfig,
    RationalesConfig,
    RetentionConfig,
)
from kalm.manual import described_keys, manual


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("train", Config),
        ("kgc", KgcConfig),
        ("predict", PredictConfig),
        ("data", PreparationConfig),
        ("geometry", GeometryConfig),
        ("knowledge", KnowledgeConfig),
        ("retention", RetentionConfig),
        ("kgqa", KgqaConfig),
        ("rationales", RationalesConfig),
        ("questions", QuestionsConfig),
        ("qa", QaConfig),
    ],
)
def test_each_key_has_a_value_and_a_meaning(name, schema):
    keys = list(described_keys(composed(name), schema))
    assert {key.split(".")[0] for key, _, _ in keys} == {field.name for field in fields(schema)}
    assert [key for key, _, meaning in keys if not meaning] == []
    assert len({key for key, _, _ in keys}) == len(keys) > 10
    shown = manual(ROOT / "conf", name, schema, [])
    for key, _, meaning in keys:
        assert f"\n  {key}=" in shown
        assert meaning.split()[0] in shown


def test_the_values_are_those_that_the_command_line_gives():
    shown = manual(ROOT / "conf", "train", Config, ["experiment=umls", "training.seed=7"])
    assert "\n  training.seed=7 " in shown
    assert "\n  objective.triple_completion_weight=5.0 " in shown
    assert "\n  experiment=                               umls, " in shown
    assert "one of constant, linear, cosine" in shown
    assert max(map(len, shown.splitlines())) <= 120
