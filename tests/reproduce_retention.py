"""Every number of retention.json again from the lines beside it, in numpy alone: the protocol as code.

python tests/reproduce_retention.py RUN: a run that eval/retention.py has measured.
"""

import json
import math
import sys
from itertools import groupby
from pathlib import Path

import numpy as np

SYSTEMS = ("base", "tuned")


def reproduce(folder: Path) -> int:
    """Compare every number of the result with one made from the lines; how many there were."""
    result = json.loads((folder / "retention.json").read_text(encoding="utf-8"))
    made = {name: part(folder, result[name]) for name, part in PARTS.items() if name in result}
    count = 0
    for name, numbers in made.items():
        for place, number in numbers.items():
            stored = result[name]
            for key in place:
                stored = stored[key]
            if number is None or stored is None:
                assert stored is number, f"{name}: {place}: {stored} is stored, and the lines give {number}"
                continue
            np.testing.assert_allclose(stored, number, rtol=1e-9, err_msg=f"{name}: {place}")
            count += np.size(number)
    return count


def text(folder: Path, _: dict) -> dict:
    lines = read(folder / "retention-text.jsonl")
    num_bytes, num_tokens = (np.array([line[key] for line in lines]) for key in ("bytes", "tokens"))
    blocks = [[i for i, _ in group] for _, group in groupby(enumerate(lines), lambda pair: pair[1]["block"])]
    numbers = {("num_bytes",): num_bytes.sum(), ("num_tokens",): num_tokens.sum(), ("num_windows",): len(lines)}
    numbers["num_unknown",] = sum(line["unknown"] for line in lines)
    bits = {system: np.array([line[f"nats_{system}"] for line in lines]) / math.log(2) for system in SYSTEMS}
    for system in SYSTEMS:
        numbers[system, "bits_per_byte"] = bits[system].sum() / num_bytes.sum()
        numbers[system, "interval"] = interval(bits[system], num_bytes, blocks)
        numbers[system, "nats_per_token"] = bits[system].sum() * math.log(2) / num_tokens.sum()
        numbers[system, "perplexity_per_token"] = math.exp(numbers[system, "nats_per_token"])
    less = bits["tuned"] - bits["base"]
    return numbers | {
        ("difference", "difference"): less.sum() / num_bytes.sum(),
        ("difference", "interval"): interval(less, num_bytes, blocks),
    }


def exam(folder: Path, result: dict) -> dict:
    lines = read(folder / "retention-mmlu.jsonl")
    by_letter = result["protocol"]["answers"] == "letters"
    numbers = {("num_cut",): sum(line["is_cut"] for line in lines)}
    numbers["chance",] = np.mean([1 / line["choices"] for line in lines])
    right = {}
    for system in SYSTEMS:
        if by_letter:  # lengths of texts are not in the lines
            assert all(np.argmax(line[system]["log_likelihoods"]) == line[system]["chosen"] for line in lines)
        right[system] = np.array([line[system]["chosen"] == line["answer"] for line in lines])
        numbers |= {(system, key): number for key, number in accuracy(right[system]).items()}
        for subject in {line["subject"] for line in lines}:
            numbers["subjects", subject, system] = right[system][[line["subject"] == subject for line in lines]].mean()
    numbers |= {("difference", *key): number for key, number in compared(right["base"], right["tuned"]).items()}
    whole = np.array([not line["is_cut"] for line in lines])
    if whole.any() and not whole.all():
        for system in SYSTEMS:
            numbers |= {("whole", system, key): number for key, number in accuracy(right[system][whole]).items()}
        both = compared(right["base"][whole], right["tuned"][whole])
        numbers |= {("whole", "difference", *key): number for key, number in both.items()}
    return numbers


def tasks(folder: Path, result: dict) -> dict:
    lines = read(folder / "retention-tasks.jsonl")
    numbers = {}
    for place, row in enumerate(result["scores"]):
        own = [line for line in lines if (line["task"], line["metric"]) == (row["task"], row["metric"])]
        if "count" not in row:  # no mean over questions: the harness's own number
            continue
        values = {system: np.array([line[system] for line in own]) for system in SYSTEMS}
        for system in SYSTEMS:
            numbers["scores", place, system, "value"] = values[system].mean()
        found = compared(values["base"], values["tuned"])
        if "mcnemar" not in row["difference"]:
            found = {key: number for key, number in found.items() if key[0] != "mcnemar"}
        numbers |= {("scores", place, "difference", *key): number for key, number in found.items()}
    return numbers


PARTS = {"text": text, "mmlu": exam, "tasks": tasks}


def accuracy(right: np.ndarray) -> dict:
    each = [[i] for i in range(len(right))]
    return {"accuracy": right.mean(), "interval": interval(right, np.ones(len(right)), each), "count": len(right)}


def compared(base: np.ndarray, tuned: np.ndarray) -> dict:
    base, tuned = base.astype(float), tuned.astype(float)
    each = [[i] for i in range(len(base))]
    first, second = int((base > tuned).sum()), int((tuned > base).sum())
    # two-sided: all splits of the same number of coins that are no likelier
    coins = [math.comb(first + second, heads) for heads in range(first + second + 1)]
    p_value = sum(ways for ways in coins if ways <= coins[first]) / 2 ** (first + second)
    return {
        ("difference",): (tuned - base).mean(),
        ("interval",): interval(tuned - base, np.ones(len(base)), each),
        ("mcnemar", "first_only"): first,
        ("mcnemar", "second_only"): second,
        ("mcnemar", "p_value"): p_value,
    }


def interval(numerators: np.ndarray, denominators: np.ndarray, clusters: list[list[int]]) -> list[float] | None:
    """Percentiles of 1,000 ratios of totals, each over as many clusters, drawn with replacement from seed 0.

    One cluster alone has none.
    """
    if len(clusters) == 1:
        return None
    totals = np.array([[numerators[rows].sum(), denominators[rows].sum()] for rows in clusters])
    generator = np.random.default_rng(0)
    drawn = [totals[generator.integers(len(totals), size=len(totals))].sum(axis=0) for _ in range(1000)]
    return np.quantile([above / below for above, below in drawn], [0.025, 0.975]).tolist()


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    print(f"{reproduce(Path(sys.argv[1]) / 'eval')} numbers are as they are stored")
