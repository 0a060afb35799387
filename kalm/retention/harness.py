"""Tasks of lm-evaluation-harness: it runs as a command of its own, whose files are read."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from kalm.config import HarnessConfig, RetentionConfig
from kalm.evaluation.loaded_run import LoadedRun, load_untrained
from kalm.evaluation.paired import compare_ratio, mcnemar
from kalm.model.loading import ADAPTER_CONFIG
from kalm.provenance import whole_folder, write_text

Score = dict[str, float | None]


class Output(NamedTuple):
    """What the harness says of one model."""

    version: str
    scores: dict[tuple[str, str], Score]  # (task, metric) -> value and stderr; a metric is `acc,none`: name and filter
    # (task, metric) -> question -> value
    samples: dict[tuple[str, str], dict[int, float]]


def require_harness(config: HarnessConfig) -> None:
    """Refuse tasks that cannot be run.

    Raises:
        ValueError: lm-evaluation-harness is not installed, or the folder with task files is missing.
    """
    if config.include is not None and not Path(config.include).expanduser().is_dir():
        raise ValueError(f"harness.include: there is no folder {config.include}")
    if find_spec("lm_eval") is None:
        raise ValueError(
            "tasks: lm-evaluation-harness is not installed; pip install 'kalm[harness]', or leave tasks out"
        )


def model_arguments(run: LoadedRun, base: str) -> dict[str, dict[str, str]]:
    """How the harness loads base and tuned model: from the run's folder, an adapter on its base."""
    model = str((run.folder / "model").resolve())
    common = {"tokenizer": model, "dtype": run.config.model.dtype.value}
    if (run.folder / "model" / ADAPTER_CONFIG).is_file():
        tuned = {"pretrained": str(run.description["base"]), "peft": model}
    else:
        tuned = {"pretrained": model}
    return {"base": {"pretrained": base, **common}, "tuned": {**tuned, **common}}


def base_model(run: LoadedRun) -> str:
    """Where the harness finds the run's LM as it was before the first step: its own folder or name.

    For an LM from scratch that is `eval/untrained` in the run's folder, which is written here.
    """
    if run.description["base"] is not None:
        return str(run.description["base"])
    folder = run.folder / "eval" / "untrained"
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder) as unfinished:
        load_untrained(run).save_pretrained(unfinished)
        run.tokenizer.save_pretrained(unfinished)
    return str(folder.resolve())


def run_harness(run: LoadedRun, config: RetentionConfig, system: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Call the harness for one model, and say how.

    Returns:
        command, its settings, and `output`, the folder with what it wrote.

    Raises:
        ValueError: it fails; the message has its last line and the name of its log.
    """
    place = run.folder / "eval" / f"harness-{system}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    include = config.harness.include
    settings = {
        "model": "hf", "model_args": dict(arguments), "tasks": list(config.tasks), "device": str(run.device),
        "batch_size": config.harness.batch_size, "num_fewshot": config.harness.shots, "limit": config.harness.limit,
        "include_path": include and str(Path(include).expanduser().resolve()),
        "output_path": str((place / "output").resolve()),
        "log_samples": True,
    }  # fmt: skip
    settings = {key: value for key, value in settings.items() if value is not None}
    # a file, since the harness would split a path at commas on its command line
    write_text(place / "settings.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    command = [sys.executable, "-m", "lm_eval", "run", "--config", str((place / "settings.yaml").resolve())]
    log = place / "log.txt"
    print(f"{system}: {' '.join(command)}; its log: {log}", flush=True)
    with log.open("wb") as file:
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ, check=False)
    if ended.returncode != 0:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "it said nothing")
        raise ValueError(
            f"tasks: lm-evaluation-harness failed with exit code {ended.returncode}: {last[:300]}; see {log}"
        )
    return {"command": command, "settings": settings}


def read_output(folder: Path) -> Output:
    """Scores and answers from what the harness has written.

    Raises:
        ValueError: there is no result, or it is not what kalm knows.
    """
    found = sorted(folder.rglob("results_*.json"))
    if not found:
        raise ValueError(f"tasks: lm-evaluation-harness left no results_*.json in {folder}")
    try:
        content = json.loads(found[-1].read_text(encoding="utf-8"))
        scores: dict[tuple[str, str], Score] = {}
        for task, metrics in content["results"].items():
            for key, value in metrics.items():
                name, comma, which = key.partition(",")
                if comma and not name.endswith("_stderr") and isinstance(value, int | float):
                    error = metrics.get(f"{name}_stderr,{which}")
                    scores[task, key] = {"value": value, "stderr": error if isinstance(error, int | float) else None}
        samples = {
            (task, metric): values for path in sorted(folder.rglob("samples_*.jsonl"))
            for (task, metric), values in _read_samples(path, list(content["results"])).items()
        }  # fmt: skip
        return Output(str(content.get("lm_eval_version")), scores, samples)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"tasks: {found[-1]}: not as lm-evaluation-harness 0.4 writes it ({error!r})") from error


def _read_samples(path: Path, tasks: list[str]) -> dict[tuple[str, str], dict[int, float]]:
    """Each question's metrics that are numbers."""
    # samples_TASK_TIME.jsonl, and a task's name may have underscores
    task = path.stem.removeprefix("samples_").rpartition("_")[0]
    assert task in tasks, f"{path} is of none of {tasks}"
    found: dict[tuple[str, str], dict[int, float]] = {}
    with path.open(encoding="utf-8") as lines:
        for sample in map(json.loads, lines):
            for name in sample["metrics"]:
                if isinstance(value := sample[name], int | float):
                    found.setdefault((task, f"{name},{sample['filter']}"), {})[sample["doc_id"]] = float(value)
    return found


def compare(base: Output, tuned: Output) -> list[dict[str, Any]]:
    """Per task and metric both models' scores and their difference.

    Where a score is the mean over questions, the interval of the difference draws the same questions for both models,
    and McNemar's test is of scores that are 0 or 1.
    """
    rows = []
    for (task, metric), before in base.scores.items():
        after = tuned.scores[task, metric]
        row: dict[str, Any] = {"task": task, "metric": metric, "base": before, "tuned": after}
        row["difference"] = {"difference": _number(after) - _number(before), "interval": None}
        pair = paired_values(base, tuned, task, metric)
        if pair is not None and np.isclose([column.mean() for column in pair], [_number(before), _number(after)]).all():
            first, second = pair
            row["count"] = len(first)
            row["difference"] = compare_ratio(first, second, np.ones(len(first)), np.arange(len(first)))
            if np.isin(pair, [0, 1]).all():
                row["difference"]["mcnemar"] = mcnemar(first > 0, second > 0)
        rows.append(row)
    return rows


def paired_values(base: Output, tuned: Output, task: str, metric: str) -> tuple[Any, Any] | None:
    """Both models' values of the same questions, in the order of questions; None where the harness gives none."""
    first, second = (output.samples.get((task, metric), {}) for output in (base, tuned))
    if not first or first.keys() != second.keys():
        return None
    return np.array([first[doc] for doc in sorted(first)]), np.array([second[doc] for doc in sorted(first)])


def _number(score: Score) -> float:
    assert score["value"] is not None
    return score["value"]
