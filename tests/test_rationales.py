"""Rationales for questions over the toy graph: each status, resuming, leaks, and the command."""

import fcntl
import json
import re
import resource
import signal
import subprocess
import sys
import unicodedata
from collections import Counter
from typing import ClassVar

import pytest
from conftest import ROOT, make_encoder, write_toy_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from rationale_config import rationales_config
from toy_run import make_run

from kalm.graph.path import Path
from kalm.rationale import assembly
from kalm.rationale.generators import Written, whole_sentences
from kalm.rationale.line_file import LineFile, locked
from kalm.rationale.name_index import NameIndex
from kalm.rationale.phrases import phrases_of, plain_phrase
from kalm.rationale.record import read_rationales
from kalm.rationale.run import config_digest, make_rationales
from kalm.rationale.status import Status
from kalm.rationale.support import Support, Verdict
from kalm.rationale.verbaliser import Verbaliser

QUESTIONS = """\
who likes [a fox]\tAnn
what does [Ann] like\ta cat|a fox|a dog|nothing
what does [a fox] eat\ta hen|ivy
who is [a stone]\tAnn
who is fond of a stone\tAnn
who likes [ivy]\ta rock
what does [Bob] like\ta dog
who is [Bob] fond of\t
is [Ann] herself\tAnn
"""
STATUSES = ["ok", "ok", "ok", "no_entity", "no_entity", "no_answer_entity", "ambiguous_answer", "no_answer", "no_path"]


@pytest.fixture
def folder(tmp_path):
    write_toy_graph(tmp_path / "toy")
    (tmp_path / "qa.txt").write_text(QUESTIONS)
    return tmp_path


def make(folder, *overrides):
    return make_rationales(rationales_config(*overrides, folder=folder))


def records(folder):
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_each_question_has_its_record_and_reason(folder, capsys):
    summary = make(folder, "at_once=2")
    found = records(folder)
    assert [record["status"] for record in found] == STATUSES
    assert all(bool(record["reason"]) == (record["status"] != "ok") for record in found)
    assert all(bool(record["rationale"]) == (record["status"] == "ok") for record in found)
    assert found[0]["rationale"] == "Ann is fond of a fox."
    assert found[0]["paths"] == [{"entities": ["fox", "ann"], "names": ["a fox", "Ann"], "relations": ["likes"],
                                  "inverse": [True]}]  # fmt: skip
    # the answers that are one entity have paths, and their facts stand there once
    assert found[1]["rationale"] == "Ann is fond of a cat. Ann is fond of a fox."
    assert found[1]["told_answers"] == ["a cat", "a fox"]
    assert [link["entities"] for link in found[1]["answer_links"]] == [["cat"], ["fox"], ["dog", "dog2"], []]
    assert found[2]["rationale"].startswith("a fox eats a hen. a hen eats ivy.")
    assert "'a stone'" in found[3]["reason"]
    assert summary["statuses"] == dict(Counter(STATUSES)) | {"ok": 3}
    assert (summary["questions"], summary["share_naming_answer"]) == (9, 1.0)
    assert (summary["told_answers"], summary["answers_of_ok"]) == (5, 7)
    assert summary["answers"] == {"no entity": 2, "one entity": 8, "several entities": 2}
    assert json.loads((folder / "out.jsonl.summary.json").read_text())["statuses"] == summary["statuses"]
    assert "ambiguous_answer" in capsys.readouterr().out
    # what is not ok never comes to training
    trained = list(read_rationales(folder / "out.jsonl"))
    assert [rationale.number for rationale in trained] == [0, 1, 2]
    assert [rationale.answers for rationale in trained] == [("Ann",), ("a cat", "a fox"), ("a hen", "ivy")]


@pytest.mark.parametrize("search", [["breadth_first"], ["astar"], ["astar", "paths.num_landmarks=2"]])
def test_each_search_gives_the_same_records(folder, search):
    def made(*overrides):
        assert make(folder, *overrides)["questions_in_this_run"] == 9
        return [{**record, "digests": None} for record in records(folder)]

    assert made() == made(f"paths.search={search[0]}", *search[1:], "overwrite=true")


