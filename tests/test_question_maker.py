"""Questions made from a graph: their answers against a loop over triples, wordings held out, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, write_toy_graph
from rationale_config import questions_config

from kalm.kgqa.question_lines import read_question_lines
from kalm.rationale.phrases import phrases_of
from kalm.rationale.question_maker import draw_questions, make_questions
from kalm.rationale.wording import TOPIC, phrasings, split_wordings

SIZES = ["num_train=4", "num_valid=2", "num_test=2"]


def config(folder, *overrides):
    return questions_config(*SIZES, *overrides, folder=folder)


def answers_by_loop(graph, topic, walk):
    """Every triple is looked at for each step."""
    reached = {topic}
    for relation in walk:
        triples = np.concatenate([graph.triples[split] for split in ("train", "valid", "test")]).tolist()
        if relation < graph.num_relations:
            reached = {tail for head, name, tail in triples if name == relation and head in reached}
        else:
            reached = {
                head for head, name, tail in triples if name == relation - graph.num_relations and tail in reached
            }
    return tuple(sorted(reached - {topic}))


@pytest.mark.parametrize("hops", [1, 2])
def test_answers_are_all_that_the_walk_reaches(toy_graph, tmp_path, hops):
    for seed in range(5):
        drawn = draw_questions(toy_graph, config(tmp_path, f"hops={hops}", f"seed={seed}", "max_answers=5"))
        assert len({(asked.topic, asked.walk) for asked in drawn}) == len(drawn) == 8
        for asked in drawn:
            assert len(asked.walk) == hops
            assert asked.answers == answers_by_loop(toy_graph, asked.topic, asked.walk)
            assert 1 <= len(asked.answers) <= 5
            # `a dog` is two entities: a question that names it is not clear
            names = [toy_graph.entity_labels[entity] for entity in (asked.topic, *asked.answers)]
            assert not {"dog", "dog2"} & set(names)


def test_each_split_is_asked_in_wordings_of_its_own(toy_graph):
    phrases = phrases_of(toy_graph, {})
    frames = ["what are {asked}", "name {asked}", "list {asked}", "tell me {asked}", "show {asked}"]
    walk = (0, 3)
    found = phrasings(walk, phrases)
    assert len(found) == len(set(found)) == 3 * 3
    assert all(words.count(TOPIC) == 1 for words in found)
    split = split_wordings(walk, phrases, frames, 0.25, 0)
    assert [len(split[name]) for name in ("train", "valid", "test")] == [3 * 5, 1 * 2, 1 * 2]
    for parts in (found, [frame.removesuffix("{asked}") for frame in frames]):
        used = {name: {part for part in parts for words in split[name] if part in words} for name in split}
        assert set.union(*used.values()) == set(parts)
        assert sum(map(len, used.values())) == len(parts)  # none in two splits
    assert split == split_wordings(walk, phrases, frames, 0.25, 0) != split_wordings(walk, phrases, frames, 0.25, 1)
    # too few frames: all splits have them
    split = split_wordings(walk, phrases, frames[:2], 0.25, 0)
    assert [len(split[name]) for name in ("train", "valid", "test")] == [2 * 5, 2 * 2, 2 * 2]
    two = [replace(phrase, ask_tail=phrase.ask_tail[:1], ask_head=phrase.ask_head[:2]) for phrase in phrases]
    with pytest.raises(ValueError, match="at least 3 of one are needed"):
        split_wordings(walk, two, frames[:2], 0.25, 0)


def test_the_files_can_be_read_and_are_the_same_again(tmp_path, capsys):
    write_toy_graph(tmp_path / "toy")
    about = make_questions(config(tmp_path))
    made = {name: (tmp_path / "made" / f"{name}.txt").read_bytes() for name in ("train", "valid", "test")}
    lines = {name: list(read_question_lines(tmp_path / "made" / f"{name}.txt")) for name in made}
    assert (
        {name: len(found) for name, found in lines.items()} == about["questions"] == {"train": 4, "valid": 2, "test": 2}
    )
    assert all(len(line.topics) == 1 and line.answers for found in lines.values() for line in found)
    assert sum(about["kinds"].values()) == 8
    assert json.loads((tmp_path / "made" / "about.json").read_text()) == about
    assert "8 questions of 2 hops" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"has train.txt already; .*overwrite=true"):
        make_questions(config(tmp_path))
    make_questions(config(tmp_path, "overwrite=true"))
    assert made == {name: (tmp_path / "made" / f"{name}.txt").read_bytes() for name in made}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hops=3"], "hops must be 1 or 2"),
        (["held_out=0.5"], "held_out must be less than 0.5"),
        (["frames=[what]"], "frames must be a text with {asked}"),
        (["num_train=10000"], "lower num_train, or raise max_answers"),
        (["out=toy/train.txt"], "out must be a folder"),
    ],
)
def test_bad_input_is_told(tmp_path, monkeypatch, overrides, message):
    write_toy_graph(tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        make_questions(config(tmp_path, *overrides))
    assert not (tmp_path / "made").exists()


def test_the_command(tmp_path, warm_python, offline_environment):
    write_toy_graph(tmp_path / "toy")
    arguments = [str(ROOT / "launch" / "questions.py"), "data.path=toy", "out=made", *SIZES]
    started = [warm_python.start([*arguments, *more], cwd=tmp_path, environment=offline_environment)
               for more in ([], ["hops=3"])]  # fmt: skip
    good, bad = (process.wait() for process in started)
    assert good.returncode == 0, good.stderr
    assert len((tmp_path / "made" / "train.txt").read_text().splitlines()) == 4
    assert (bad.returncode, bad.stderr) == (2, "error: hops must be 1 or 2, got 3\n")
