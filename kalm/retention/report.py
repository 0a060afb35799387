"""The tables of a retention result, printed and on the run's page."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kalm.evaluation.report import low_high, print_section_tables
from kalm.evaluation.sections import Section, Table

HEADER = ("", "base", "tuned", "tuned less base", "95 %", "McNemar's p")


def print_tables(name: str, result: dict[str, Any]) -> None:
    print_section_tables(
        replace(table, title=f"{table.title}: {name}, step {result['step']}")
        for table in tables(result, by_subject=False)
    )


def section(result: dict[str, Any]) -> Section:
    """All that the result holds, for the run's page."""
    lead = ("The model after training beside the same LM before it, on the same text and questions. "
            "A difference whose interval leaves out 0 is more than chance.")  # fmt: skip
    return Section(
        name="retention", title="Retention", step=result["step"], parts=[lead, *tables(result, by_subject=True)]
    )


def tables(result: dict[str, Any], *, by_subject: bool) -> Iterator[Table]:
    """One per part of the result, and one of subjects if wanted."""
    if text := result.get("text"):
        yield Table(HEADER, list(_text_rows(text)), _about_text(text), "Raw text (lower is better)")
    if exam := result.get("mmlu"):
        yield Table(HEADER, list(_exam_rows(exam)), _about_exam(exam), "Multiple choice")
        if by_subject:
            subjects = [
                (
                    f"{name} ({subject['count']:,})",
                    subject["base"],
                    subject["tuned"],
                    subject["tuned"] - subject["base"],
                )
                for name, subject in exam["subjects"].items()
            ]
            yield Table(
                HEADER[:4], subjects, "Accuracy by subject; questions in brackets.", "Multiple choice by subject"
            )
    if tasks := result.get("tasks"):
        rows = [
            (f"{row['task']}, {row['metric']}", _with_error(row["base"]), _with_error(row["tuned"]),
             *_compared(row["difference"]))
            for row in tasks["scores"]
        ]  # fmt: skip
        yield Table(HEADER, rows, f"lm-evaluation-harness {tasks['protocol']['harness']}; ± standard error", "Tasks")


def _text_rows(text: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    base, tuned = text["base"], text["tuned"]
    for key, name in (("bits_per_byte", "bits per byte"), ("perplexity_per_token", "perplexity per token")):
        less = _compared(text["difference"]) if key == "bits_per_byte" else (f"{tuned[key] - base[key]:+.4f}", "–", "–")
        yield name, f"{base[key]:.4f}", f"{tuned[key]:.4f}", *less


def _exam_rows(exam: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Of all questions; and of those whose prompts were read whole, where some were not."""
    parts = {"accuracy": exam} | ({"accuracy, whole prompts": exam["whole"]} if exam.get("whole") else {})
    for name, found in parts.items():
        scores = (f"{found[system]['accuracy']:.4f}" for system in ("base", "tuned"))
        yield name, *scores, *_compared(found["difference"])


def _about_text(text: dict[str, Any]) -> str:
    protocol, files = text["protocol"], text["files"]
    what = f"{files[0]['path']} (SHA-256 {files[0]['sha256'][:12]})" if len(files) == 1 else f"{len(files):,} files"
    parts = [
        f"{what}: {text['num_bytes']:,} bytes, {text['num_tokens']:,} tokens, each scored once",
        f"windows of {protocol['window']}, stride {protocol['stride']}",
        f"first token {protocol['first_token']}",
    ]
    if text["num_unknown"]:
        parts.append(f"{text['num_unknown']:,} tokens stand for text that the tokenizer cannot write, which flatters")
    return "; ".join(parts)


def _about_exam(exam: dict[str, Any]) -> str:
    protocol, test = exam["protocol"], exam["difference"]["mcnemar"]
    count = exam["base"]["count"]
    intervals = (f"{system} {low_high(exam[system]['interval'], digits=4)}" for system in ("base", "tuned"))
    return (
        f"{exam['folder']}: {count:,} questions, {protocol['shots']}-shot; 95 % of {', '.join(intervals)}; "
        f"score: {protocol['score']}; chance {exam['chance']:.3f}; "
        f"prompts longer than the LM's window, without their beginning: {exam['num_cut']:,} of {count:,}; "
        f"right by base alone {test['first_only']:,}, by tuned alone {test['second_only']:,}"
    )


def _compared(found: dict[str, Any]) -> tuple[str, str, str]:
    test = found.get("mcnemar")
    return (
        f"{found['difference']:+.4f}",
        low_high(found["interval"], digits=4, sign="+"),
        "–" if test is None else f"{test['p_value']:.3g}",
    )


def _with_error(score: dict[str, float | None]) -> str:
    error = "" if score["stderr"] is None else f" ± {score['stderr']:.4f}"
    return f"{score['value']:.4f}{error}"