@pytest.mark.parametrize("num_bytes", [1, 1500, -1])
def test_an_interrupted_run_goes_on(folder, num_bytes):
    make(folder)
    whole = (folder / "out.jsonl").read_bytes()
    (folder / "out.jsonl").write_bytes(whole[:num_bytes])
    assert make(folder)["questions_in_this_run"] == 9 - whole[:num_bytes].count(b"\n")
    assert (folder / "out.jsonl").read_bytes() == whole


def test_overwriting_is_refused_while_another_run_is_writing(folder):
    make(folder)
    before = (folder / "out.jsonl").read_bytes()
    with locked(folder / "out.jsonl"), pytest.raises(ValueError, match=r"out\.jsonl: another run is writing to it"):
        make(folder, "overwrite=true", "paths.max_hops=1")
    assert (folder / "out.jsonl").read_bytes() == before
    assert not (folder / "out.jsonl.unfinished").exists(), "it is told of before the work"


def test_what_an_overwriting_run_left_is_begun_anew_for_another_config(folder, capsys):
    make(folder)
    whole = (folder / "out.jsonl").read_bytes()
    (folder / "out.jsonl.unfinished").write_bytes(whole)
    with pytest.raises(ValueError, match=r"tokenizer=\./nowhere"):
        make(folder, "overwrite=true", "tokenizer=./nowhere")
    assert (folder / "out.jsonl.unfinished").read_bytes() == whole, "nothing is lost before there is something new"
    summary = make(folder, "overwrite=true", "paths.max_hops=1")
    assert "is begun anew" in capsys.readouterr().out
    assert (summary["questions"], summary["questions_in_this_run"]) == (9, 9)
    (folder / "out.jsonl.unfinished").write_bytes(whole[:-1])
    assert make(folder, "overwrite=true")["questions_in_this_run"] == 1
    assert (folder / "out.jsonl").read_bytes() == whole
    assert not (folder / "out.jsonl.unfinished").exists()


