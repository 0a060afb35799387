"""Stands for the commands of a sweep's job: leaves the files that they would leave, in a moment.

sweep_stub.py train|evaluate RUN CONFIG KEY=VALUE ...
With training.seed=13 training fails; with 99 it goes on until it is told to stop, and saves.
"""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

SEED_THAT_FAILS, SEED_THAT_LASTS = "13", "99"


def train(run: Path, config: Path, values: dict[str, str]) -> None:
    seed = values.get("training.seed")
    if seed == SEED_THAT_FAILS:
        print("error: thirteen")
        sys.exit(2)
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run / "model").mkdir(exist_ok=True)
    shutil.copy(config, run / "config.yaml")
    with (run / "starts.txt").open("a") as starts:
        starts.write("resumed\n" if "training.resume=true" in sys.argv else "anew\n")
    epoch = 1e9
    if seed == SEED_THAT_LASTS and not any((run / "checkpoints").iterdir()):
        signalled = []
        signal.signal(signal.SIGTERM, lambda number, frame: signalled.append(number))
        (run / "training").touch()
        while not signalled:
            time.sleep(0.01)
        epoch = 0.5
    (run / "checkpoints" / "step-00000005").mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text(json.dumps({"step": 5, "epoch": epoch}) + "\n")


def evaluate(run: Path, values: dict[str, str]) -> None:
    numbers = [float(value) for value in values.values() if value.replace(".", "").isdigit()]
    mrr = 1 / (1 + sum(numbers))
    metrics = {"mr": 1 / mrr, "mrr": mrr, "hits@1": 0.0, "hits@3": 0.0, "hits@10": 1.0, "count": 4}
    (run / "eval").mkdir(exist_ok=True)
    report = {"metrics": {"both": metrics}, "step": 5, "environment": {"git_commit": "abc"}}
    (run / "eval" / "kgc-valid.json").write_text(json.dumps(report))


if __name__ == "__main__":
    kind, folder, saved_config, *overrides = sys.argv[1:]
    by_key = dict(override.split("=", 1) for override in overrides)
    if kind == "train":
        train(Path(folder), Path(saved_config), by_key)
    else:
        evaluate(Path(folder), by_key)
