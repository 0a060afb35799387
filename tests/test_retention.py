"""Retention: the command's files and page, its numbers made again from the lines, and what it says of faults."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT, make_encoder, write_toy_graph
from reproduce_retention import reproduce
from test_multiple_choice import write_exam
from test_perplexity import long_text
from toy_run import configured, make_run

from kalm.config import Dtype, RetentionConfig
from kalm.retention import harness
from kalm.retention.run import measure

# in the place of lm-evaluation-harness: reads its settings, and answers by the size of the weights
STUB = """
import json, sys, yaml
from pathlib import Path
from types import SimpleNamespace
settings = yaml.safe_load(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
model = Path(settings["model_args"]["pretrained"])
assert (model / "config.json").is_file() and (model / "tokenizer.json").is_file(), "is to be loadable"
if settings["tasks"] == ["nonsense"]:
    print("downloading\\nValueError: Tasks not found: nonsense\\n", file=sys.stderr)
    sys.exit(1)
right = [int(model.name == "model"), 1, 0, 0, 1][: settings.get("limit")]
out = Path(settings["output_path"]) / "toy__model"
out.mkdir(parents=True)
mean = sum(right) / len(right)
(out / "results_2026.json").write_text(json.dumps({"lm_eval_version": "0.4.13", "results": {
    "arc_toy": {"alias": "arc", "acc,none": mean, "acc_stderr,none": 0.2, "f1,strict": 0.5 + mean,
                "f1_stderr,strict": "N/A"}}}))
(out / "samples_arc_toy_2026.jsonl").write_text("".join(
    json.dumps({"doc_id": i, "filter": "none", "metrics": ["acc"], "acc": float(a)}) + "\\n"
    for i, a in reversed(list(enumerate(right)))))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, tokenizer, template):
    place = tmp_path_factory.mktemp("kept")
    make_run(place / "run", write_toy_graph(place / "toy"), make_encoder(tokenizer), tokenizer, template)
    write_exam(place / "exam")
    (place / "text.txt").write_bytes(long_text(1, 700).encode())
    (place / "stub" / "lm_eval").mkdir(parents=True)
    (place / "stub" / "lm_eval" / "__init__.py").write_text("")
    (place / "stub" / "lm_eval" / "__main__.py").write_text(STUB)
    return place


def measured(place, **keys):
    return measure(configured(RetentionConfig, "retention", run=str(place / "run"), **keys))


@pytest.fixture
def with_harness(place, monkeypatch):
    monkeypatch.syspath_prepend(str(place / "stub"))
    monkeypatch.setenv("PYTHONPATH", str(place / "stub"))


def test_one_call_measures_all_and_its_numbers_can_be_made_again(place, with_harness, capsys):
    result = measured(place, text=str(place / "text.txt"), mmlu=str(place / "exam"), shots=1, tasks=["arc_toy"])
    assert reproduce(place / "run" / "eval") > 40
    shown, page = capsys.readouterr().out, (place / "run" / "report.html").read_text()
    for words in ("Raw text", "Multiple choice", "bits per byte", "arc_toy, acc,none", "2 questions, 1-shot"):
        assert words in shown
        assert words in page
    assert json.loads((place / "run" / "eval" / "retention.json").read_text()) == result
    assert f"-m lm_eval run --config {(place / 'run').resolve()}/eval/harness-base/settings.yaml" in shown
    assert len(result["text"]["files"][0]["sha256"]) == 64


def test_questions_whose_prompt_was_cut_are_shown_apart(place, capsys):
    long = "Who, " + "a cat and a dog, " * 40
    (place / "long" / "test").mkdir(parents=True)
    rows = ["Who?,a,b,A", f'"{long}?",a,b,B', "What?,a,b,B"]
    (place / "long" / "test" / "toy_test.csv").write_text("".join(f"{row}\n" for row in rows))
    exam = measured(place, mmlu=str(place / "long"), answers="texts")["mmlu"]
    assert (exam["num_cut"], exam["base"]["count"], exam["whole"]["base"]["count"]) == (1, 3, 2)
    assert "accuracy, whole prompts" in capsys.readouterr().out
    lines = [json.loads(line) for line in (place / "run" / "eval" / "retention-mmlu.jsonl").read_text().splitlines()]
    for system in ("base", "tuned"):
        right = [line[system]["chosen"] == line["answer"] for line in lines if not line["is_cut"]]
        assert exam["whole"][system]["accuracy"] == sum(right) / 2
    assert reproduce(place / "run" / "eval") > 0


def test_one_window_alone_has_no_interval(place):
    (place / "short.txt").write_text("Ann likes a cat.")
    text = measured(place, text=str(place / "short.txt"))["text"]
    assert text["difference"]["interval"] is None
    assert reproduce(place / "run" / "eval") > 0


def test_the_base_is_the_lm_before_training_and_differs_from_it(place):
    text = measured(place, text=str(place / "text.txt"))["text"]
    # conf/model/tiny.yaml's LM, larger than the toy run's own
    assert text["base"]["bits_per_byte"] != text["tuned"]["bits_per_byte"]
    low, high = text["difference"]["interval"]
    assert low < text["difference"]["difference"] < high