def test_a_full_disk_leaves_whole_lines_to_go_on_from(folder):
    make(folder)
    whole = (folder / "out.jsonl").read_bytes()
    (folder / "out.jsonl").unlink()
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, before[1]))
    try:
        with pytest.raises(OSError, match=r"out\.jsonl: File too large.*same command"):
            make(folder, "at_once=1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    left = (folder / "out.jsonl").read_bytes()
    assert 0 < len(left) <= len(whole) // 2
    assert whole.startswith(left)
    assert left.endswith(b"\n")
    make(folder)
    assert (folder / "out.jsonl").read_bytes() == whole


ADDED = {"toy/train.txt": "ann\teats\tivy\n", "toy/relation2text.txt": "eats\tdevours\n", "qa.txt": "who\tAnn\n"}


@pytest.mark.parametrize(
    ("overrides", "change", "message"),
    [
        (["paths.max_hops=1"], None, "another config"),
        (["paths.splits=[train]"], None, "another config"),
        ([], "qa.txt", "another questions"),
        ([], "toy/train.txt", "another graph"),
        ([], "toy/relation2text.txt", "another graph"),
    ],
)
def test_a_file_of_another_run_is_not_gone_on_with(folder, overrides, change, message):
    make(folder)
    if change:
        with (folder / change).open("a") as file:
            file.write(ADDED[change])
    with pytest.raises(ValueError, match=f"{message}.*overwrite=true"):
        make(folder, *overrides)
    make(folder, *overrides, "overwrite=true")


def test_what_changes_no_record_changes_no_digest(folder):
    plain = config_digest(rationales_config(folder=folder))
    same = ("at_once=3", "debug=true", "generator.endpoint.num_parallel=2",
            "generator.local.batch_size=3")  # fmt: skip
    assert config_digest(rationales_config(*same, folder=folder)) == plain
    for other in ("paths.per_answer=3", "paths.search=astar", "linking.ignored=[x]", "max_tokens=9"):
        assert config_digest(rationales_config(other, "tokenizer=x", folder=folder)) != plain


def test_a_model_that_was_trained_again_changes_the_digest(folder):
    def digest(*overrides):
        return config_digest(rationales_config(*overrides, folder=folder))

    def write(content, *names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)

    weights = ("lm/model.safetensors", "run/model/adapter_model.safetensors")
    write("1", *weights, "lm/tokenizer.json")
    write(json.dumps({"base_model_name_or_path": str(folder / "lm")}), "run/model/adapter_config.json")
    local, run, tokenizer = (f"{key}={folder / name}" for key, name in (
        ("generator.local.path", "lm"), ("run", "run"), ("tokenizer", "lm")))  # fmt: skip
    before = [digest(local), digest(run), digest(tokenizer)]
    (folder / "lm").rename(folder / "moved")
    assert digest(local.replace("=" + str(folder / "lm"), f"={folder / 'moved'}")) == before[0]
    (folder / "moved").rename(folder / "lm")
    write("2", "lm/model.safetensors")
    after = [digest(local), digest(run), digest(tokenizer)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]
    write("2", "lm/tokenizer.json")
    assert digest(tokenizer) != before[2]


def test_the_facts_of_held_out_questions_are_not_walked(folder):
    (folder / "held.txt").write_text("who likes [a fox]\tAnn\nwhat does [a hen] eat\tivy\n")
    summary = make(folder, f"leave_out=[{folder / 'held.txt'}]", "paths.max_hops=4")
    # ann likes fox and hen eats ivy, of 14 + 2 + 4 triples
    assert summary["triples_left_out"] == 2
    held = {("ann", "fox"), ("fox", "ann"), ("hen", "ivy"), ("ivy", "hen")}
    for record in records(folder):
        for path in record["paths"]:
            assert not held & set(zip(path["entities"], path["entities"][1:], strict=False))
    assert len(records(folder)[0]["paths"][0]["relations"]) > 1


def test_the_facts_of_two_relations_are_not_walked(folder):
    # a gnu and a hen eat ivy, and the elm besides
    (folder / "held.txt").write_text("what do those eat that eat [ivy]\tan elm tree\n")
    summary = make(folder, f"leave_out=[{folder / 'held.txt'}]")
    assert summary["triples_left_out"] == 4
    held = [("gnu", "elm"), ("gnu", "ivy"), ("hen", "elm"), ("hen", "ivy")]
    for record in records(folder):
        for path in record["paths"]:
            walked = set(zip(path["entities"], path["entities"][1:], strict=False))
            assert not walked & {pair for fact in held for pair in (fact, fact[::-1])}


def test_the_facts_of_two_relations_are_not_walked_beside_one_that_answers(folder):
    with (folder / "toy" / "train.txt").open("a") as file:
        file.write("ann\teats\tgnu\ngnu\teats\telm\nann\tknows\telm\n")
    # what Ann knows is Bob, herself and an elm; what she likes is eaten and likes her
    (folder / "held.txt").write_text("what do those eat that [Ann] eats\tan elm tree|ivy\n")
    (folder / "qa.txt").write_text("what does [Ann] eat\ta gnu\n")
    make(folder, f"leave_out=[{folder / 'held.txt'}]", "paths.max_hops=1")
    # she likes it besides
    assert [path["relations"] for path in records(folder)[0]["paths"]] == [["likes"]]


def test_paths_that_fall_short_are_told_if_asked_for(folder):
    (folder / "qa.txt").write_text("what does [Bob] lead to\tivy\n")
    make(folder, "paths.max_hops=1")
    (record,) = records(folder)
    assert (record["status"], record["is_partial"], record["rationale"]) == ("no_path", True, "")
    make(folder, "paths.max_hops=1", "paths.partial=true", "overwrite=true")
    (record,) = records(folder)
    assert (record["status"], record["is_partial"], record["names_answer"]) == ("ok", True, False)
    assert record["told_answers"] == ["ivy"]


@pytest.mark.parametrize(
    ("question", "overrides", "told"),
    [
        ({"answers": ["a fox", "a cat"]}, ["paths.max_answers=1"], ["a fox"]),
        ({"answers": ["a fox", "a cat"]}, ["paths.max_paths=1", "paths.per_answer=1"], ["a fox"]),
        ({"answers": ["ivy", "a cat"]}, ["paths.max_hops=1"], ["a cat"]),
        ({"answers": ["the grey one", "the red one"], "answer_links": ["rock", "fox"]}, [], ["the red one"]),
        # which name belongs to which answer is not told
        ({"answers": ["some animals", "a rock"], "answer_links": ["fox"]}, [], ["some animals", "a rock"]),
        ({"answers": ["A fox, not a rock."], "kind": "free_answer"}, [], ["A fox, not a rock."]),
    ],
)
def test_answers_that_no_path_is_told_of_are_not_trained_on(folder, question, overrides, told):
    (folder / "qa.jsonl").write_text(json.dumps({"question": "what does Ann like", "links": ["ann"], **question}))
    make(folder, f"qa={folder / 'qa.jsonl'}", *overrides)
    (record,) = records(folder)
    assert (record["status"], record["answers"], record["told_answers"]) == ("ok", question["answers"], told)
    (trained,) = read_rationales(folder / "out.jsonl")
    assert list(trained.answers) == told


def test_a_rationale_names_an_answer_that_is_given_by_its_label(folder):
    (folder / "qa.txt").write_text("what does [Bob] like\tdog2\n")
    make(folder)
    (record,) = records(folder)
    assert (record["rationale"], record["names_answer"]) == ("Bob is fond of a dog.", True)


def test_several_paths_are_chosen_shortest_first(folder):
    (folder / "qa.txt").write_text("what does [Ann] lead to\ta hen\n")
    make(folder, "paths.per_answer=9", "paths.candidates=20")
    shortest = records(folder)[0]["paths"]
    assert {len(path["relations"]) for path in shortest} == {2}
    make(folder, "paths.per_answer=9", "paths.candidates=20", "paths.max_detour=1", "overwrite=true")
    assert {len(path["relations"]) for path in records(folder)[0]["paths"]} == {2, 3}
    make(folder, "paths.per_answer=9", "paths.max_paths=1", "overwrite=true")
    assert records(folder)[0]["paths"] == shortest[:1]


def test_a_search_that_is_stopped_says_so(folder):
    (folder / "qa.txt").write_text("what does [Bob] lead to\tivy\n")
    make(folder, "paths.max_expansions=1")
    assert records(folder)[0]["status"] == "search_stopped"


def test_questions_that_are_too_long_are_kept_and_not_trained_on(folder, model_folder):
    make(folder, f"tokenizer={model_folder}", "max_tokens=30", "at_once=4")
    found = [record for record in records(folder) if record["num_tokens"] is not None]
    assert len(found) == 3
    assert {record["status"] for record in found} == {"ok", "too_long"}
    for record in found:
        assert (record["num_tokens"] > 30) == (record["status"] == "too_long") == (record["rationale"] == "")


def test_a_run_links_what_no_name_does_and_weighs_paths(folder, tokenizer, template):
    run = make_run(folder / "run", folder / "toy", make_encoder(tokenizer), tokenizer, template)
    (folder / "qa.txt").write_text("who likes [Ann]\tBobby\n")
    make(folder)
    assert records(folder)[0]["status"] == "no_answer_entity"
    make(folder, f"run={run}", "linking.min_cosine=-1", "paths.choice.cosine=1", "overwrite=true")
    (link,) = records(folder)[0]["answer_links"]
    assert (link["how"], len(link["entities"])) == ("embedding", 1)
    with (folder / "toy" / "train.txt").open("a") as file:
        file.write("ann\teats\tivy\n")
    with pytest.raises(ValueError, match="run"):
        make(folder, f"run={run}", "overwrite=true")


@pytest.mark.parametrize(
    ("text", "whole"),
    [("Ann knows Bob. And", "Ann knows Bob."), ('He said "Yes." Then', 'He said "Yes."'), ("at 3.5 of", None),
     ("All.", "All."), ("A. B! C? d", "A. B! C?")],
)  # fmt: skip
def test_a_writer_that_is_stopped_keeps_its_whole_sentences(text, whole):
    written = whole_sentences(text)
    assert (written.text, written.status) == ((whole, Status.ok) if whole else (text, Status.cut_short))


def test_a_local_lm_is_judged_like_any_writer(folder, model_folder):
    summary = make(folder, "generator.kind=local", f"generator.local.path={model_folder}",
                   "generator.local.max_new_tokens=4", "generator.instruction='{question}{answer}{facts}'")  # fmt: skip
    assert summary["generator"]["kind"] == "local"
    # random weights tell no fact; the longest prompt is beyond the window of 64 tokens
    assert set(summary["statuses"]) <= {*STATUSES, "too_long", "no_fact", "cut_short", "foreign_entity",
                                        "empty_rationale",
                                        "repeats_answer"} - {"ok"}  # fmt: skip
    assert [record["status"] for record in records(folder)][3:] == STATUSES[3:]
    assert list(read_rationales(folder / "out.jsonl")) == []


class Writes:
    """A writer of one text, whatever it is asked."""

    description: ClassVar[dict[str, str]] = {"kind": "template"}

    def __init__(self, text):
        self._text, self.prompts = text, []

    def write(self, tasks):
        self.prompts += [task.prompt("{question}|{answer}|{facts}") for task in tasks]
        return [Written(self._text) for _ in tasks]

    def close(self):
        pass


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Ann is fond of a cat.", ["a cat"]),
        ("Ann is fond of a cat and a fox.", ["a cat", "a fox"]),
        ("Ann is fond of a hen that a cat eats.", ["a cat"]),
    ],
)
def test_answers_that_a_writer_leaves_out_are_not_trained_on(folder, monkeypatch, text, told):
    writer = Writes(text)
    monkeypatch.setattr(assembly, "TemplateGenerator", lambda: writer)
    (folder / "qa.txt").write_text("what does [Ann] like\ta cat|a fox|a dog|nothing\n")
    make(folder)
    (record,) = records(folder)
    assert (record["status"], record["told_answers"]) == ("ok", told)
    # it is asked to explain what it has facts for
    assert writer.prompts == ["what does Ann like|a cat, a fox|Ann is fond of a cat.\nAnn is fond of a fox."]


