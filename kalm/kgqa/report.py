"""Tables of what was answered, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from kalm.evaluation.metrics import HITS_AT
from kalm.evaluation.report import low_high
from kalm.evaluation.sections import Table

Result = Mapping[str, Any]


def tables(tasks: Mapping[str, Result], protocol: Mapping[str, Any]) -> list[Table]:
    """Whatever of the tables has a row; the protocol is that of kgqa-NAME.json."""
    made = (
        answers(tasks),
        sets(tasks),
        judgements(tasks, protocol),
        rankings(tasks, protocol),
        differences(tasks),
        set_apart(tasks),
    )
    return [table for table in made if table.rows]


def answers(tasks: Mapping[str, Result]) -> Table:
    header = ["task", "system", "asked", "own", "filtered", "known", "exact", "F1", "shared", "no name"]
    rows = []
    for task, system, found in _systems(tasks, "known"):
        metrics = found["metrics"]
        # the triple's own answer: a question of a file asks for none in particular
        own = ["", ""] if task == "question" else [_narrow(metrics[name]) for name in ("own", "filtered")]
        others = [f"{metrics[name]['value']:.3f}" for name in ("exact", "f1", "ambiguous", "invalid")]
        rows.append([task, system, f"{found['scored']:,}", *own, _narrow(metrics["known"]), *others])
    caption = (
        "first answers, with 95 %; own: name or alias of the triple's own answer; filtered: own, without other right "
        "answers; known: any right answer; shared: known, by a name that something else has too; no name: no such name"
    )
    return Table(header, rows, caption, "answers in writing")


def sets(tasks: Mapping[str, Result]) -> Table:
    rows = [
        [task, system, f"{found['scored']:,}", *_share(found["metrics"]["any"]), *_share(found["metrics"]["recall"]),
         *_share(found["metrics"]["exact_set"]), f"{found['metrics']['undecided']['value']:.3f}"]
        for task, system, found in _systems(tasks, "any")
    ]  # fmt: skip
    header = ["task", "system", "asked", "any", "95 %", "recall", "95 %", "exact set", "95 %", "undecided"]
    caption = (
        "of all answers given; exact set: the first m are all m known ones; undecided: all are right and none is the "
        "triple's own, which filtered counts as wrong; more num_answers (and num_beams) decide"
    )
    return Table(header, rows, caption, "sets of answers")


def judgements(tasks: Mapping[str, Result], protocol: Mapping[str, Any]) -> Table:
    rows = [
        [system, f"{found['scored']:,}", *_share(found["metrics"]["right"]),
         *(f"{found[key]:.3f}" for key in ("balanced_accuracy", "f1"))]
        for _, system, found in _systems(tasks, "right")
    ]  # fmt: skip
    by = protocol.get("classification", "")
    return Table(["system", "triples", "accuracy", "95 %", "balanced", "F1"], rows, by, "is the triple true?")


def rankings(tasks: Mapping[str, Result], protocol: Mapping[str, Any]) -> Table:
    rows = []
    for task, system, found in _systems(tasks):
        if "ranking" not in found:
            continue
        ranking, metrics = found["ranking"], found["ranking"]["metrics"]
        hits = [f"{metrics[f'hits@{k}']:.3f}" for k in HITS_AT]
        rows.append([task, system, f"{ranking['questions']:,}", f"{metrics['mr']:.2f}", f"{metrics['mrr']:.3f}",
                     low_high(ranking["intervals"]["mrr"]), *hits])  # fmt: skip
    header = ["task", "system", "asked", "MR", "MRR", "95 %", *(f"Hits@{k}" for k in HITS_AT)]
    return Table(
        header,
        rows,
        f"by {protocol['ranked']['score']}, beta {protocol['beta']:g}; asked: a seeded sample, see rank_questions",
        "all candidates ranked by their likelihood as text",
    )


def differences(tasks: Mapping[str, Result]) -> Table:
    rows = []
    for task, result in tasks.items():
        for name, found in result.get("difference", {}).items():
            if "mcnemar" not in found or (task == "question" and name in {"own", "filtered"}):
                continue
            test = found["mcnemar"]
            rows.append([task, name, f"{found['difference']:+.3f}", low_high(found["interval"], sign="+"),
                         f"{test['first_only']:,}", f"{test['second_only']:,}", f"{test['p_value']:.2g}"])  # fmt: skip
    header = ["task", "right by", "difference", "95 %", "only base", "only tuned", "p"]
    return Table(header, rows, "p: McNemar's exact test of the questions that one alone has right", "tuned less base")


def set_apart(tasks: Mapping[str, Result]) -> Table:
    """What no accuracy holds, once per task: it is the same for every system."""
    rows = []
    for task, result in tasks.items():
        found = next(iter(result["systems"].values()))
        for reason, count in found["set_apart"].items():
            rows.append([task, reason, f"{count:,} of {found['asked']:,}"])
        if found.get("answers_lost"):
            rows.append([task, "right answers that are no entity", f"{found['answers_lost']:,}"])
    shares = [
        f"{task}, {system} {found['right_of_all']:.3f}" for task, system, found in _systems(tasks)
        if found["set_apart"] and "right_of_all" in found
    ]  # fmt: skip
    caption = f"right if they count as wrong: {'; '.join(shares)}" if shares else ""
    return Table(["task", "set apart", "questions"], rows, caption, "never scored as right")


def _systems(tasks: Mapping[str, Result], metric: str | None = None) -> Iterator[tuple[str, str, Result]]:
    """Task, system and metrics of each system, of those that have the metric."""
    for task, result in tasks.items():
        for system, found in result["systems"].items():
            if metric is None or metric in found.get("metrics", {}):
                yield task, system, found


def _share(metric: Result) -> tuple[str, str]:
    return f"{metric['value']:.3f}", low_high(metric["interval"])


def _narrow(metric: Result) -> str:
    """Value and interval in few characters: `0.040 .000-.120`."""
    if metric["interval"] is None:
        return f"{metric['value']:.3f}"
    low, high = (f"{value:.3f}".removeprefix("0") for value in metric["interval"])
    return f"{metric['value']:.3f} {low}-{high}"
