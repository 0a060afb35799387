"""Shares of right answers by system, what they differ in, and known facts answered wrongly: from the lines alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.evaluation import jackknife
from kalm.evaluation.paired import compare_ratio, mcnemar, ratio
from kalm.kgqa.asked import SCORED
from kalm.kgqa.lines import Line
from kalm.rationale.question import Kind

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Runs = dict[str, list[Line]]  # run -> its lines, in the order of the questions

MEASURES = ("exact", "f1", "any", "recall", "invalid")  # of short answers beside `known`, which is the score


def summarise(lines: Sequence[Line], reference: str | None, known_by: str | None) -> dict[str, Any]:
    """`kinds`: kind -> systems and differences; `known`: system -> known facts, where they were measured.

    Args:
        lines: of all systems and runs; each run has one for each question, in the same order.
        reference: system that the others are compared with; None: the first.
        known_by: system whose known facts are shown for all; None: none.
    """
    kinds: dict[str, dict[str, Runs]] = {}
    for line in lines:
        kinds.setdefault(line["kind"], {}).setdefault(line["system"], {}).setdefault(line["run"], []).append(line)
    result: dict[str, Any] = {"kinds": {kind: _kind(kind, systems, reference) for kind, systems in kinds.items()}}
    short = kinds.get(Kind.short_answer.value, {})
    if any("known" in line for runs in short.values() for of_run in runs.values() for line in of_run):
        result["known"] = _known(short, known_by)
    return result


def _kind(kind: str, systems: Mapping[str, Runs], reference: str | None) -> dict[str, Any]:
    every = [of_run for runs in systems.values() for of_run in runs.values()]
    # one run's window may be shorter: only what all have answered is compared
    status = [next((line["status"] for line in column if line["status"] != SCORED), SCORED)
              for column in zip(*every, strict=True)]  # fmt: skip
    rows = [row for row, found in enumerate(status) if found == SCORED]
    result: dict[str, Any] = {
        "asked": len(status),
        "scored": len(rows),
        "set_apart": dict(Counter(found for found in status if found != SCORED)),
        "answers_lost": sum(line.get("answers_lost", 0) for line in every[0]),
    }
    if not rows:
        return result
    scored = {name: {run: [of_run[row] for row in rows] for run, of_run in runs.items()}
              for name, runs in systems.items()}  # fmt: skip
    result["systems"] = {name: _system(kind, runs) for name, runs in scored.items()}
    reference = reference or next(iter(scored))
    result["reference"] = reference
    result["differences"] = {
        name: _difference(kind, scored[reference], runs) for name, runs in scored.items() if name != reference
    }
    return result


def _system(kind: str, runs: Runs) -> dict[str, Any]:
    values = _scores(runs)
    means = values.mean(axis=1)
    result: dict[str, Any] = {
        "runs": dict(zip(runs, means.tolist(), strict=True)),
        "mean": float(means.mean()),
        "lowest": float(means.min()),
        "highest": float(means.max()),
        "interval": ratio(values.mean(axis=0), *_each_question(values.shape[1]))["interval"],
    }
    if kind == Kind.short_answer.value:
        result |= {name: float(np.mean([[line["scores"][name] for line in of_run] for of_run in runs.values()]))
                   for name in MEASURES}  # fmt: skip
    elif kind == Kind.free_answer.value:
        result["exact"] = float(np.mean([[line["exact"] for line in of_run] for of_run in runs.values()]))
    return result


def _difference(kind: str, first: Runs, second: Runs) -> dict[str, Any]:
    """The second system less the first: over the questions, each with the mean of its runs, and over the seeds.

    The interval over questions says whether other questions would show the same of these runs, that over seeds whether
    other runs would on these questions. The latter is Student's t of the differences of runs of the same seed. A
    pretrained base has no seed, so all are compared with it; any other single run is one draw of many, whose chance
    the differences from it would not show.
    """
    before, after = _scores(first), _scores(second)
    found = compare_ratio(before.mean(axis=0), after.mean(axis=0), *_each_question(before.shape[1]))
    result: dict[str, Any] = {**found, "by_seed": None, "interval_over_seeds": None, "mcnemar": None}
    seeds = _seeds(first), _seeds(second)
    if seeds[0] == seeds[1] or [None] in seeds:
        by_seed = after.mean(axis=1) - before.mean(axis=1)
        result["by_seed"] = by_seed.tolist()
        if len(by_seed) > 1:
            result["interval_over_seeds"] = jackknife.interval(jackknife.mean(by_seed))
    if len(before) == len(after) == 1 and kind != Kind.free_answer.value:
        result["mcnemar"] = mcnemar(before[0] == 1, after[0] == 1)
    return result


def _known(systems: Mapping[str, Runs], known_by: str | None) -> dict[str, Any]:
    """Known and incorrect: of the questions whose facts a run knows, those that it answers wrongly."""
    every = [of_run for runs in systems.values() for of_run in runs.values()]
    rows = [row for row, column in enumerate(zip(*every, strict=True))
            if all(line["status"] == SCORED and line["known"] is not None for line in column)]  # fmt: skip
    result: dict[str, Any] = {"asked": len(every[0]), "with_facts": len(rows), "by": known_by}
    if not rows:
        return result
    known = {name: _flags(runs, rows, "known") for name, runs in systems.items()}
    right = {name: _flags(runs, rows, "score") for name, runs in systems.items()}
    by = None if known_by is None else known[known_by].mean(axis=0) > 0.5
    if by is not None:
        result["known_by"] = int(by.sum())
    result["systems"] = {name: _known_of(known[name], right[name], by) for name in systems}
    return result


def _known_of(known: Flags, right: Flags, by: Flags | None) -> dict[str, Any]:
    """Shares of one system's runs, (runs, questions): its own known ones, and those that another system knows."""
    found: dict[str, Any] = {
        "known": float(known.mean()),
        "wrong_of_known": _share(known & ~right, known),
        "right_of_unknown": _share(~known & right, ~known),
    }
    if by is not None:
        found["wrong_of_known_by"] = _share(by & ~right, np.broadcast_to(by, right.shape))
    return found


def _share(part: Flags, whole: Flags) -> dict[str, Any] | None:
    """Of all runs together, with the interval over questions; None where there is nothing to have a share of."""
    weights = whole.mean(axis=0)
    rows = np.flatnonzero(weights)
    if len(rows) == 0:
        return None
    return ratio(part.mean(axis=0)[rows], weights[rows], rows.astype(np.int64))


def _scores(runs: Runs) -> Floats:
    """(runs, questions)."""
    return np.array([[line["score"] for line in of_run] for of_run in runs.values()], dtype=np.float64)


def _flags(runs: Runs, rows: Sequence[int], key: str) -> Flags:
    return np.asarray(np.array([[of_run[row][key] for row in rows] for of_run in runs.values()]) == 1)


def _seeds(runs: Runs) -> list[int | None]:
    return [of_run[0]["seed"] for of_run in runs.values()]


def _each_question(count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Denominators and clusters of questions that are independent trials, all alike."""
    return np.ones(count), np.arange(count)
