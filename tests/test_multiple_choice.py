"""Multiple choice: the files, the prompt, and scores against a plain loop and against lm-evaluation-harness."""

import json

import numpy as np
import pytest
import torch
import yaml
from conftest import make_encoder, shared, write_toy_graph
from toy_run import configured, make_run
from transformers import AutoModelForCausalLM

from kalm.config import Answers, RetentionConfig
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import load_saved_tokenizer
from kalm.provenance import write_json
from kalm.retention.exam import read_exam, read_questions
from kalm.retention.multiple_choice import answer_all, continuations, correct, prompt, summary
from kalm.retention.run import measure

HEADER = "question,choice0,choice1,choice2,choice3,answer\n"
NUMBERED = 'Who likes a cat?,Ann,"Bob, a boy",a cat,an elm,0\n" What\neats hen? ",a cat,a dog,ivy,Ann,3\n'
LETTERED = NUMBERED.replace(",0\n", ",A\n").replace(",3\n", ",D\n")


def write_exam(folder, test=HEADER + NUMBERED, dev="Is ivy green?,yes,no,A\nIs ann tall?,no,yes,maybe,B\n"):
    for split, content in (("test", test), ("dev", dev)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / f"toy_world_{split}.csv").write_text(content)
    return folder


def test_both_forms_of_file_hold_the_same_questions(tmp_path):
    for name, content in (("numbers", HEADER + NUMBERED), ("letters", LETTERED)):
        (tmp_path / name).write_text(content)
    found = [list(read_questions(tmp_path / name, "toy")) for name in ("numbers", "letters")]
    assert found[0] == found[1]
    assert [(q.number, q.choices[1], q.answer) for q in found[0]] == [(1, "Bob, a boy", 0), (2, "a dog", 3)]
    (tmp_path / "marked").write_text(HEADER + NUMBERED, encoding="utf-8-sig")
    assert list(read_questions(tmp_path / "marked", "toy")) == found[0], "with a byte order mark"
    many = "Which?," + ",".join(f"choice {i}" for i in range(26)) + ",Z\nWhich?,this,that,A\n"
    (tmp_path / "many").write_text(many)
    assert [(len(q.choices), q.answer) for q in read_questions(tmp_path / "many", "toy")] == [(26, 25), (2, 0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "Who?,a,b,c,d,4\n", r"toy_world_test.csv:2: the answer is '4'; it must be one of 0 to 3"),
        ("Who?,a,b,c,d,E\n", r"csv:1: the answer is 'E'; it must be one of A to D"),
        ("Who?,a,b,c,d,2\n", r"csv:1: .* no header"),
        (HEADER + "Who?,a,b,c,1\n", r"csv:2: 5 columns instead of the header's 6"),
        (LETTERED + "Who?,a,A\n", r"csv:4: 3 columns; a line is a question, 2 to 26 choices"),
        ('Who?,"a,b,c,d,A\n', r"csv:1: no CSV"),
        (HEADER, "holds no question"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_exam(write_exam(tmp_path, test=content), None, 0, None)


def test_what_an_exam_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no folder test"):
        read_exam(tmp_path, None, 0, None)
    write_exam(tmp_path)
    with pytest.raises(ValueError, match=r"subjects: .* has no anatomy_test.csv; it has toy_world"):
        read_exam(tmp_path, ["anatomy"], 0, None)
    with pytest.raises(ValueError, match=r"shots=3: .*toy_world_dev.csv holds 2 questions; give shots=2"):
        read_exam(tmp_path, None, 3, None)
    (tmp_path / "dev" / "toy_world_dev.csv").unlink()
    with pytest.raises(ValueError, match=r"shots=1: there is no .*toy_world_dev.csv"):
        read_exam(tmp_path, None, 1, None)
    (tmp_path / "test" / "toy_world_test.csv").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_exam(tmp_path, None, 0, None)


def test_the_prompt_is_that_of_the_harness(tmp_path):
    (subject,) = read_exam(write_exam(tmp_path), None, 2, None)
    first, second = subject.questions
    start = "The following are multiple choice questions (with answers) about toy world.\n\n"
    examples = ("Is ivy green?\nA. yes\nB. no\nAnswer: A\n\n"
                "Is ann tall?\nA. no\nB. yes\nC. maybe\nAnswer: B\n\n")  # fmt: skip
    asked = "What\neats hen?\nA. a cat\nB. a dog\nC. ivy\nD. Ann\nAnswer:"
    assert prompt(second, subject, Answers.letters) == start + examples + asked
    assert continuations(second, Answers.letters) == [" A", " B", " C", " D"]
    asked = "Question: Is ivy green?\nAnswer: yes\n\nQuestion: Is ann tall?\nAnswer: yes\n\nQuestion: Who likes a cat?"
    assert prompt(first, subject, Answers.texts) == f"{asked}\nAnswer:"
    assert continuations(first, Answers.texts) == [" Ann", " Bob, a boy", " a cat", " an elm"]


def plain_answer(encoder, tokenizer, text, more, window):
    """Log-likelihood of a continuation as the harness defines it, read alone."""
    start, together = tokenizer(text).input_ids, tokenizer(text + more).input_ids
    labels = together[len(start) :]
    read = together[-(window + 1) :][:-1]
    with torch.no_grad():
        log_p = encoder.causal_lm(input_ids=torch.tensor([read])).logits[0].log_softmax(dim=1)[-len(labels) :]
    return sum(float(row[label]) for row, label in zip(log_p, labels, strict=True)), len(together) > window + 1


@pytest.mark.parametrize("answers", list(Answers))
@pytest.mark.parametrize("shots", [0, 2])
def test_scores_equal_a_plain_loop(tmp_path, tokenizer, answers, shots):
    encoder = make_encoder(tokenizer).eval()
    exam = read_exam(write_exam(tmp_path), None, shots, None)
    found = answer_all(encoder, tokenizer, exam, answers, batch_tokens=100, logit_memory_mib=1, label="toy")
    for question, answered in zip(exam[0].questions, found, strict=True):
        text = prompt(question, exam[0], answers)
        plain = [plain_answer(encoder, tokenizer, text, more, 64) for more in continuations(question, answers)]
        expected = [score for score, _ in plain]
        assert answered.log_likelihoods == pytest.approx(expected, abs=1e-4)
        sizes = [len(choice) if answers is Answers.texts else 1 for choice in question.choices]
        assert answered.chosen == np.argmax(np.array(expected) / sizes)
        assert answered.is_cut == any(is_cut for _, is_cut in plain)
    assert {answered.is_cut for answered in found} == ({shots > 0} if answers is Answers.texts else {True})
    again = answer_all(encoder, tokenizer, exam, answers, batch_tokens=1, logit_memory_mib=1, label="toy")
    for one, other in zip(found, again, strict=True):
        assert one.log_likelihoods == pytest.approx(other.log_likelihoods, abs=1e-4)
    both = summary(exam, {"base": found, "tuned": found})
    assert both["tuned"]["accuracy"] == both["subjects"]["toy_world"]["tuned"] == correct(exam, found).mean()
    assert (both["chance"], both["difference"]["difference"]) == (0.25, 0)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [0, 1])
def test_answers_equal_those_of_the_harness_item_by_item(tmp_path, template, monkeypatch, shots):
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    base, data, subject = str(shared("models/tiny1m")), shared("data/MMLU"), "anatomy"
    for split in ("test", "dev"):
        # as JSON lines: datasets would make numbers of choices in a CSV file
        lines = [json.dumps({"question": q.text, "choices": q.choices, "answer": q.answer}) + "\n"
                 for q in read_questions(data / split / f"{subject}_{split}.csv", subject)]  # fmt: skip
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "local.yaml").write_text(yaml.safe_dump({
        "task": "local_anatomy", "dataset_path": "json", "test_split": "test", "fewshot_split": "dev",
        "dataset_kwargs": {"data_files": {s: str(tmp_path / f"{s}.jsonl") for s in ("test", "dev")}},
        "fewshot_config": {"sampler": "first_n"}, "output_type": "multiple_choice",
        "description": f"The following are multiple choice questions (with answers) about {subject}.\n\n",
        "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\n"
                       "D. {{choices[3]}}\nAnswer:",
        "doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }))  # fmt: skip
    run = tiny_run(tmp_path, base, template)
    result = measure(configured(
        RetentionConfig, "retention", run=str(run), mmlu=str(data), subjects=[subject], shots=shots,
        tasks=["local_anatomy"],
        harness={"shots": shots, "limit": None, "include": str(tmp_path / "tasks"), "batch_size": 8},
    ))  # fmt: skip
    own = [json.loads(line) for line in (run / "eval" / "retention-mmlu.jsonl").read_text().splitlines()]
    theirs = [json.loads(line) for line in (run / "eval" / "retention-tasks.jsonl").read_text().splitlines()]
    assert len(own) == len(theirs) == 135
    for system in ("base", "tuned"):
        assert [line[system]["chosen"] == line["answer"] for line in own] == [line[system] == 1 for line in theirs]
        (row,) = result["tasks"]["scores"]
        assert row[system]["value"] == pytest.approx(result["mmlu"][system]["accuracy"])
        (samples,) = (run / "eval" / f"harness-{system}").rglob("samples_*.jsonl")
        said = [[float(response[0]) for response in json.loads(line)["filtered_resps"]]
                for line in samples.read_text().splitlines()]  # fmt: skip
        np.testing.assert_allclose([line[system]["log_likelihoods"] for line in own], said, atol=1e-3)
    assert row["difference"]["mcnemar"] == result["mmlu"]["difference"]["mcnemar"]
    assert result["mmlu"]["num_cut"] > 0


def tiny_run(place, base, template):
    """A run whose base is a pretrained LM, and whose result is that LM with noise."""
    tokenizer = load_saved_tokenizer(base)
    encoder = DualViewLM(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), dropout=0.0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    run = make_run(place / "run", write_toy_graph(place / "toy"), encoder, tokenizer, template)
    described = json.loads((run / "model" / "kalm.json").read_text())
    write_json(run / "model" / "kalm.json", {**described, "base": base})
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"] |= {"path": base, "scratch": None}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run
