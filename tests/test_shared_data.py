"""Every real data set trains two steps and is evaluated through its own layout, with nothing converted by hand."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT, shared

TINY = [
    "model.scratch.hidden_size=16", "model.scratch.intermediate_size=24", "model.scratch.num_layers=1",
    "model.scratch.num_heads=2", "model.scratch.vocab_size=600", "training.batch_size=8", "training.max_steps=2",
    "evaluation.num_queries=4", "run.name=two",
]  # fmt: skip
FOLDERS = {"umls": "UMLS", "wn18rr": "WN18RR", "fb15k237": "FB15k-237", "metaqa": "MetaQA"}
LARGE = pytest.mark.slow


def call(tmp_path, environment, *command: str) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize("way", ["data.path", pytest.param("data.root", marks=LARGE)])
@pytest.mark.parametrize(
    "name", ["umls", *(pytest.param(name, marks=LARGE) for name in ("wn18rr", "fb15k237", "metaqa"))]
)
def test_a_real_data_set_trains_two_steps_and_is_evaluated(name, way, tmp_path, offline_environment):
    folder = shared(f"data/{FOLDERS[name]}")
    place = [f"data.path={folder}"] if way == "data.path" else [f"data={name}", f"data.root={folder}"]
    train = call(tmp_path, offline_environment, str(ROOT / "launch" / "train.py"), *place, *TINY, "data.cache=cache")
    assert "names for" in train.stdout
    environment = json.loads((tmp_path / "runs" / "two" / "environment.json").read_text())
    assert environment["reading"]["coverage"]["named"] > 0
    assert all(file["refused"] == 0 for file in environment["reading"]["files"])
    call(tmp_path, offline_environment, str(ROOT / "eval" / "kgc.py"), "run=runs/two", "page=false",
         "baselines=false")  # fmt: skip
    report = json.loads((tmp_path / "runs" / "two" / "eval" / "kgc-test.json").read_text())
    assert report["metrics"]["both"]["count"] > 0
