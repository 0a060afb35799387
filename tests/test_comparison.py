"""Two evaluated runs side by side."""

import json
import re

import numpy as np
import pytest

from kalm.evaluation.comparison import compare

PROTOCOL = {
    "filter": ["train", "test"], "ties": "realistic", "candidates": "all entities", "num_candidates": 40,
    "num_unseen": 0, "unseen": "asked", "num_duplicates": 0, "duplicates": "asked once",
}  # fmt: skip


def write_run(folder, ranks, protocol=PROTOCOL, name="h"):
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "kgc-test.json").write_text(json.dumps({"protocol": protocol}))
    lines = []
    for row, rank in enumerate(ranks):
        query = (f"{name}{row // 2}", "r", f"t{row // 2}", ("tail", "head")[row % 2])
        lines.append("\t".join((*query, f"{rank:.1f}", f"{rank - 1:.0f}", f"{rank + 1:.0f}", "40")))
    (folder / "eval" / "kgc-test.ranks.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    generator = np.random.default_rng(0)
    first = generator.integers(2, 30, 60).astype(float)
    better = np.maximum(2, first - generator.integers(0, 5, 60))
    return write_run(tmp_path / "a", first), write_run(tmp_path / "b", better), first, better


def test_differences_are_those_of_the_ranks(runs, capsys):
    first, second, before, after = runs
    compare(first, second, "test")
    result = json.loads((second / "eval" / "kgc-test.compared-with-a.json").read_text())
    for group, rows in (("both", slice(None)), ("tail", slice(0, None, 2)), ("head", slice(1, None, 2))):
        found = result[group]["mr"]
        assert found["first"] == pytest.approx(before[rows].mean())
        assert found["difference"] == pytest.approx((after[rows] - before[rows]).mean())
        low, high = found["interval"]
        assert low <= found["difference"] <= high < 0, "lower ranks on every query are no chance"
    assert "b less a" in capsys.readouterr().out


def test_the_policy_for_ties_chooses_the_column(tmp_path):
    protocol = {**PROTOCOL, "ties": "pessimistic"}
    ranks = np.full(8, 5.0)
    compare(write_run(tmp_path / "a", ranks, protocol), write_run(tmp_path / "b", ranks, protocol), "test")
    result = json.loads((tmp_path / "b" / "eval" / "kgc-test.compared-with-a.json").read_text())
    assert result["both"]["mr"]["first"] == 6


def test_ranks_of_an_older_model_are_refused(runs):
    first, second, *_ = runs
    (first / "eval" / "kgc-test.json").write_text(json.dumps({"protocol": PROTOCOL, "step": 20}))
    (first / "model").mkdir()
    (first / "model" / "kalm.json").write_text('{"step": 20}')
    compare(first, second, "test")
    (first / "model" / "kalm.json").write_text('{"step": 25}')
    with pytest.raises(ValueError, match=r"of step 20, and the model is of step 25 by now; evaluate it again"):
        compare(first, second, "test")


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    first, _, before, _ = runs
    other_filter = write_run(tmp_path / "raw", before, {**PROTOCOL, "filter": []})
    other_triples = write_run(tmp_path / "other", before, name="x")
    torn = write_run(tmp_path / "torn", before)
    listed = torn / "eval" / "kgc-test.ranks.tsv"
    listed.write_text(listed.read_text() + "h\tr\n")
    for run, message in (
        (tmp_path / "nowhere", "evaluate it first: python eval/kgc.py run="),
        (other_filter, "different protocols (filter: "),
        (other_triples, "were asked different triples of test"),
        (torn, "kgc-test.ranks.tsv:61: 2 columns instead of 8"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            compare(first, run, "test")
    assert list(tmp_path.rglob("*compared*")) == []
