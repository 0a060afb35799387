"""`eval/qa.py`: systems, answers of three kinds, known facts, summary, files and faults."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, make_encoder, write_toy_graph
from test_kgqa import mean_log_probability, wide_encoder
from toy_run import composed, configured, make_run

from kalm.composition import load_config, save_config
from kalm.config import Decoding, KnownConfig, QaConfig, TaskPrompt
from kalm.evaluation.loaded_run import load_run
from kalm.evaluation.paired import mcnemar
from kalm.graph.knowledge_graph import SPLITS
from kalm.kgqa.asked import NO_ANSWER, NO_TOPIC, SCORED, TOO_LONG
from kalm.kgqa.prompts import InstructionPrompts
from kalm.kgqa.scoring import Vocabulary
from kalm.qa import run as run_module
from kalm.qa.known import KnownFacts
from kalm.qa.questions import read_items
from kalm.qa.run import compare
from kalm.qa.summary import summarise
from kalm.qa.systems import _common_name, find_folders, group_runs
from kalm.text.question_table import question_prompt

CONFIG = configured(QaConfig, "qa", runs=["x"], qa="x", out="x")
LINES = """\
what does [Ann] like\ta cat|a dog|a fox|a gnu
who eats [ivy]\ta gnu|a hen
what eats [Zed]\tivy
[a hen] eats\tmoss
"""
JSON = [
    {"question": "what does Ann like", "answers": ["a cat", "fox"], "links": ["ann"], "id": "q7"},
    {"question": "which of them eats hens", "choices": ["Ann", "a fox", "ivy"], "answer": "a fox"},
    {"question": "which of them is a tree", "choices": ["an elm tree", "a gnu"], "answer": 0},
    {"question": "why", "kind": "free_answer", "answer": "Because a hen eats ivy."},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("qa")


@pytest.fixture(scope="module")
def runs(place, tokenizer, template):
    """Two seeds of one system and a single run of another, with weights of their own."""
    toy = write_toy_graph(place / "toy")
    made = []
    for name, seed, steps, scale in (("tuned-s0", 0, 10, 1.0), ("tuned-s1", 1, 10, 0.5), ("other", 0, 20, 0.2)):
        encoder = wide_encoder(tokenizer)
        with torch.no_grad():
            for parameter in encoder.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(scale)
        folder = make_run(place / name, toy, encoder, tokenizer, template)
        text = (folder / "config.yaml").read_text()
        text = text.replace("  seed: 0\n", f"  seed: {seed}\n").replace("max_steps: null", f"max_steps: {steps}")
        (folder / "config.yaml").write_text(text)
        made.append(folder)
    return made


@pytest.fixture(scope="module")
def files(place):
    (place / "lines.txt").write_text(LINES)
    (place / "three kinds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in JSON))
    return place / "lines.txt", place / "three kinds.jsonl"


def compared(runs, qa, out, **keys):
    config = replace(CONFIG, runs=[str(run) for run in runs], qa=str(qa), out=str(out), **keys)
    result = compare(config)
    assert json.loads((out / "qa.json").read_text()) == json.loads(json.dumps(result))
    return result, [json.loads(line) for line in (out / "qa.jsonl").read_text().splitlines()]


def test_runs_that_differ_in_the_seed_alone_are_one_system(runs, place):
    assert find_folders([str(place / "tuned-*"), str(runs[0])]) == runs[:2]
    systems = group_runs([runs[1], runs[2], runs[0]], CONFIG.prompts, with_base=True)
    assert [(system.name, [member.seed for member in system.members]) for system in systems] == [
        ("base", [0, 1]), ("tuned", [0, 1]), ("other", [0]),
    ]  # fmt: skip
    assert [member.folder for member in systems[1].members] == runs[:2]
    assert all(member.is_base for member in systems[0].members)
    twin = shutil.copytree(runs[0], place / "twin")
    with pytest.raises(ValueError, match="have the same config and seed"):
        group_runs([runs[0], twin], CONFIG.prompts, with_base=False)


def test_a_pretrained_base_is_asked_once_whatever_the_seed(runs, place, model_folder):
    folders = []
    for seed in (0, 1):
        folder = shutil.copytree(runs[seed], place / f"pretrained-s{seed}")
        text = (folder / "config.yaml").read_text()
        start, stop = text.index("  scratch:\n"), text.index("  lora:")
        text = text[:start] + "  scratch: null\n" + text[stop:]
        (folder / "config.yaml").write_text(text.replace("  path: null\n  dtype", f"  path: {model_folder}\n  dtype"))
        folders.append(folder)
    base, tuned = group_runs(folders, CONFIG.prompts, with_base=True)
    assert [member.seed for member in base.members] == [None]
    assert [member.seed for member in tuned.members] == [0, 1]


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["kale-s0", "kale-s1"], "kale"),
        (["kale-seed10", "kale-seed11"], "kale"),
        (["x-training.seed=0", "x-training.seed=1"], "x"),
        (["bias0", "bias1"], "bias"),
        (["a", "b"], "a"),
        (["kale-s0"], "kale-s0"),
    ],
)
def test_a_system_is_called_by_what_its_runs_names_share(names, common):
    assert _common_name(names) == common


def test_all_systems_are_asked_and_compared(runs, files, place, capsys):
    result, lines = compared(runs, files[0], place / "out", known=replace(CONFIG.known, by="tuned"))
    assert len(lines) == 5 * 4
    assert {(line["system"], line["seed"]) for line in lines} == {
        ("base", 0), ("base", 1), ("tuned", 0), ("tuned", 1), ("other", 0),
    }  # fmt: skip
    statuses = [line["status"] for line in lines[:4]]
    assert statuses == [SCORED, SCORED, NO_TOPIC, NO_ANSWER]
    found = result["kinds"]["short_answer"]
    assert (found["asked"], found["scored"]) == (4, 2)
    assert found["set_apart"] == {NO_TOPIC: 1, NO_ANSWER: 1}
    assert found["reference"] == "base"
    assert set(found["differences"]) == {"tuned", "other"}
    out = capsys.readouterr().out
    for title in ("short answer, without rationale", "less base", "known and incorrect", "never scored as right"):
        assert title in out
    table = (place / "out" / "qa.md").read_text()
    assert "| system" in table
    assert "| tuned" in table
    for run in runs:
        assert "Questions without rationale: lines.txt" in (run / "report.html").read_text()
    assert not list((place / "out").glob(".unfinished*"))


def test_the_first_short_answer_is_the_likeliest_of_all_names(runs, files, place):
    _, lines = compared(runs[2:], files[0], place / "beams", base=False, num_beams=10, num_answers=9,
                        known=replace(CONFIG.known, measured=False), page=False)  # fmt: skip
    run = load_run(runs[2])
    for line in lines[:2]:
        assert line["prompt"] == f"Question: {line['text']}\nAnswer:", "as in training"
        prompt = [run.tokenizer.bos_token_id] if run.tokenizer.bos_token_id is not None else []
        prompt += run.tokenizer(line["prompt"], add_special_tokens=False).input_ids
        scores = {}
        for name in set(run.graph.entity_names):
            text = [*run.tokenizer(f" {name}", add_special_tokens=False).input_ids, run.tokenizer.eos_token_id]
            scores[name] = mean_log_probability(run.encoder, prompt, text) * len(text)
        best = max(scores, key=scores.get)
        assert line["answers"][0]["text"] == best
        assert line["answers"][0]["log_probability"] == pytest.approx(scores[best], abs=1e-4)
        assert line["score"] == float(best in {name for _, *names in line["right"] for name in names})


def test_three_kinds_of_questions(runs, files, place):
    result, lines = compared(runs[2:], files[1], place / "kinds", base=False, decoding=Decoding.free, max_new_tokens=6)
    assert [line["kind"] for line in lines] == ["short_answer", "multiple_choice", "multiple_choice", "free_answer"]
    short, first, second, free = lines
    assert short["id"] == "q7"
    assert [label for label, *_ in short["right"]] == ["cat", "fox"], "by name, else by label"
    run = load_run(runs[2])
    for line in (first, second):
        prompt = run.tokenizer(line["prompt"], add_special_tokens=False).input_ids
        prompt = [*([] if run.tokenizer.bos_token_id is None else [run.tokenizer.bos_token_id]), *prompt]
        scores = [
            mean_log_probability(run.encoder, prompt, [
                *run.tokenizer(f" {choice}", add_special_tokens=False).input_ids, run.tokenizer.eos_token_id])
            for choice in line["choices"]
        ]  # fmt: skip
        assert line["log_probabilities"] == pytest.approx(scores, abs=1e-5)
        assert line["answer"] == line["choices"][int(np.argmax(scores))]
        assert line["score"] == float(line["answer"] in line["right"])
    assert free["right"] == ["Because a hen eats ivy."]
    assert 0 <= free["score"] <= 1
    assert set(result["kinds"]) == {"short_answer", "multiple_choice", "free_answer"}
    assert (place / "kinds" / "qa.md").read_text().count("without rationale\n") == 3


def test_a_question_longer_than_the_window_is_set_apart_for_all(runs, files, place, tokenizer, monkeypatch):
    loaded = run_module.load_run

    def with_short_window(folder):
        run = loaded(folder)
        return run if folder == runs[0] else replace(run, encoder=wide_encoder(tokenizer, max_length=22))

    monkeypatch.setattr(run_module, "load_run", with_short_window)
    result, lines = compared([runs[0], runs[2]], files[0], place / "window", base=False, page=False)
    assert [line["status"] for line in lines][:2] == [SCORED, SCORED]
    assert TOO_LONG in [line["status"] for line in lines][4:6]
    found = result["kinds"]["short_answer"]
    assert found["scored"] + sum(found["set_apart"].values()) == 4
    assert found["scored"] == [line["status"] for line in lines][4:].count(SCORED)


def graph_items(toy_graph, text, path):
    path.write_text(text)
    return read_items(path, toy_graph, Vocabulary(toy_graph.entity_names), None, 0)


def test_chains_are_the_relations_that_lead_to_exactly_the_answers(toy_graph, tmp_path):
    place = {label: number for number, label in enumerate(toy_graph.entity_labels)}
    relation = {label: number for number, label in enumerate(toy_graph.relation_labels)}
    inverse = {label: number + toy_graph.num_relations for label, number in relation.items()}
    items = graph_items(
        toy_graph,
        "who knows [Ann]\tBob|Ann\n"  # bob knows ann in test, ann knows herself
        "what does [Ann] like\ta cat\n"  # not all of them
        "what do those eat that eat [ivy]\tan elm tree\n"  # gnu eats elm, hen eats elm in test
        "what does [an elm tree] say\tmoss|ivy\n",
        tmp_path / "questions.txt",
    )

    def chains(max_hops):
        config = KnownConfig(measured=True, by=None, candidates=None, beta=1.0, max_hops=max_hops)
        return KnownFacts(toy_graph, items, config, seed=0).chains

    one, incomplete, two, lost = chains(2)
    ann, bob, ivy, elm = (place[label] for label in ("ann", "bob", "ivy", "elm"))
    assert set(one) == {((ann, rel, entity),) for rel in (relation["knows"], inverse["knows"]) for entity in (ann, bob)}
    assert incomplete == lost == []
    assert set(two) == {
        ((ivy, inverse["eats"], middle), (middle, relation["eats"], elm)) for middle in (place["gnu"], place["hen"])
    }
    assert chains(1)[2] == []
    triples = {tuple(triple) for split in SPLITS for triple in toy_graph.directed(split).tolist()}
    assert {fact for chains in (one, two) for chain in chains for fact in chain} <= triples


def test_a_question_is_known_where_a_chain_is_ranked_first(runs, place, toy_graph, template):
    path = place / "known.txt"
    path.write_text("who eats [ivy]\ta gnu|a hen\nwhat does [a cat] eat\ta hen\nhello [Ann]\tBob|ivy\n")
    known = KnownConfig(measured=True, by=None, candidates=None, beta=1.0, max_hops=1)
    _, lines = compared(runs[2:], path, place / "known", base=False, known=known, page=False)
    run = load_run(runs[2])
    table, graph = run.table, run.graph
    labels = list(graph.entity_labels)
    eats = list(graph.relation_labels).index("eats")
    triples = {tuple(triple) for split in SPLITS for triple in graph.directed(split).tolist()}

    def row(part, number):
        return part.take(np.array([number]))[0].tolist()

    def is_first(head, relation, tail):
        prompt = [*row(table.heads, head), *row(table.relations, relation)]
        scores = {entity: mean_log_probability(run.encoder, prompt, row(table.tails, entity))
                  for entity in range(graph.num_entities)
                  if entity == tail or (head, relation, entity) not in triples}  # fmt: skip
        return all(scores[tail] > score for entity, score in scores.items() if entity != tail)

    backward = eats + graph.num_relations
    assert lines[0]["known"] == any(is_first(labels.index("ivy"), backward, labels.index(of)) for of in ("gnu", "hen"))
    assert lines[1]["known"] == is_first(labels.index("cat"), eats, labels.index("hen"))
    assert lines[2]["known"] is None


def line(system, run, seed, question, score, known=None):
    return {"kind": "multiple_choice" if known is None else "short_answer", "system": system, "run": run, "seed": seed,
            "question": question, "status": SCORED, "score": score, "known": known,
            "scores": dict.fromkeys(("exact", "f1", "any", "recall", "invalid"), score)}  # fmt: skip


def test_means_and_differences_are_those_of_loops():
    generator = np.random.default_rng(0)
    right = {("a", None): generator.random(40) < 0.5, ("b", 0): generator.random(40) < 0.6,
             ("b", 1): generator.random(40) < 0.8}  # fmt: skip
    lines = [line(system, f"{system}{seed}", seed, number, float(is_right))
             for (system, seed), flags in right.items() for number, is_right in enumerate(flags)]  # fmt: skip
    found = summarise(lines, None, None)["kinds"]["multiple_choice"]
    means = {key: float(flags.mean()) for key, flags in right.items()}
    b = found["systems"]["b"]
    assert b["runs"] == {"b0": means["b", 0], "b1": means["b", 1]}
    assert b["mean"] == pytest.approx((means["b", 0] + means["b", 1]) / 2)
    assert (b["lowest"], b["highest"]) == (means["b", 0], means["b", 1])
    assert b["interval"][0] < b["mean"] < b["interval"][1]
    less = found["differences"]["b"]
    by_seed = [means["b", seed] - means["a", None] for seed in (0, 1)]
    assert less["by_seed"] == pytest.approx(by_seed)
    assert less["difference"] == pytest.approx(np.mean(by_seed))
    assert less["mcnemar"] is None, "of two runs together answers are no independent trials"
    # Student's t with one degree of freedom
    reach = 12.7062 * abs(by_seed[0] - by_seed[1]) / 2
    assert less["interval_over_seeds"] == pytest.approx([np.mean(by_seed) - reach, np.mean(by_seed) + reach], rel=1e-4)
    single = summarise([each for each in lines if each["run"] != "b1"], "b", None)["kinds"]["multiple_choice"]
    assert single["reference"] == "b"
    assert single["differences"]["a"]["mcnemar"] == mcnemar(right["b", 0], right["a", None])
    assert single["differences"]["a"]["interval_over_seeds"] is None


@pytest.mark.parametrize(
    ("first", "second", "is_paired"),
    [([None], [0, 1, 2], True), ([0, 1, 2], [None], True), ([0, 1], [0, 1], True),
     ([0], [0, 1, 2], False), ([0, 1, 2], [3], False), ([0, 1], [1, 2], False)],
)  # fmt: skip
def test_seeds_are_compared_with_the_same_ones_or_with_a_pretrained_base(first, second, is_paired):
    lines = [line(system, f"{system}{seed}", seed, number, float(number < place + 2))
             for system, seeds in (("a", first), ("b", second)) for place, seed in enumerate(seeds)
             for number in range(6)]  # fmt: skip
    less = summarise(lines, None, None)["kinds"]["multiple_choice"]["differences"]["b"]
    assert (less["by_seed"] is not None, less["interval_over_seeds"] is not None) == (is_paired, is_paired)


def test_known_and_incorrect_are_counted_as_by_loops():
    generator = np.random.default_rng(1)
    table = {(system, seed): generator.random((2, 30)) < 0.5 for system in ("a", "b") for seed in (0, 1, 2)}
    lines = [line(system, f"{system}{seed}", seed, number, float(flags[0, number]), bool(flags[1, number]))
             for (system, seed), flags in table.items() for number in range(30)]  # fmt: skip
    lines.append({**lines[-1], "question": 30, "known": None})
    lines += [{**each, "question": 30, "known": None} for each in lines[:-1] if each["question"] == 29
              and each["run"] != "b2"]  # fmt: skip
    known = summarise(lines, None, "b")["known"]
    assert (known["asked"], known["with_facts"]) == (31, 30)
    by = sum(table["b", seed][1].astype(int) for seed in (0, 1, 2)) >= 2
    assert known["known_by"] == by.sum()
    for system in ("a", "b"):
        wrong = sum((table[system, seed][1] & ~table[system, seed][0]).sum() for seed in (0, 1, 2))
        of = sum(table[system, seed][1].sum() for seed in (0, 1, 2))
        found = known["systems"][system]
        assert found["wrong_of_known"]["value"] == pytest.approx(wrong / of)
        assert found["known"] == pytest.approx(of / 90)
        wrong_by = sum((by & ~table[system, seed][0]).sum() for seed in (0, 1, 2)) / (3 * by.sum())
        assert found["wrong_of_known_by"]["value"] == pytest.approx(wrong_by)


def test_nothing_known_and_nothing_scored_are_said():
    nothing = [line("a", "a0", 0, number, 1.0, known=False) for number in range(3)]
    found = summarise(nothing, None, "a")["known"]["systems"]["a"]
    assert found["wrong_of_known"] is None
    assert found["wrong_of_known_by"] is None
    assert found["right_of_unknown"]["value"] == 1
    apart = [{**each, "status": NO_ANSWER} for each in nothing]
    result = summarise(apart, None, None)
    assert result["kinds"]["short_answer"]["set_apart"] == {NO_ANSWER: 3}
    assert "systems" not in result["kinds"]["short_answer"]
    assert result["known"]["with_facts"] == 0


def test_prompts_are_those_of_training(toy_graph, template, tokenizer, tmp_path):
    writer = InstructionPrompts(toy_graph, CONFIG.prompts, template, tokenizer, descriptions=False)
    (item,) = graph_items(toy_graph, "who eats [ivy]\ta gnu\n", tmp_path / "one.txt")
    assert writer.text(item.asked, []) == question_prompt(CONFIG.prompts, item.question.text)


def test_a_run_that_was_trained_with_other_words_is_refused(runs, place):
    folder = shutil.copytree(runs[0], place / "worded")
    overrides = ("experiment=kale_sft", f"objective.kale.rationales={place}/x", "run.name=x")
    config = load_config(composed("train", *overrides), overrides)
    save_config(config, folder / "config.yaml")
    group_runs([folder], CONFIG.prompts, with_base=True)
    words = replace(CONFIG.prompts, question=TaskPrompt(instruction="", input="Well, {question}"))
    with pytest.raises(ValueError, match=r"worded was trained with other words than prompts\.question"):
        group_runs([folder], words, with_base=True)


def test_the_rationale_may_be_left_out_and_the_question_may_not():
    replace(CONFIG.prompts, explained=TaskPrompt(instruction="", input="{question}"))
    with pytest.raises(
        ValueError, match=r"prompts\.explained\.input must be a text with the slots question, rationale"
    ):
        replace(CONFIG.prompts, explained=TaskPrompt(instruction="", input="{rationale}"))


def test_runs_of_different_graphs_are_refused_before_any_is_asked(runs, files, place, tokenizer, template, monkeypatch):
    toy = write_toy_graph(place / "another")
    (toy / "test.txt").write_text("ann\tlikes\tgnu\n")
    other = make_run(place / "elsewhere", toy, make_encoder(tokenizer), tokenizer, template)
    monkeypatch.setattr(run_module, "load_run", lambda folder: pytest.fail(f"{folder} is asked"))
    with pytest.raises(ValueError, match="of different graphs"):
        compared([runs[0], other], files[0], place / "none", base=False)
    assert not (place / "none").exists()


def test_answers_and_an_earlier_evaluation_stay_where_a_later_run_cannot_be_asked(runs, files, place, monkeypatch):
    out, keys = place / "broken off", {"base": False, "known": replace(CONFIG.known, measured=False), "page": False}
    _, before = compared(runs[1:2], files[0], out, **keys)
    stored = {path.name: path.read_bytes() for path in out.iterdir()}
    loaded = run_module.load_run

    def refused(folder):
        if folder == runs[2]:
            raise ValueError("no room")
        return loaded(folder)

    monkeypatch.setattr(run_module, "load_run", refused)
    with pytest.raises(ValueError, match="no room"):
        compared(runs[1:], files[0], out, overwrite=True, **keys)
    assert {name: (out / name).read_bytes() for name in stored} == stored
    assert sorted(path.name for path in out.iterdir()) == sorted([*stored, "qa.unfinished.jsonl"])
    assert [json.loads(line) for line in (out / "qa.unfinished.jsonl").read_text().splitlines()] == before


def test_runs_of_one_name_in_different_folders_are_told_apart(runs, files, place):
    folders = [shutil.copytree(run, place / parent / "m") for run, parent in zip(runs, "abc", strict=True)]
    result, lines = compared(
        folders, files[0], place / "namesakes", base=False, known=replace(CONFIG.known, measured=False), page=False
    )  # fmt: skip
    assert [line["run"] for line in lines[::4]] == [str(folder) for folder in folders]
    systems = result["kinds"]["short_answer"]["systems"]
    assert {name: list(found["runs"]) for name, found in systems.items()} == {
        str(folders[0]): [str(folders[0]), str(folders[1])], str(folders[2]): [str(folders[2])],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": []}, "runs must be a list with the folder of at least one run"),
        ({"num_answers": 6}, "num_answers must be at most num_beams, which is 5"),
        ({"decoding": Decoding.paths}, "decoding must be free or constrained"),
        ({"num_questions": 0}, "num_questions must be a whole number >= 1, or null"),
        ({"name": "a/b"}, "name must be letters"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_bad_values_of_known_are_refused():
    for changes, message in (({"max_hops": 3}, "known.max_hops must be 1 or 2"), ({"beta": -1.0}, "known.beta must be"),
                             ({"candidates": 0}, "known.candidates must be"),
                             ({"measured": False, "by": "x"}, "known.by must be null")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            replace(CONFIG.known, **changes)


@pytest.fixture
def command(warm_python, offline_environment):
    return lambda *arguments: warm_python.run([ROOT / "eval" / "qa.py", *arguments], environment=offline_environment)


def test_the_command_prints_the_table(command, runs, files, place):
    result = command(f"runs=[{place}/tuned-s*]", f"qa={files[0]}", f"out={place / 'command'}", "page=false")
    assert result.returncode == 0, result.stderr
    assert "short answer, without rationale" in result.stdout
    assert {path.name for path in (place / "command").iterdir()} == {"qa.json", "qa.jsonl", "qa.md"}
    with pytest.raises(ValueError, match="holds an evaluation already"):
        compared(runs, files[0], place / "command")


def test_the_command_says_in_one_line_what_is_wrong(command, runs, place):
    result = command(f"runs=[{runs[2]}]", "qa=nowhere.txt", f"out={place / 'refused'}")
    assert result.returncode == 2
    (said,) = result.stderr.splitlines()
    assert said.startswith("error: qa: there is no file nowhere.txt")
    assert not (place / "refused").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": ["nowhere"]}, "runs: there is no folder nowhere"),
        ({"runs": ["nowhere/x-*"]}, r"runs: no run's folder is called nowhere/x-\*"),
        ({"runs": ["tests"]}, "tests is not a run"),
        ({"reference": "kale"}, "reference=kale: no such system; there are base, other"),
        ({"known": replace(CONFIG.known, by="kale")}, "known.by=kale: no such system"),
        ({"qa": "bad.jsonl"}, "bad.jsonl:1: "),
        ({"qa": "empty.txt"}, "empty.txt: the file has no question"),
        ({"out": "lines.txt"}, "out must be a folder"),
    ],
)
def test_what_is_wrong_stops_before_anything_is_written(runs, files, place, changes, message, monkeypatch):
    (place / "bad.jsonl").write_text('{"question": ""}\n')
    (place / "empty.txt").write_text("\n")
    monkeypatch.chdir(place)
    (place / "tests").mkdir(exist_ok=True)
    given = {"runs": runs[2:], "qa": files[0], "out": Path("refused"), **changes}
    with pytest.raises(ValueError, match=message):
        compared(**{**given, "out": Path(given["out"])})
    assert not (place / "refused").exists()