def test_a_writer_that_names_another_answer_alone_may_mean_what_its_facts_are_of(folder, monkeypatch):
    monkeypatch.setattr(assembly, "TemplateGenerator", lambda: Writes("Ann is fond of a cat."))
    (folder / "qa.txt").write_text("what does [Ann] like or hunt\ta hen|a cat\n")
    make(folder, "paths.max_answers=1", "paths.per_answer=3")  # over each of what Ann likes
    (record,) = records(folder)
    assert (record["status"], record["told_answers"]) == ("ok", ["a hen"])
    assert len(list(read_rationales(folder / "out.jsonl"))) == 1


NAMES = ["Ann", "Bob", "It", "a fox", "1999", "New York", "Drama"]
ANN_BOB = Path((0, 1), (0,), 1)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Ann knows Bob.", Verdict.good),
        ("It is ann who knows bob.", Verdict.good),
        ("Ann knows Bob, as drama has it, in new york.", Verdict.good),
        ("Ann knows Bob and a fox.", Verdict.good),  # ordinary words
        (" \n", Verdict.empty),
        ("...", Verdict.empty),
        ("Bob.", Verdict.only_answer),
        ("bob, Bob", Verdict.only_answer),
        ("Ann knows Bob since 1999.", Verdict.foreign_entity),
        ("Ann met Bob in New York.", Verdict.foreign_entity),
        ("The genre is Drama, Ann knows Bob.", Verdict.foreign_entity),
        ("It is Ann.", Verdict.no_fact),
        ("Annabel knows Bobby.", Verdict.no_fact),
    ],
)
def test_a_rationale_is_judged_by_the_names_in_it(text, verdict):
    support = Support(NameIndex(NAMES), NAMES)
    assert support.judge(text, [ANN_BOB], ["who knows Bob?"], ["Bob"]).verdict is verdict


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_the_same(form, other):
    names = [unicodedata.normalize(form, name) for name in ("Zoë", "Bébé", "Noël Coward")]
    support = Support(NameIndex(names), names)

    def judged(text, answer="x"):
        return support.judge(unicodedata.normalize(other, text), [ANN_BOB], [], [answer]).verdict

    assert judged("Zoë knows Bébé.") is Verdict.good
    assert judged("Zoë knows Bébé and Noël Coward.") is Verdict.foreign_entity
    assert judged("Bébé.", names[1]) is Verdict.only_answer


