"""`eval/kgqa.py`: answers, files and faults; each number again from the stored answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, make_encoder, write_toy_graph
from reproduce_kgqa import check_ranks, reproduce
from toy_run import configured, make_run

from kalm.config import Decoding, KgqaConfig, PromptForm, QaTask, ScratchConfig
from kalm.evaluation.loaded_run import load_run
from kalm.graph.knowledge_graph import SPLITS
from kalm.kgqa import run as run_module
from kalm.kgqa import tasks as tasks_module
from kalm.kgqa.asked import TOO_FEW_SHOTS, TOO_LONG
from kalm.kgqa.run import ask, file_name
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.scratch import build_llama

CONFIG = configured(KgqaConfig, "kgqa", run="x")
SEVERAL = "what does [Ann] like\ta cat|a fox\nwhat eats [Zed]\tivy\nwho eats [ivy]\tnobody|a gnu\n[hen] eats\tmoss\n"


def wide_encoder(tokenizer, max_length=512):
    torch.manual_seed(1)
    scratch = ScratchConfig(
        vocab_size=320, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2, max_length=max_length
    )
    encoder = DualViewLM(build_llama(scratch, tokenizer, torch.float32), dropout=0.0)
    with torch.no_grad():
        for parameter in encoder.parameters():  # fresh weights are so small that every text is as likely
            if parameter.dim() > 1:
                parameter.mul_(4)
    return encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, template):
    place = tmp_path_factory.mktemp("kgqa")
    toy = write_toy_graph(place / "toy")
    return make_run(place / "run", toy, wide_encoder(tokenizer), tokenizer, template)


@pytest.fixture(scope="module")
def questions(folder):
    path = folder.parent / "questions.txt"
    path.write_text(SEVERAL)
    return path


def lines_of(folder, **keys):
    """The stored answers of an evaluation, after all its numbers were found in them again."""
    config = replace(CONFIG, run=str(folder), **keys)
    result = ask(config)
    path = folder / "eval" / f"{file_name(config)}.jsonl"
    assert reproduce(path) > 0
    assert result == json.loads(path.with_suffix(".json").read_text())
    return result, [json.loads(line) for line in path.read_text().splitlines()]


def test_four_tasks_in_the_own_template(folder, capsys):
    result, lines = lines_of(folder)
    out = capsys.readouterr().out
    for title in ("answers in writing", "is the triple true?", "tuned less base", "all candidates ranked"):
        assert title in out
    assert {(line["task"], line["system"]) for line in lines} == {
        (task, system) for task in ("head", "tail", "relation", "classification") for system in ("base", "tuned")
    }
    for task, part in result["tasks"].items():
        for found in part["systems"].values():
            assert (found["asked"], found["scored"]) == ((8, 8) if task == "classification" else (4, 4))
            if task != "classification":
                assert found["metrics"]["invalid"]["value"] == 0
                assert found["ranking"]["metrics"]["count"] == 4
    assert "Questions answered in writing: test-own-0shot-constrained" in (folder / "report.html").read_text()
    assert not list((folder / "eval").glob(".unfinished*"))


def test_the_first_of_all_names_is_the_answer_with_as_many_beams_as_names(folder):
    _, lines = lines_of(folder, tasks=[QaTask.tail], num_beams=10, num_answers=9, rank_questions=None, baseline=False)
    for line in lines:
        assert len(line["answers"]) == 9, "different names"
        scores = [answer["log_probability"] for answer in line["answers"]]
        assert scores == sorted(scores, reverse=True)
        # the ranking divides by the number of tokens, among all that are no other right answers
        others = {label for label, *_ in line["right"]} - {line["own"]}
        means = {answer["ids"][0]: answer["log_probability"] / answer["num_tokens"] for answer in line["answers"]
                 if not others & set(answer["ids"])}  # fmt: skip
        if line["own"] in means:
            better = [label for label, mean in means.items() if mean > means[line["own"]]]
            optimistic, pessimistic, _ = line["ranks"][0]
            assert optimistic <= len(better) + 1 + len([label for label in better if label in ("dog", "dog2")])
            assert pessimistic >= len(better) + 1


@torch.no_grad()
def mean_log_probability(encoder, prompt, text):
    logits = encoder.causal_lm(torch.tensor([[*prompt, *text]])).logits[0].double().log_softmax(dim=1)
    places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
    return sum(float(logits[place, token]) for place, token in zip(places, text, strict=True)) / len(text)


def score_by_hand(run, head, relation, tail):
    table = run.table

    def row(part, place):
        return part.take(np.array([place]))[0].tolist()

    prompt = [*row(table.heads, head), *row(table.relations, relation)]
    return mean_log_probability(run.encoder, prompt, row(table.tails, tail))


def test_relations_are_tried_one_by_one_in_the_own_template(folder):
    run = load_run(folder)
    _, lines = lines_of(folder, tasks=[QaTask.relation], baseline=False, num_answers=3)
    labels, relations = list(run.graph.entity_labels), list(run.graph.relation_labels)
    known = {tuple(triple) for split in SPLITS for triple in run.graph.triples[split].tolist()}
    for line in lines:
        head, own, tail = (
            labels.index(line["triple"][0]),
            relations.index(line["own"]),
            labels.index(line["triple"][2]),
        )
        scores = [score_by_hand(run, head, relation, tail) for relation in range(3)]
        order = sorted(range(3), key=lambda relation: -scores[relation])
        assert [answer["text"] for answer in line["answers"]] == [run.graph.relation_names[place] for place in order]
        assert [answer["log_probability"] for answer in line["answers"]] == pytest.approx(
            [scores[place] for place in order], abs=1e-5
        )
        rivals = [scores[place] for place in range(3) if (head, place, tail) not in known]
        assert line["ranks"] == [[sum(score > scores[own] for score in rivals) + 1] * 2 + [len(rivals) + 1]]
        assert {label for label, *_ in line["right"]} == {
            relations[place] for place in range(3) if (head, place, tail) in known
        }


def test_triples_are_judged_by_thresholds_of_valid(folder):
    run = load_run(folder)
    _, lines = lines_of(folder, tasks=[QaTask.classification], baseline=False)
    labels, relations = list(run.graph.entity_labels), list(run.graph.relation_labels)
    known = {tuple(triple) for split in SPLITS for triple in run.graph.triples[split].tolist()}
    assert sum(line["is_true"] for line in lines) == len(lines) / 2
    for line in lines:
        head, relation, tail = line["triple"]
        triple = labels.index(head), relations.index(relation), labels.index(tail)
        assert (triple in known) is line["is_true"]
        assert line["score"] == pytest.approx(score_by_hand(run, *triple), abs=1e-5)
        assert line["says_true"] is (line["score"] >= line["threshold"])


def test_four_tasks_by_instruction_with_examples(folder):
    result, lines = lines_of(
        folder, prompt=PromptForm.instruction, shots=2, decoding=Decoding.free, max_new_tokens=6, baseline=False
    )
    assert {found["scored"] for part in result["tasks"].values() for found in part["systems"].values()} == {4, 8}
    for line in lines:
        assert line["prompt"].count("### Response:") == 3
        if line["task"] == "classification":
            assert line["says_true"] is (line["yes"] > line["no"])
        else:
            assert all(answer["num_tokens"] <= 6 for answer in line["answers"])
    shares = [found["metrics"]["invalid"]["value"] for task, part in result["tasks"].items() if task != "classification"
              for found in part["systems"].values()]  # fmt: skip
    assert max(shares) == 1, "a random LM writes no names"
    tasks = [QaTask.tail, QaTask.relation]
    result, _ = lines_of(folder, prompt=PromptForm.instruction, tasks=tasks, shots=2, baseline=False)
    assert {found["metrics"]["invalid"]["value"] for part in result["tasks"].values()
            for found in part["systems"].values()} == {0}  # fmt: skip


def test_the_same_prompt_and_answers_whoever_is_asked_beside(folder):
    def tuned(lines):
        return [{**line, "system": ""} for line in lines if line["system"] == "tuned"]

    both, alone = (lines_of(folder, tasks=[QaTask.tail], baseline=baseline)[1] for baseline in (True, False))
    assert tuned(both) == tuned(alone)


def test_descriptions_are_left_out_of_prompts(folder):
    result, lines = lines_of(folder, tasks=[QaTask.tail], descriptions=False, baseline=False)
    assert lines[0]["prompt"].endswith("Ann; is fond of:")
    assert result["protocol"]["descriptions"] is False
    _, lines = lines_of(folder, tasks=[QaTask.tail], baseline=False)
    assert "Ann, a person" in lines[0]["prompt"]


def test_questions_of_a_file(folder, questions, capsys):
    result, lines = lines_of(folder, questions=str(questions), prompt=PromptForm.instruction)
    found = result["tasks"]["question"]["systems"]["tuned"]
    apart = {"topic is no entity": 1, "no answer in the graph": 1}
    assert (found["asked"], found["scored"], found["set_apart"], found["answers_lost"]) == (4, 2, apart, 2)
    right = found["metrics"]["known"]["value"]
    assert found["right_of_all"] == pytest.approx(right * 2 / 4)
    assert [line["status"] for line in lines if "answers" not in line] == [*apart] * 2
    assert found["ranking"]["metrics"]["count"] == 3, "two right answers and one"
    out = capsys.readouterr().out
    assert "4 of 4 lines read" in out
    assert "never scored as right" in out
    assert "right answers that are no entity" in out


def test_questions_in_the_own_template_with_examples_of_a_file(folder, questions):
    shots = folder.parent / "shots.txt"
    shots.write_text("whom does [Bob] know\ta gnu\nwho is [an elm tree]\tivy\nwhat likes [Ann]\tBob\n")
    _, lines = lines_of(folder, questions=str(questions), shots_from=str(shots), shots=1, baseline=False)
    assert [line["status"] for line in lines][::3] == ["scored", "no answer in the graph"]
    end = "<|end|>"
    assert [line["prompt"].count(end) for line in lines if line["status"] == "scored"] == [1, 1]
    example, question = lines[0]["prompt"].split(end)
    assert question.startswith("Ann, a person")
    assert question.endswith("; what does Ann like:")
    assert any(text in example for text in ("; whom does Bob know: a gnu", "; who is an elm tree: ivy"))
    example, _ = lines[2]["prompt"].split(end)
    assert "; what likes Ann: Bob" in example, "the other two hold ivy or a gnu"


def test_an_example_without_a_topic_is_no_example_in_the_own_template(folder, questions):
    shots = folder.parent / "untold.txt"
    shots.write_text("whom does [Bob] know\ta gnu\nwho is an elm tree\tivy\nwhat likes [Ann]\tBob\n")
    _, lines = lines_of(folder, questions=str(questions), shots_from=str(shots), shots=1, baseline=False, name="untold")
    prompts = [line["prompt"] for line in lines if line["status"] == "scored"]
    assert prompts
    assert not any("elm" in prompt for prompt in prompts)


def test_examples_of_judgements_in_the_own_template_are_training_triples(folder):
    graph = load_run(folder).graph
    _, lines = lines_of(folder, tasks=[QaTask.classification], shots=2, baseline=False, name="judged")
    train = {(graph.entity_names[h], graph.relation_names[r], graph.entity_names[t])
             for h, r, t in graph.triples["train"].tolist()}  # fmt: skip
    examples = [part for line in lines if line["status"] == "scored" for part in line["prompt"].split("<|end|>")[:-1]]
    assert examples
    for example in examples:
        described, _, rest = example.rpartition("; ")
        relation, _, tail = rest.partition(": ")
        assert (described.partition(",")[0], relation, tail) in train, example


@pytest.mark.parametrize("beta", [0.5])
def test_scores_are_divided_by_a_power_of_the_length(folder, beta):
    run = load_run(folder)
    result, lines = lines_of(folder, beta=beta, baseline=False, name="beta")
    assert result["protocol"]["beta"] == beta
    labels, relations = list(run.graph.entity_labels), list(run.graph.relation_labels)

    def by_hand(head, relation, tail):
        size = len(run.table.tails.take(np.array([tail]))[0])
        return score_by_hand(run, head, relation, tail) * size ** (1 - beta)

    for line in lines:
        head, relation, tail = line["triple"]
        triple = labels.index(head), relations.index(relation), labels.index(tail)
        if line["task"] == "classification":
            assert line["score"] == pytest.approx(by_hand(*triple), abs=1e-5)
        elif line["task"] == "relation":
            found = {answer["ids"][0]: answer["log_probability"] for answer in line["answers"]}
            assert found[relation] == pytest.approx(by_hand(*triple), abs=1e-5)
    page = (folder / "report.html").read_text()
    assert f"log p(text and its end | prompt) / length^beta, beta {beta:g}" in page


def test_names_are_read_once_and_no_examples_are_drawn_unless_wanted(folder, monkeypatch):
    monkeypatch.setattr(tasks_module, "TriplePool", None)  # sorts all of train
    head, tail, *_ = tasks_module.Tasks(load_run(folder), CONFIG).jobs()
    assert (head.task, tail.task) == ("head", "tail")
    assert head.options is tail.options


def test_one_question_has_no_interval(folder):
    result, _ = lines_of(folder, tasks=[QaTask.tail], num_questions=1, name="single")
    assert result["tasks"]["tail"]["difference"]["known"]["interval"] is None
    assert result["tasks"]["tail"]["systems"]["tuned"]["ranking"]["intervals"]["mrr"] is None


def test_a_rank_that_is_better_than_the_written_names_allow_is_found():
    def line(optimistic):
        answers = [{"text": "cat", "ids": ["c"], "log_probability": -1.2, "num_tokens": 3},
                   {"text": "ant", "ids": ["a"], "log_probability": -1.0, "num_tokens": 2}]  # fmt: skip
        return {"question": 0, "own": "a", "right": [["a", "ant"]], "answers": answers, "ranks": [[optimistic, 5, 9]]}

    check_ranks([line(2)], 1.0)
    check_ranks([line(1)], 0.0)
    with pytest.raises(AssertionError, match="better"):
        check_ranks([line(1)], 1.0)


def test_judging_without_a_validation_set_says_what_to_do(folder, monkeypatch):
    run = load_run(folder)
    run.graph.triples["valid"] = run.graph.triples["valid"][:0]
    monkeypatch.setattr(run_module, "load_run", lambda _: run)
    with pytest.raises(ValueError, match="thresholds on valid, which is empty; take prompt=instruction"):
        ask(replace(CONFIG, run=str(folder)))


def test_paths_are_walked_from_the_topic_through_training_triples(folder, questions):
    run = load_run(folder)
    graph = run.graph
    train = {(graph.entity_labels[h], graph.relation_labels[r], graph.entity_labels[t])
             for h, r, t in graph.triples["train"].tolist()}  # fmt: skip
    _, lines = lines_of(
        folder, questions=str(questions), prompt=PromptForm.instruction, decoding=Decoding.paths, baseline=False
    )
    scored = [line for line in lines if line["status"] == "scored"]
    assert len(scored) == 2
    for line in scored:
        assert line["scores"]["invalid"] is False
        for answer in line["answers"]:
            assert 1 <= len(answer["path"]) <= 2
            assert {tuple(triple) for triple in answer["path"]} <= train
            assert line["topics"][0] in (answer["path"][0][0], answer["path"][0][2])
            assert set(answer["ids"]) & {answer["path"][-1][0], answer["path"][-1][2]}


def test_what_cannot_be_asked_is_set_apart_and_never_right(folder, questions, tokenizer, template, tmp_path):
    lonely = tmp_path / "shots.txt"
    lonely.write_text("whom does [Ann] know\ta gnu\n")
    result, lines = lines_of(
        folder, questions=str(questions), shots_from=str(lonely), shots=1, prompt=PromptForm.instruction
    )
    assert result["tasks"]["question"]["systems"]["tuned"]["set_apart"][TOO_FEW_SHOTS] == 2
    assert not any("scores" in line for line in lines)
    narrow = make_run(
        tmp_path / "narrow", write_toy_graph(tmp_path / "toy"), make_encoder(tokenizer), tokenizer, template
    )
    config = replace(CONFIG, run=str(narrow), prompt=PromptForm.instruction, baseline=False)
    tasks = ask(config)["tasks"]
    for part in tasks.values():
        found = part["systems"]["tuned"]
        assert found["set_apart"] == {TOO_LONG: found["asked"]}
        assert "metrics" not in found


def test_aliases_are_right_and_may_be_written(folder, tmp_path):
    (tmp_path / "aliases.txt").write_text("gnu\twildebeest|a fox\nzed\tZ\n")
    result, lines = lines_of(
        folder, tasks=[QaTask.tail], aliases=str(tmp_path / "aliases.txt"), num_beams=12, num_answers=9
    )
    (line,) = [line for line in lines if line["system"] == "tuned" and line["own"] == "gnu"]
    assert ["gnu", "a gnu", "wildebeest", "a fox"] in line["right"]
    (fox,) = [answer for answer in line["answers"] if answer["text"] == "a fox"]
    assert sorted(fox["ids"]) == ["fox", "gnu"]
    assert result["protocol"]["aliases"] is True


def test_an_interrupted_evaluation_leaves_nothing_half_written(folder, monkeypatch):
    lines_of(folder, tasks=[QaTask.tail], name="broken", baseline=False)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "summarise", stop)
    before = sorted(path.name for path in (folder / "eval").iterdir())
    with pytest.raises(KeyboardInterrupt):
        ask(replace(CONFIG, run=str(folder), tasks=[QaTask.tail], name="broken"))
    assert sorted(path.name for path in (folder / "eval").iterdir()) == before


def test_files_are_named_by_what_is_asked_and_how():
    config = CONFIG
    assert file_name(config) == "kgqa-test-own-0shot-constrained"
    other = replace(config, questions="/a/1 hop.txt", prompt=PromptForm.instruction, descriptions=False)
    assert file_name(other) == "kgqa-questions-1_hop-instruction-0shot-constrained-bare"
    assert file_name(replace(config, name="mine")) == "kgqa-mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": []}, "tasks must be a list with head"),
        ({"tasks": [QaTask.tail, QaTask.tail]}, "tasks must be a list with .* each once"),
        ({"split": "dev"}, "split must be train, valid or test"),
        ({"split": "valid"}, "split must be train or test with classification and prompt=own"),
        ({"filter": ["train"]}, "filter must be a list of splits .* test being one"),
        ({"num_answers": 6}, "num_answers must be at most num_beams, which is 5"),
        ({"shots_from": "x"}, "shots_from must be null without questions=FILE"),
        ({"questions": "x", "shots": 1}, "shots must be 0 with questions=FILE unless"),
        ({"decoding": Decoding.paths}, "decoding must be free or constrained without questions=FILE"),
        ({"num_questions": 0}, "num_questions must be a whole number >= 1, or null"),
        ({"rank_questions": -1}, "rank_questions must be a whole number >= 0, or null"),
        ({"name": "a/b"}, "name must be letters"),
        ({"beta": -1.0}, "beta must be a finite number >= 0"),
        ({"beta": float("nan")}, "beta must be a finite number >= 0"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda words: {"triples": replace(words.triples, ask="{input} {x}")},
         r"prompts.triples.ask must be a text with \{input\} once"),
        (lambda words: {"tail": replace(words.tail, input="{head}")},
         "prompts.tail.input must be a text with the slots head, relation"),
        (lambda words: {"tail": replace(words.tail, instruction="{tail}")},
         r"prompts.tail.instruction must be a text with no slot but \{relations\}"),
        (lambda words: {"no": words.yes}, "prompts.no must be another word than prompts.yes"),
        (lambda words: {"inverse_relation": "{"}, r"prompts.inverse_relation must be a text with \{relation\} once"),
    ],
)  # fmt: skip
def test_bad_words_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG.prompts, **changes(CONFIG.prompts))


@pytest.fixture
def command(folder, warm_python, offline_environment):
    return lambda *arguments: warm_python.run(
        [ROOT / "eval" / "kgqa.py", f"run={folder}", *arguments], environment=offline_environment
    )


def test_the_command_prints_the_tables(command, folder):
    result = command("tasks=[tail]", "name=command", "rank_questions=2")
    assert result.returncode == 0, result.stderr
    assert "answers in writing" in result.stdout
    assert "base" in result.stdout
    assert "tuned" in result.stdout
    assert json.loads((folder / "eval" / "kgqa-command.json").read_text())["tasks"]["tail"]["systems"]["tuned"][
        "ranking"
    ]
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["questions=nowhere.txt"], "questions: there is no file nowhere.txt"),
        pytest.param(["shotss=1"], "shots", marks=pytest.mark.slow),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(command, folder, arguments, message):
    before = sorted(path.name for path in (folder / "eval").iterdir()) if (folder / "eval").is_dir() else []
    result = command(*arguments)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert (sorted(path.name for path in (folder / "eval").iterdir()) if (folder / "eval").is_dir() else []) == before
