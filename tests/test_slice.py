"""`eval/slice.py`: a connected part of a graph, with and without its hubs."""

import runpy
import sys

import pytest
from conftest import ROOT

SLICE = ROOT / "eval" / "slice.py"
# a hub with ten neighbours, two of which begin a chain
TRIPLES = [*(("hub", "r", f"n{number}") for number in range(10)), ("n0", "r", "a"), ("a", "r", "b"), ("b", "r", "n1")]


def test_without_hubs_the_search_goes_on_along_chains():
    first_met = runpy.run_path(str(SLICE))["first_met"]
    triples = [list(triple) for triple in TRIPLES]
    assert first_met(triples, 5) == {"hub", "n0", "n1", "n2", "n3"}
    # starts at a, the first by name of those with two triples; the hub is met, and nothing through it
    assert first_met(triples, 100, 2) == {"a", "n0", "b", "hub", "n1"}


def test_the_splits_keep_their_names(tmp_path, monkeypatch, capsys):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        (source / name).write_text("".join("\t".join(triple) + "\n" for triple in TRIPLES))
    (source / "entity2text.txt").write_text("hub\ta hub\n")
    monkeypatch.setattr(sys, "argv", [str(SLICE), str(source), str(tmp_path / "to"), "--entities", "3"])
    runpy.run_path(str(SLICE), run_name="__main__")
    assert "train: 2 of 13 triples" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "to").iterdir()} == {
        "train.tsv",
        "dev.tsv",
        "test.tsv",
        "entity2text.txt",
    }
    assert (tmp_path / "to" / "dev.tsv").read_text() == "hub\tr\tn0\nhub\tr\tn1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--max-degree", "0"], "each entity has more triples; raise it"), ([], "has no valid.txt and no dev.tsv")],
)
def test_what_is_wrong_is_said(tmp_path, monkeypatch, arguments, message):
    for name in ("train.txt", "test.txt", *(["valid.txt"] if arguments else [])):
        (tmp_path / name).write_text("a\tr\tb\n")
    monkeypatch.setattr(sys, "argv", [str(SLICE), str(tmp_path), str(tmp_path / "to"), *arguments])
    with pytest.raises(SystemExit, match=message):
        runpy.run_path(str(SLICE), run_name="__main__")
    assert not (tmp_path / "to").exists()