def test_what_the_writer_has_read_may_be_named():
    support = Support(NameIndex(NAMES), NAMES)
    text = "In New York, Ann knows Bob."
    assert support.judge(text, [ANN_BOB], ["who in New York knows Bob?"], ["Bob"]).verdict is Verdict.good


@pytest.mark.parametrize(
    ("relation", "inverse", "forward", "backward"),
    [
        ("knows", "", "Ann knows Bob.", "Ann knows Bob."),
        ("has genre", "", "Ann has genre Bob.", "Ann has genre Bob."),
        ("located in", "contains", "Ann is located in Bob.", "Bob contains Ann."),
        ("works for", "employer of", "Ann works for Bob.", "Bob is employer of Ann."),
        ("release year", "", "Ann has the release year Bob.", "Ann has the release year Bob."),
        ("class", "", "Ann has the class Bob.", "Ann has the class Bob."),
        ("{odd}", "", "Ann has the {odd} Bob.", "Ann has the {odd} Bob."),
    ],
)
def test_facts_are_told_in_the_words_of_the_relation(relation, inverse, forward, backward):
    verbaliser = Verbaliser(["Ann", "Bob"], [plain_phrase(relation, inverse)])
    assert verbaliser.sentence(Path((0, 1), (0,), 1).steps[0]) == forward
    assert verbaliser.sentence(Path((1, 0), (1,), 1).steps[0]) == backward


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=8).filter(str.strip), st.text(max_size=8))
def test_any_relation_and_name_makes_a_sentence(relation, inverse):
    names = ["{head}", "B. Jr."]
    verbaliser = Verbaliser(names, [plain_phrase(relation, inverse)])
    for path in (Path((0, 1), (0,), 1), Path((1, 0), (1,), 1)):
        (sentence,) = verbaliser.sentences([path, path])
        assert all(name.rstrip(".") in sentence for name in names)
        assert not sentence.endswith("Jr..")


