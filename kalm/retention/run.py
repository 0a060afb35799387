"""Measure a run's model and its base on what neither was trained for here, side by side."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from kalm.config import Answers, RetentionConfig
from kalm.evaluation.loaded_run import LoadedRun, load_run, load_untrained
from kalm.evaluation.sections import publish
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import max_positions
from kalm.provenance import environment, file_digest, whole_file, write_json
from kalm.retention import harness, multiple_choice, perplexity
from kalm.retention.exam import Subject, read_exam
from kalm.retention.raw_text import text_files
from kalm.retention.report import print_tables, section

MAX_WINDOW = 2048  # unless the user says otherwise: longer ones cost attention more than they tell
SYSTEMS = ("base", "tuned")
RESULT = "retention.json"


def measure(config: RetentionConfig) -> dict[str, Any]:
    """Measure what the config asks for, write the files of the run's `eval/` folder, print the tables.

    What an earlier call has measured of the same model, and this one is not asked for, stays in the result.

    Raises:
        ValueError: the folder is no run; a text, an exam or lm-evaluation-harness is missing or at fault.
    """
    # what may be refused comes before what takes long
    files = None if config.text is None else text_files(Path(config.text).expanduser())
    exam = None
    if config.mmlu is not None:
        exam = read_exam(Path(config.mmlu).expanduser(), config.subjects, config.shots, config.num_questions)
    if config.tasks:
        harness.require_harness(config.harness)
    run = load_run(Path(config.run).expanduser())
    output = run.folder / "eval"
    output.mkdir(exist_ok=True)
    reading = None if files is None else _reading(config, files, run)
    result: dict[str, Any] = {"step": run.description["step"], **_earlier(output / RESULT, run.description["step"])}
    result |= _with_both(run, config, reading, exam, output)
    write_json(output / RESULT, result)  # fits the lines beside it, whatever becomes of the harness
    if config.tasks:
        result["tasks"] = _tasks(run, config, output)
        write_json(output / RESULT, result)
    print_tables(run.folder.resolve().name, result)
    publish(run.folder, section(result))
    return result


def _reading(config: RetentionConfig, files: Sequence[Path], run: LoadedRun) -> perplexity.TextConfig:
    """Raises ValueError for windows that the LM cannot read."""
    longest = max_positions(run.encoder)
    window = config.window or min(longest or MAX_WINDOW, MAX_WINDOW)
    if longest is not None and window > longest:
        raise ValueError(f"window={window}: the run's LM reads {longest} tokens at most; give window={longest} or less")
    stride = config.stride or max(1, window // 2)
    if stride > window:
        raise ValueError(f"stride={stride} leaves tokens out between windows of {window}; give stride={window} or less")
    return perplexity.TextConfig(
        files=files, window=window, stride=stride, batch_tokens=config.batch_tokens,
        logit_memory_mib=config.logit_memory_mib,
    )  # fmt: skip


def _earlier(path: Path, step: int) -> dict[str, Any]:
    """The parts of an earlier result, if it is of the same step."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("text", "mmlu", "tasks") if name in found and found["step"] == step}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _with_both(
    run: LoadedRun,
    config: RetentionConfig,
    reading: perplexity.TextConfig | None,
    exam: list[Subject] | None,
    output: Path,
) -> dict[str, Any]:
    """What kalm measures itself. One model is in memory at a time."""
    if reading is None and exam is None:
        run.encoder.to("meta")
        return {}
    scored: dict[str, perplexity.Scored] = {}
    answered: dict[str, list[multiple_choice.Answered]] = {}
    encoder: DualViewLM | None = run.encoder
    for system in reversed(SYSTEMS):
        if encoder is None:
            encoder = load_untrained(run)
        if reading is not None:
            scored[system] = perplexity.score_text(encoder, run.tokenizer, reading, f"text, {system}")
        if exam is not None:
            answered[system] = multiple_choice.answer_all(
                encoder, run.tokenizer, exam, config.answers, batch_tokens=config.batch_tokens,
                logit_memory_mib=config.logit_memory_mib, label=f"multiple choice, {system}",
            )  # fmt: skip
        encoder.to("meta")  # room for the other
        encoder = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    result = {}
    if reading is not None:
        result["text"] = _text_result(reading, scored, run)
        _write_lines(output / "retention-text.jsonl", _text_lines(reading, scored))
    if exam is not None:
        result["mmlu"] = _exam_result(config, exam, answered, run)
        _write_lines(output / "retention-mmlu.jsonl", _exam_lines(exam, answered))
    return result


