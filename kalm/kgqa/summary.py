"""Metrics of stored answers: everything in kgqa-NAME.json comes from the lines of kgqa-NAME.jsonl alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.config import Ties
from kalm.evaluation.metrics import intervals, mean_intervals, rank_metrics
from kalm.evaluation.triple_classification import binary_metrics
from kalm.kgqa.asked import SCORED
from kalm.kgqa.lines import Line
from kalm.kgqa.scoring import SCORES, mcnemar

COMPARED = ("own", "filtered", "known")  # right answers that two systems are compared by


def summarise(lines: Sequence[Line], ties: Ties) -> dict[str, Any]:
    """Task -> `systems`: system -> metrics, and with two systems `difference`: the second less the first.

    Args:
        lines: of all tasks and systems; those of one task are in the same order for each system.
        ties: where the true answer stands among equal scores.
    """
    tasks: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        tasks.setdefault(line["task"], {}).setdefault(line["system"], []).append(line)
    return {task: _task(systems, ties) for task, systems in tasks.items()}


def _task(systems: dict[str, list[Line]], ties: Ties) -> dict[str, Any]:
    result: dict[str, Any] = {"systems": {name: _system(own, ties) for name, own in systems.items()}}
    if len(systems) == 2:
        scored = [_scored(own) for own in systems.values()]
        if scored[0]:
            result["difference"] = _difference(*scored)
    return result


def _system(lines: Sequence[Line], ties: Ties) -> dict[str, Any]:
    scored = _scored(lines)
    result: dict[str, Any] = {
        "asked": len(lines),
        "scored": len(scored),
        "set_apart": dict(Counter(line["status"] for line in lines if line["status"] != SCORED)),
    }
    if any("answers_lost" in line for line in lines):
        result["answers_lost"] = sum(line["answers_lost"] for line in lines)
    if not scored:
        return result
    columns = _columns(scored)
    names, values = list(columns), np.stack(list(columns.values()), axis=1)
    low_high = mean_intervals(values, _numbers(scored))
    result["metrics"] = {
        name: {"value": float(values[:, place].mean()), "interval": low_high[place].tolist()}
        for place, name in enumerate(names)
    }
    # those that are set apart count as wrong here
    right = "right" if "right" in columns else "known"
    result["right_of_all"] = float(columns[right].sum() / len(lines))
    if right == "right":
        says, true = (np.array([line[key] for line in scored]) for key in ("says_true", "is_true"))
        result |= {key: value for key, value in binary_metrics(says, true).items() if key != "accuracy"}
    if ranked := [line for line in scored if "ranks" in line]:
        result["ranking"] = _ranking(ranked, ties)
    return result


def _difference(first: Sequence[Line], second: Sequence[Line]) -> dict[str, Any]:
    """The second system less the first, each measure with its interval, and who alone is right."""
    before, after = _columns(first), _columns(second)
    names = list(before)
    values = np.stack([after[name] - before[name] for name in names], axis=1)
    low_high = mean_intervals(values, _numbers(first))
    result: dict[str, Any] = {
        name: {"difference": float(values[:, place].mean()), "interval": low_high[place].tolist()}
        for place, name in enumerate(names)
    }
    for name in names:
        if name in (*COMPARED, "right"):
            result[name]["mcnemar"] = mcnemar(before[name].astype(bool).tolist(), after[name].astype(bool).tolist())
    return result


def _ranking(lines: Sequence[Line], ties: Ties) -> dict[str, Any]:
    """As `eval/kgc.py` has it, over all right answers that are ranked."""
    rows = np.array([row for line in lines for row in line["ranks"]], dtype=np.float64)
    numbers = np.repeat(_numbers(lines), [len(line["ranks"]) for line in lines])
    optimistic, pessimistic, num_candidates = rows.T
    ranks = {Ties.optimistic: optimistic, Ties.pessimistic: pessimistic,
             Ties.realistic: (optimistic + pessimistic) / 2}[ties]  # fmt: skip
    return {
        "questions": len(lines),
        "metrics": rank_metrics(ranks, num_candidates),
        "intervals": intervals(ranks, num_candidates, numbers),
    }


def _scored(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["status"] == SCORED]


def _numbers(lines: Sequence[Line]) -> NDArray[np.int64]:
    """What questions are drawn together by: those of one triple or line."""
    return np.array([line["question"] for line in lines], dtype=np.int64)


def _columns(lines: Sequence[Line]) -> dict[str, NDArray[np.float64]]:
    """What is averaged over the questions."""
    if "says_true" in lines[0]:
        return {"right": np.array([line["says_true"] == line["is_true"] for line in lines], dtype=np.float64)}
    return {name: np.array([line["scores"][name] for line in lines], dtype=np.float64) for name in SCORES}