def test_what_an_earlier_call_has_measured_of_the_same_model_stays(place):
    first = measured(place, text=str(place / "text.txt"))
    second = measured(place, mmlu=str(place / "exam"))
    assert second["text"] == first["text"]
    path = place / "run" / "eval" / "retention.json"
    path.write_text(json.dumps({**second, "step": 6}))
    assert "text" not in measured(place, mmlu=str(place / "exam")), "of another step"
    path.write_text("{")
    assert "mmlu" in measured(place, mmlu=str(place / "exam"))


def test_scores_of_the_harness_are_paired_question_by_question(place, with_harness):
    acc, f1 = measured(place, tasks=["arc_toy"])["tasks"]["scores"]
    assert (acc["base"], acc["tuned"]) == ({"value": 0.4, "stderr": 0.2}, {"value": 0.6, "stderr": 0.2})
    assert acc["difference"]["difference"] == pytest.approx(0.2)
    assert acc["difference"]["mcnemar"] == {"first_only": 0, "second_only": 1, "p_value": 1.0}
    assert f1["difference"] == {"difference": pytest.approx(0.2), "interval": None}
    assert f1["tuned"] == {"value": 1.1, "stderr": None}
    settings = yaml.safe_load((place / "run" / "eval" / "harness-tuned" / "settings.yaml").read_text())
    assert settings["model_args"] == {"pretrained": str((place / "run" / "model").resolve()), "dtype": "float32",
                                      "tokenizer": str((place / "run" / "model").resolve())}  # fmt: skip
    assert "num_fewshot" not in settings, "as the task says"


def test_an_adapter_is_put_on_its_base(place):
    class Run:
        folder = place / "adapted"
        description: dict = {"base": "org/lm"}  # noqa: RUF012
        config = SimpleNamespace(model=SimpleNamespace(dtype=Dtype.float32))

    (Run.folder / "model").mkdir(parents=True)
    (Run.folder / "model" / "adapter_config.json").write_text("{}")
    found = harness.model_arguments(Run, harness.base_model(Run))
    model = str((Run.folder / "model").resolve())
    assert found["base"] == {"pretrained": "org/lm", "tokenizer": model, "dtype": "float32"}
    assert found["tuned"] == {**found["base"], "peft": model}


def test_a_harness_that_fails_or_is_missing_is_told(place, with_harness, monkeypatch):
    with pytest.raises(ValueError, match=r"exit code 1: ValueError: Tasks not found: nonsense; see .*log.txt"):
        measured(place, text=str(place / "text.txt"), window=16, tasks=["nonsense"])
    stored = json.loads((place / "run" / "eval" / "retention.json").read_text())
    assert stored["text"]["protocol"]["window"] == 16, "what was measured before stays"
    assert reproduce(place / "run" / "eval") > 10
    (place / "empty").mkdir()
    with pytest.raises(ValueError, match=r"left no results_\*.json"):
        harness.read_output(place / "empty")
    (place / "empty" / "results_1.json").write_text('{"results": []}')
    with pytest.raises(ValueError, match=r"results_1.json: not as lm-evaluation-harness"):
        harness.read_output(place / "empty")
    monkeypatch.setattr(harness, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"not installed; pip install 'kalm\[harness\]'"):
        measured(place, tasks=["arc_toy"])


@pytest.fixture
def command(place, warm_python, offline_environment):
    def call(*arguments):
        script = [ROOT / "eval" / "retention.py", f"run={place / 'run'}", *arguments]
        return warm_python.run(script, environment=offline_environment)

    return call


def test_the_command_shows_a_table(place, command):
    result = command(f"text={place / 'text.txt'}", "window=32", "stride=8")
    assert result.returncode == 0, result.stderr
    assert "windows of 32, stride 8; first token read, not scored" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give what to measure: text=FILE-OR-FOLDER, mmlu=FOLDER, tasks=[NAME,...], or several"),
        pytest.param(["text=nowhere, 1"], "text: there is no file or folder nowhere, 1", marks=pytest.mark.slow),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(place, command, arguments, message):
    before = written(place / "run")
    result = command(*arguments)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert written(place / "run") == before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"window": 2000}, "window=2000: the run's LM reads 64 tokens at most; give window=64 or less"),
        ({"window": 8, "stride": 9}, "stride=9 leaves tokens out between windows of 8"),
        ({"stride": 0}, "stride must be a whole number >= 1, got 0"),
        ({"mmlu": "nowhere"}, "mmlu: nowhere has no folder test"),
        ({"mmlu": "nowhere", "subjects": []}, "subjects must be a list of names, or null"),
        ({"tasks": ["arc_easy"], "harness": {"shots": None, "limit": 0, "include": None, "batch_size": 8}},
         "harness.limit must be a whole number >= 1, or null, got 0"),
        ({"tasks": ["arc_easy"], "harness": {"shots": None, "limit": 1, "include": "nowhere", "batch_size": 8}},
         "harness.include: there is no folder nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused_before_anything_is_written(place, keys, message):
    before = written(place / "run")
    with pytest.raises(ValueError, match=re.escape(message)):
        measured(place, text=str(place / "text.txt"), **keys)
    assert written(place / "run") == before


def written(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_script_that_makes_the_numbers_again(place):
    measured(place, mmlu=str(place / "exam"))
    script = [sys.executable, str(Path(__file__).with_name("reproduce_retention.py")), str(place / "run")]
    assert "numbers are as they are stored" in subprocess.run(script, capture_output=True, text=True, check=True).stdout