def _text_result(
    reading: perplexity.TextConfig, scored: dict[str, perplexity.Scored], run: LoadedRun
) -> dict[str, Any]:
    columns = scored["tuned"]
    return {
        "protocol": {
            "window": reading.window,
            "stride": reading.stride,
            "first_token": "read, not scored" if run.tokenizer.bos_token_id is None else "scored after the start token",
            "dtype": run.config.model.dtype.value,
            "interval": "95 %, bootstrap over blocks of neighbouring windows",
        },
        "files": [{"path": str(path), "sha256": file_digest(path)} for path in reading.files],
        "num_bytes": int(columns.num_bytes.sum()),
        "num_tokens": int(columns.num_tokens.sum()),
        "num_unknown": int(columns.num_unknown.sum()),
        "num_windows": len(columns.files),
        **{system: perplexity.summary(scored[system]) for system in SYSTEMS},
        "difference": perplexity.difference(scored["base"], scored["tuned"]),
        "environment": environment(),
    }


def _text_lines(reading: perplexity.TextConfig, scored: dict[str, perplexity.Scored]) -> Iterable[dict[str, Any]]:
    columns = scored["tuned"]
    blocks = perplexity.blocks_of(columns)
    for row in range(len(columns.files)):
        yield {
            "file": str(reading.files[columns.files[row]]),
            "block": int(blocks[row]),
            "tokens": int(columns.num_tokens[row]),
            "bytes": int(columns.num_bytes[row]),
            "unknown": int(columns.num_unknown[row]),
            **{f"nats_{system}": float(scored[system].nats[row]) for system in SYSTEMS},
        }


def _exam_result(
    config: RetentionConfig, exam: list[Subject], answered: dict[str, list[multiple_choice.Answered]], run: LoadedRun
) -> dict[str, Any]:
    example = multiple_choice.prompt(exam[0].questions[0], exam[0], config.answers)
    score = {
        Answers.letters: "log p of the letter",
        Answers.texts: "log p of the choice's text / its characters",
    }[config.answers]
    return {
        "protocol": {
            "answers": config.answers.value,
            "score": score,
            "shots": config.shots,
            "num_questions": config.num_questions,
            "first_prompt": example,
            "dtype": run.config.model.dtype.value,
            "too_long": "the prompt's beginning is left out",
            "interval": "95 %, bootstrap over questions",
        },
        "folder": str(config.mmlu),
        "digests": {name: digest for subject in exam for name, digest in subject.digests.items()},
        **multiple_choice.summary(exam, answered),
        "environment": environment(),
    }


def _exam_lines(exam: list[Subject], answered: dict[str, list[multiple_choice.Answered]]) -> Iterable[dict[str, Any]]:
    questions = (question for subject in exam for question in subject.questions)
    for question, *both in zip(questions, *(answered[system] for system in SYSTEMS), strict=True):
        line: dict[str, Any] = {
            "subject": question.subject, "question": question.number, "answer": question.answer,
            "choices": len(question.choices), "is_cut": any(found.is_cut for found in both),
        }  # fmt: skip
        for system, found in zip(SYSTEMS, both, strict=True):
            line[system] = {"chosen": found.chosen, "log_likelihoods": found.log_likelihoods}
        yield line


def _tasks(run: LoadedRun, config: RetentionConfig, output: Path) -> dict[str, Any]:
    """Both models by lm-evaluation-harness."""
    arguments = harness.model_arguments(run, harness.base_model(run))
    calls = {system: harness.run_harness(run, config, system, arguments[system]) for system in SYSTEMS}
    found = {system: harness.read_output(output / f"harness-{system}" / "output") for system in SYSTEMS}
    lines = (
        {
            "task": task,
            "metric": metric,
            "question": doc,
            **{system: found[system].samples[task, metric][doc] for system in SYSTEMS},
        }
        for task, metric in found["base"].samples
        if harness.paired_values(found["base"], found["tuned"], task, metric) is not None
        for doc in sorted(found["base"].samples[task, metric])
    )
    _write_lines(output / "retention-tasks.jsonl", lines)
    return {
        "protocol": {"harness": found["tuned"].version, "calls": calls, "interval": "95 %, bootstrap over questions"},
        "scores": harness.compare(found["base"], found["tuned"]),
        "environment": environment(),
    }


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
