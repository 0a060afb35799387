"""Every number of a question evaluation again from its stored answers: the rules of scoring as plain code.

python tests/reproduce_kgqa.py RUN/eval/kgqa-NAME.jsonl: compares with kgqa-NAME.json beside it.
"""

import json
import math
import re
import string
import sys
import unicodedata
from pathlib import Path

import numpy as np

SCORES = ("exact", "own", "filtered", "undecided", "known", "f1", "ambiguous", "invalid", "any", "recall", "exact_set")
RESAMPLES = 1000


def bare(text: str) -> str:
    """NFKC, case folded, no punctuation, no articles, single spaces; no step may leave nothing."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    steps = [text, "".join(c for c in text if c not in string.punctuation and unicodedata.category(c)[0] != "P")]
    steps.append(re.sub(r"\b(a|an|the)\b", " ", steps[1]))
    steps = [" ".join(step.split()) for step in steps]
    return next((step for step in reversed(steps) if step), "")


def overlap(answer: str, truth: str) -> float:
    left, right = bare(answer).split(), bare(truth).split()
    common = 0
    rest = list(right)
    for word in left:
        if word in rest:
            rest.remove(word)
            common += 1
    if common == 0:
        return 0.0
    precision, recall = common / len(left), common / len(right)
    return 2 * precision * recall / (precision + recall)


def score(line: dict) -> dict[str, float]:
    """The scores of one question from its answers and the names of what is right."""
    names = {label: texts for label, *texts in line["right"]}
    wanted = names if line["own"] is None else {line["own"]: names[line["own"]]}
    answers = line["answers"]

    def fits(answer: dict, labels: dict) -> set[str]:
        """By its text; or by its ids, where names were cut for the LM and written alike."""
        text = bare(answer["text"])
        return {label for label in labels if label in answer["ids"] or text in map(bare, names[label])}

    first = answers[0] if answers else {"text": "", "ids": []}
    found = set().union(*(fits(answer, names) for answer in answers))
    num_wanted = len({bare(texts[0]) for texts in names.values()})
    others = {label: names[label] for label in names if label != line["own"]}
    rest = [answer for answer in answers if fits(answer, wanted) or not fits(answer, others)]
    leading = [fits(answer, names) for answer in answers[:num_wanted]]
    return {
        "exact": any(bare(first["text"]) == bare(texts[0]) for texts in wanted.values()),
        "own": bool(fits(first, wanted)),
        "filtered": bool(fits(first, names)) if line["own"] is None else bool(rest and fits(rest[0], wanted)),
        "undecided": bool(line["own"] is not None and answers and not rest),
        "known": bool(fits(first, names)),
        "f1": max(overlap(first["text"], text) for texts in names.values() for text in texts),
        "ambiguous": bool(fits(first, names)) and bool(set(first["ids"]) - set(names)),
        "invalid": bool(answers) and not first["ids"],
        "any": bool(found),
        "recall": len(found) / len(names),
        "exact_set": len(leading) == num_wanted and all(leading) and set().union(*leading) == set(names),
    }


def intervals(
    columns: dict[str, list[float]], numbers: list[int], finish=lambda means: means
) -> dict[str, list[float] | None]:
    """Percentile bootstrap of the mean of each column; questions of one number are drawn together, and one has none."""
    if len(set(numbers)) == 1:
        return dict.fromkeys(columns)
    table = np.array(list(columns.values()), dtype=np.float64).T
    groups = [[row for row, own in enumerate(numbers) if own == number] for number in sorted(set(numbers))]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = [row for place in rng.integers(len(groups), size=len(groups)) for row in groups[place]]
        drawn.append(finish(table[chosen].mean(axis=0)))
    low_high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0).T.tolist()
    return dict(zip(columns, low_high, strict=True))


def exact_test(first: list[bool], second: list[bool]) -> dict[str, float]:
    first_only = sum(a and not b for a, b in zip(first, second, strict=True))
    second_only = sum(b and not a for a, b in zip(first, second, strict=True))
    total = first_only + second_only
    tail = sum(math.comb(total, k) for k in range(min(first_only, second_only) + 1)) / 2**total
    return {"first_only": first_only, "second_only": second_only, "p_value": min(1.0, 2 * tail)}


def check_ranks(lines: list[dict], beta: float) -> None:
    """A stored rank is no better than the scores of written names allow, log p / length^beta.

    Relations that were tried one by one are stored with their scores, and without a number of tokens.
    """
    for line in lines:
        if line.get("own") is None or "ranks" not in line:
            continue
        own_name = {label: texts for label, *texts in line["right"]}[line["own"]]
        scores = [
            (answer, answer["log_probability"] / (answer["num_tokens"] or 1) ** beta) for answer in line["answers"]
        ]
        mine = [value for answer, value in scores if line["own"] in answer["ids"] and [answer["text"]] == own_name]
        right = {label for label, *_ in line["right"]}
        # rounded, and of two ways to compute it
        better = [
            answer for answer, value in scores if mine and value > mine[0] + 1e-4 and not right & set(answer["ids"])
        ]
        assert line["ranks"][0][0] > len(better), f"question {line['question']}: {line['ranks']}, better: {better}"


def columns_of(lines: list[dict]) -> dict[str, list[float]]:
    if "is_true" in lines[0]:
        for line in lines:
            says = line["score"] >= line["threshold"] if "score" in line else line["yes"] > line["no"]
            assert says == line["says_true"], line
        return {"right": [float(line["says_true"] == line["is_true"]) for line in lines]}
    scores = [score(line) for line in lines]
    return {name: [float(row[name]) for row in scores] for name in SCORES}


def judged(lines: list[dict]) -> dict[str, float]:
    says, true = [line["says_true"] for line in lines], [line["is_true"] for line in lines]
    kinds = [[s == t for s, t in zip(says, true, strict=True) if t is kind] for kind in (True, False)]
    hits = sum(s and t for s, t in zip(says, true, strict=True))
    return {
        "balanced_accuracy": float(np.mean([np.mean(kind) for kind in kinds if kind])),
        "f1": 2 * hits / (sum(says) + sum(true)) if sum(says) + sum(true) else 0.0,
        "num_true": sum(true),
        "num_false": len(true) - sum(true),
    }


def ranked(lines: list[dict], ties: str) -> dict:
    rows = [(line["question"], *row) for line in lines for row in line["ranks"]]
    weight = {"optimistic": 0.0, "realistic": 0.5, "pessimistic": 1.0}[ties]
    ranks = [low + weight * (high - low) for _, low, high, _ in rows]
    columns = {"mr": ranks, "mrr": [1 / rank for rank in ranks]}
    columns |= {f"hits@{k}": [float(rank <= k) for rank in ranks] for k in (1, 3, 10)}
    columns["amri"] = [(candidates + 1) / 2 for *_, candidates in rows]

    def finish(means: np.ndarray) -> np.ndarray:
        """The last is the rank by chance so far."""
        means[-1] = 1 - (means[0] - 1) / (means[-1] - 1) if means[-1] > 1 else np.nan
        return means

    metrics = finish(np.array([np.mean(values) for values in columns.values()]))
    return {
        "questions": len(lines),
        "metrics": {**dict(zip(columns, metrics.tolist(), strict=True)), "count": len(rows)},
        "intervals": intervals(columns, [number for number, *_ in rows], finish),
    }


def system_of(lines: list[dict], ties: str) -> dict:
    scored = [line for line in lines if line["status"] == "scored"]
    statuses = [line["status"] for line in lines if line["status"] != "scored"]
    result: dict = {
        "asked": len(lines), "scored": len(scored), "set_apart": {name: statuses.count(name) for name in set(statuses)},
    }  # fmt: skip
    if "answers_lost" in lines[0]:
        result["answers_lost"] = sum(line["answers_lost"] for line in lines)
    if scored:
        columns, numbers = columns_of(scored), [line["question"] for line in scored]
        low_high = intervals(columns, numbers)
        result["metrics"] = {name: {"value": float(np.mean(values)), "interval": low_high[name]}
                             for name, values in columns.items()}  # fmt: skip
        result["right_of_all"] = sum(columns.get("right") or columns["known"]) / len(lines)
        result |= judged(scored) if "right" in columns else {}
        if with_ranks := [line for line in scored if "ranks" in line]:
            result["ranking"] = ranked(with_ranks, ties)
    return result


def recompute(lines: list[dict], ties: str) -> dict:
    result: dict = {}
    for task in dict.fromkeys(line["task"] for line in lines):
        systems = list(dict.fromkeys(line["system"] for line in lines))
        parts = [[line for line in lines if (line["task"], line["system"]) == (task, name)] for name in systems]
        result[task] = {"systems": {name: system_of(part, ties) for name, part in zip(systems, parts, strict=True)}}
        scored = [[line for line in part if line["status"] == "scored"] for part in parts]
        if len(systems) == 2 and scored[0]:
            before, after = (columns_of(part) for part in scored)
            numbers = [line["question"] for line in scored[0]]
            gains = {name: [b - a for a, b in zip(before[name], after[name], strict=True)] for name in before}
            low_high = intervals(gains, numbers)
            result[task]["difference"] = {}
            for name, values in before.items():
                row: dict = {"difference": float(np.mean(gains[name])), "interval": low_high[name]}
                if name in {"own", "filtered", "known", "right"}:
                    row["mcnemar"] = exact_test([value == 1 for value in values], [value == 1 for value in after[name]])
                result[task]["difference"][name] = row
    return result


def same(stored, found, place: str = "tasks") -> int:
    """How many numbers agree; stops at the first that does not."""
    if isinstance(stored, dict):
        assert stored.keys() == found.keys(), f"{place}: {sorted(stored)} and {sorted(found)}"
        return sum(same(stored[key], found[key], f"{place}.{key}") for key in stored)
    if isinstance(stored, list):
        assert len(stored) == len(found), place
        return sum(same(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(stored, found, strict=True)))
    if stored is None:
        assert found is None, f"{place}: nothing is stored, and the answers give {found}"
        return 0
    assert math.isclose(stored, found, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(stored) and math.isnan(found)), (
        f"{place}: {stored} is stored, and the answers give {found}"
    )
    return 1


def reproduce(path: Path) -> int:
    """Compare kgqa-NAME.json with what kgqa-NAME.jsonl gives; how many numbers agree."""
    stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    if stored["protocol"]["decoding"] == "constrained":
        check_ranks(lines, stored["protocol"]["beta"])
    return same(stored["tasks"], recompute(lines, stored["protocol"]["ties"]))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {reproduce(Path(name)):,} numbers agree")