def test_a_phrase_of_no_relation_is_refused(toy_graph):
    with pytest.raises(ValueError, match=r"phrases\.hates: the graph has no relation"):
        phrases_of(toy_graph, {"hates": plain_phrase("hates")})
    given = plain_phrase("eats")
    assert phrases_of(toy_graph, {"is fond of": given})[list(toy_graph.relation_labels).index("likes")] is given


@settings(max_examples=30)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=5), st.integers(0, 60))
def test_a_torn_file_keeps_its_whole_lines(tmp_path_factory, texts, cut):
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    file = LineFile(path, b'{"text": ')
    places = [file.append([{"text": text}]) for text in texts]
    assert [file.at(place)["text"] for place in places] == texts
    file.close()
    content = path.read_bytes()[: cut or None]
    path.write_bytes(content)
    again = LineFile(path, b'{"text": ')
    with pytest.raises(ValueError, match="another run is writing to it"):
        LineFile(path, b'{"text": ')
    assert again.was_torn == (bool(content) and not content.endswith(b"\n"))
    again.append([{"text": "new"}])
    assert [row["text"] for row in again] == [*texts[: content.count(b"\n")], "new"]
    again.close()


def test_a_file_that_is_put_in_the_place_of_one_while_it_is_opened_is_the_one_that_is_opened(tmp_path, monkeypatch):
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"{}\n")
    other.write_bytes(b"{}\n{}\n")
    lock = fcntl.flock

    def lock_late(file, operation):
        if other.exists():
            other.replace(path)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    file = LineFile(path, b"{")
    assert file.append([{}]) == len(b"{}\n{}\n")
    assert len(list(file)) == 3
    file.close()


