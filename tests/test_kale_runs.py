"""Training runs on questions with rationales, and files that are none."""

import json
import sys

import numpy as np
import pytest
from conftest import ASKED
from safetensors.numpy import load_file
from test_entry_points import DEEPSPEED, Workplace, assert_user_error
from toy_run import composed

from kalm.composition import load_config
from kalm.graph.sources import load_graph
from kalm.provenance import file_digest
from kalm.rationale.resuming import graph_digest
from kalm.training.questions import load_questions

STEPS = ["training.log_every_steps=1", "training.max_steps=6", "training.learning_rate=1e-2"]


def record(number: int, digest: str, **changes) -> dict:
    asked = ASKED[number % len(ASKED)]
    return {"number": number, "kind": "short_answer", "question": asked.question, "choices": [], "status": "ok",
            "told_answers": list(asked.answers), "rationale": asked.rationale, "digests": {"graph": digest},
            **changes}  # fmt: skip


def write(path, records) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in records))


class KaleWorkplace(Workplace):
    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        digest = graph_digest(load_graph("folder", self.folder / "toy"))
        records = [record(number, digest) for number in range(7)]
        records += [record(7, digest, status="no_path", rationale=""), record(8, digest, question="long " * 300)]
        write(self.folder / "rationales.jsonl", records)
        write(self.folder / "foreign.jsonl", [record(0, "0" * 16)])
        self.kale = ("objective=kalm_kale", f"objective.kale.rationales={self.folder / 'rationales.jsonl'}",
                     "objective.kale.batch_size=4", "objective.kale.answer_weight=0.5", *STEPS)  # fmt: skip

    def logged(self, name: str) -> list[dict]:
        lines = [json.loads(line) for line in (self.run(name) / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, offline_environment, warm_python):
    return KaleWorkplace(tmp_path_factory.mktemp("kale"), offline_environment, warm_python)


def test_a_run_takes_steps_of_both_kinds_and_says_what_it_leaves_out(workplace):
    result = workplace.train("run.name=both", *workplace.kale, "evaluation.every_steps=6")
    assert result.returncode == 0, result.stdout + result.stderr
    assert ("7 of 9 questions of rationales.jsonl are trained on; left out: 1 longer than the LM's 256 tokens, "
            "1 no_path") in result.stdout  # fmt: skip
    assert "kale divergence" in result.stdout
    assert "questions/s" in result.stdout
    lines = [line for line in workplace.logged("both") if "lr" in line]
    kinds = [("loss/contrastive" in line, "loss/kale_divergence" in line) for line in lines]
    assert kinds == [(True, False), (False, True)] * 3
    assert {"loss/kale_answer", "padding", "epoch"} <= lines[1].keys()
    assert "negatives/batch" not in lines[1]
    assert [line["epoch"] for line in lines] == [pytest.approx(8 * steps / 14) for steps in (1, 1, 2, 2, 3, 3)]
    environment = json.loads((workplace.run("both") / "environment.json").read_text())
    assert environment["texts"] == {"objective.kale.rationales": file_digest(workplace.folder / "rationales.jsonl")}
    foreign = workplace.train("run.name=bad", *workplace.kale,
                              f"objective.kale.rationales={workplace.folder / 'foreign.jsonl'}")  # fmt: skip
    assert_user_error(foreign, "foreign.jsonl:1: made from another graph (0000000000000000, not ")
    assert not workplace.run("bad").exists()


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["kale", "kalm_kale"])
@pytest.mark.parametrize(("zero_stage", "num_processes"), [(0, 1), (2, 2), (3, 2)])
def test_a_resumed_run_is_the_whole_one_bit_for_bit(workplace, objective, zero_stage, num_processes):
    launcher = (sys.executable,)
    if num_processes > 1:
        launcher = (DEEPSPEED, "--num_gpus", str(num_processes), "--master_port", "29619")
    micro = "training.micro_batch_size=1" if num_processes > 1 else "training.micro_batch_size=null"
    switches = (*workplace.kale, f"objective={objective}", micro, f"deepspeed.zero_stage={zero_stage}",
                "objective.kale.rationale_weight=0.1", "run.overwrite=true", "training.batch_size=4")  # fmt: skip
    whole = workplace.train("run.name=whole", *switches, launcher=launcher)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    for part in ("training.stop_after_steps=3", "training.resume=true"):
        result = workplace.train("run.name=halves", *switches, part, launcher=launcher)
        assert result.returncode == 0, result.stdout + result.stderr
    # the last bit of a sum over tokens depends on nothing that a resumed run changes
    assert workplace.logged("halves") == workplace.logged("whole")
    weights = [load_file(workplace.run(name) / "model" / "model.safetensors") for name in ("whole", "halves")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def load(path, toy_graph, tokenizer, encoder, cache, *overrides):
    config = load_config(composed("train", f"objective.kale.rationales={path}", f"data.cache={cache}",
                                  "objective.kale.batch_size=2", "objective=kale", *overrides))  # fmt: skip
    return load_questions(config, toy_graph, tokenizer, encoder)


BAD = {
    "empty": ([], "has no record with status ok; launch/rationales.py says why"),
    "none is ok": ([{"status": "no_path"}, {"status": "no_entity"}],
                   "has no record with status ok; left out: 1 no_entity, 1 no_path"),
    "all too long": ([{"question": "long " * 99}] * 2, "has 0 questions to train on; lower it, or name another file"),
    "another graph": ([{"digests": {"graph": "ab"}}], ":1: made from another graph (ab, not "),
    "ok without rationale": ([{"rationale": " "}], ":1: no record of launch/rationales.py (status ok without ration"),
    "no record": ([{"digests": None}], ":1: no record of launch/rationales.py"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused(case, tmp_path, toy_graph, tokenizer, encoder, capsys):
    lines, message = BAD[case]
    path = tmp_path / "bad.jsonl"
    write(path, [record(0, graph_digest(toy_graph), **line) for line in lines])
    with pytest.raises(ValueError) as error:
        load(path, toy_graph, tokenizer, encoder, tmp_path / "cache")
    assert message in str(error.value)
    assert "bad.jsonl" in str(error.value)


def test_a_cached_table_does_not_hide_that_the_file_is_of_another_graph(tmp_path, toy_graph, tokenizer, encoder):
    path = tmp_path / "rationales.jsonl"
    write(path, [record(number, graph_digest(toy_graph)) for number in range(3)])
    words = "objective.kale.prompts.explained.input='{question} {rationale}'"
    assert load(path, toy_graph, tokenizer, encoder, tmp_path / "cache", words).num_questions == 3
    (tmp_path / "other").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "other" / f"{split}.txt").write_text("a\tr\tb\n")
    with pytest.raises(ValueError, match=r"rationales\.jsonl:1: made from another graph"):
        load(path, load_graph("folder", tmp_path / "other"), tokenizer, encoder, tmp_path / "cache", words)


def test_the_shipped_forms_of_prompt_keep_the_question_first():
    """So that both sequences share its tokens, and an LM that writes its own facts goes on from the question."""
    words = composed("kgqa", "run=x").prompts
    assert words.explained.input.startswith(words.question.input)
