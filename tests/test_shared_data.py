"""Every real data set trains two steps and is evaluated through its own layout, with nothing converted by hand."""

import json

import pytest
from conftest import ROOT, shared

TINY = [
    "model.scratch.hidden_size=16", "model.scratch.intermediate_size=24", "model.scratch.num_layers=1",
    "model.scratch.num_heads=2", "model.scratch.vocab_size=600", "training.batch_size=8", "training.max_steps=2",
    "evaluation.num_queries=4", "run.name=two",
]  # fmt: skip
FOLDERS = {"umls": "UMLS", "wn18rr": "WN18RR", "fb15k237": "FB15k-237", "metaqa": "MetaQA"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["data.path", "data.root"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_real_data_set_trains_two_steps_and_is_evaluated(name, way, tmp_path, warm_python, offline_environment):
    def call(*command: str) -> str:
        result = warm_python.start(command, cwd=tmp_path, environment=offline_environment).wait(timeout=900)
        assert result.returncode == 0, result.stderr
        return result.stdout

    folder = shared(f"data/{FOLDERS[name]}")
    place = [f"data.path={folder}"] if way == "data.path" else [f"data={name}", f"data.root={folder}"]
    printed = call(str(ROOT / "launch" / "train.py"), *place, *TINY, "data.cache=cache")
    assert "names for" in printed
    environment = json.loads((tmp_path / "runs" / "two" / "environment.json").read_text())
    assert environment["reading"]["coverage"]["named"] > 0
    assert all(file["refused"] == 0 for file in environment["reading"]["files"])
    call(str(ROOT / "eval" / "kgc.py"), "run=runs/two", "page=false", "baselines=false")
    report = json.loads((tmp_path / "runs" / "two" / "eval" / "kgc-test.json").read_text())
    assert report["metrics"]["both"]["count"] > 0