def test_a_record_that_is_none_is_named(tmp_path):
    path = tmp_path / "out.jsonl"
    digests = '"digests": {"graph": "a"}'
    path.write_text(
        f'{{"status": "no_path", {digests}}}\n{{"status": "ok", "rationale": " ", "told_answers": ["x"], {digests}}}\n'
    )
    with pytest.raises(ValueError, match=r"out\.jsonl:2: no record.*without rationale"):
        list(read_rationales(path))
    with pytest.raises(ValueError, match="there is no file"):
        list(read_rationales(tmp_path / "x"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["qa=nowhere.txt"], "qa: there is no file nowhere.txt"),
        (["out=nowhere/out.jsonl"], "out: there is no folder nowhere"),
        (["out=qa.txt"], "out and qa are both"),
        (["out=empty.txt", "leave_out=[empty.txt]"], "out and leave_out are both"),
        (["out=toy"], "out must be a file"),
        (["out=/dev/null", "overwrite=true"], "out must be a file"),
        (["out=notes.txt"], "notes.txt exists and holds something else"),
        (["out=other.txt"], "other.txt exists and holds something else"),
        (["qa=empty.txt"], "empty.txt: the file has no question"),
        (["qa=bad.jsonl"], "bad.jsonl:1: "),
        (["leave_out=[nowhere.txt]"], "leave_out: there is no file nowhere.txt"),
        (["linking.aliases=nowhere.txt"], "linking.aliases: there is no file nowhere.txt"),
        (["run=nowhere"], "nowhere is not a run"),
        (["tokenizer=./nowhere"], "tokenizer=./nowhere: cannot load a tokenizer"),
        (["generator.kind=local"], "generator.local.path must be set with generator.kind=local"),
        (["generator.kind=local", "generator.local.path=./nowhere"], "generator.local.path=./nowhere: cannot load"),
        (["generator.kind=endpoint", "generator.endpoint.model=m"], "set OPENAI_API_KEY in the environment"),
        (["generator.instruction=write"], "a text with {answer} and {facts} and {question}"),
        (["paths.splits=[train,tset]"], "paths.splits must be some of"),
        (["max_tokens=9"], "max_tokens must be set together with tokenizer"),
        (["paths.choice.cosine=1"], "0 without run=runs/NAME"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, monkeypatch, overrides, message):
    (folder / "empty.txt").write_text("\n\n")
    (folder / "bad.jsonl").write_text("{}\n")
    (folder / "other.txt").write_text("mine\n")
    (folder / "notes.txt").write_text("mine")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = contents(folder)
    with pytest.raises(ValueError, match=re.escape(message)):
        make(folder, *overrides)
    assert contents(folder) == before


def contents(folder):
    return {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}


def test_the_command(folder, warm_python, offline_environment):
    def start(*overrides):
        arguments = [str(ROOT / "launch" / "rationales.py"), "data=folder", "data.path=toy", "data.cache=cache",
                     "qa=qa.txt", *overrides]  # fmt: skip
        return warm_python.start(arguments, cwd=folder, environment=offline_environment)

    started = [start("out=out.jsonl"), start("out=x.jsonl", "paths.max_hopps=2")]
    good, bad = [process.wait() for process in started]
    assert good.returncode == 0, good.stderr
    assert "rationales that name an answer" in good.stdout
    assert [record["status"] for record in records(folder)] == STATUSES
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1), bad.stderr
    assert bad.stderr.startswith("error: ")
    assert "paths.max_hops" in bad.stderr
    assert not (folder / "x.jsonl").exists()


def test_a_missing_package_is_named():
    program = """
import sys; sys.modules.update(dict.fromkeys(["ahocorasick_rs"]))
from kalm.rationale.name_index import NameIndex
try: NameIndex(["a"])
except ValueError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    assert "pip install 'kalm[kale]'" in done.stdout
