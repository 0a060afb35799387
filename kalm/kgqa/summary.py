"""Metrics of stored answers: everything in kgqa-NAME.json comes from the lines of kgqa-NAME.jsonl alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.config import Ties
from kalm.evaluation.metrics import METRICS, intervals, rank_metrics
from kalm.evaluation.paired import mcnemar, means
from kalm.evaluation.triple_classification import binary_metrics
from kalm.kgqa.asked import SCORED
from kalm.kgqa.lines import Line
from kalm.kgqa.scoring import SCORES

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
    result["metrics"] = means(columns, _numbers(scored))
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
    gains = means({name: after[name] - values for name, values in before.items()}, _numbers(first))
    result = {name: {"difference": gain["value"], "interval": gain["interval"]} for name, gain in gains.items()}
    for name in {*COMPARED, "right"} & before.keys():
        result[name]["mcnemar"] = mcnemar(before[name].astype(bool), after[name].astype(bool))
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
        # one question would be drawn again and again, and look certain
        "intervals": intervals(ranks, num_candidates, numbers) if len(set(numbers)) > 1 else dict.fromkeys(METRICS),
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
