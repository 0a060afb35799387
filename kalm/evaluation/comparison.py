"""Two evaluated runs, query by query."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kalm.config import Ties
from kalm.evaluation.kgc import direction_masks
from kalm.evaluation.metrics import METRICS, paired_differences, rank_metrics
from kalm.evaluation.questions import DIRECTIONS
from kalm.evaluation.report import in_words, print_differences
from kalm.model.loading import KALM_FILE
from kalm.provenance import write_json

COLUMN_OF = {Ties.realistic: 4, Ties.optimistic: 5, Ties.pessimistic: 6}  # in kgc-SPLIT.ranks.tsv
NUM_CANDIDATES = 7


class _Evaluated(NamedTuple):
    """What a run's evaluation has left."""

    protocol: dict[str, Any]
    queries: NDArray[np.str_]  # (Q, 4): head, relation, tail, direction
    ranks: NDArray[np.float64]  # (Q,), under the protocol's policy for ties
    num_candidates: NDArray[np.float64]  # (Q,)


def compare(first: Path, second: Path, split: str) -> None:
    """Print the second run's metrics less the first's, with intervals, and write them into the second's `eval/` folder.

    Raises:
        ValueError: a run has not been evaluated on the split, or the two were asked different questions.
    """
    runs = (_read(first, split), _read(second, split))
    differing = [key for key in runs[0].protocol if runs[0].protocol[key] != runs[1].protocol.get(key)]
    if differing:
        key = differing[0]
        raise ValueError(f"compare: {first} and {second} were ranked by different protocols ({key}: "
                         f"{runs[0].protocol[key]} and {runs[1].protocol.get(key)}); evaluate both alike")  # fmt: skip
    if not np.array_equal(runs[0].queries, runs[1].queries):
        raise ValueError(
            f"compare: {first} and {second} were asked different triples of {split}; take runs on the same graph"
        )
    # rows 2i and 2i + 1 are the directions of triple i
    triples = np.arange(len(runs[0].ranks)) // 2
    result: dict[str, Any] = {"first": str(first), "second": str(second), "split": split, "protocol": runs[0].protocol}
    for name, mask in direction_masks(runs[0].queries[:, 3] == DIRECTIONS[1]).items():
        result[name] = paired_differences(
            [run.ranks[mask] for run in runs], [run.num_candidates[mask] for run in runs], triples[mask]
        )
        for place, run in zip(("first", "second"), runs, strict=True):
            metrics = rank_metrics(run.ranks[mask], run.num_candidates[mask])
            for metric in METRICS:
                result[name][metric][place] = metrics[metric]
    path = second / "eval" / f"kgc-{split}.compared-with-{first.resolve().name}.json"
    write_json(path, result)
    print_differences(
        f"{second.name} less {first.name}, {split}", result, f"{in_words(runs[0].protocol)}; written to {path}"
    )


def _read(folder: Path, split: str) -> _Evaluated:
    described, listed = (folder / "eval" / f"kgc-{split}.{ending}" for ending in ("json", "ranks.tsv"))
    for path in (described, listed):
        if not path.is_file():
            raise ValueError(f"{path}: not there; evaluate it first: python eval/kgc.py run={folder} split={split}")
    result = json.loads(described.read_text(encoding="utf-8"))
    model = folder / "model" / KALM_FILE
    if model.is_file() and (step := json.loads(model.read_text(encoding="utf-8"))["step"]) != result["step"]:
        raise ValueError(f"{described}: of step {result['step']}, and the model is of step {step} by now; evaluate it "
                         f"again: python eval/kgc.py run={folder} split={split}")  # fmt: skip
    protocol = result["protocol"]
    protocol.pop("fused", None)  # says nothing of the ranks compared here
    rows = []
    for number, line in enumerate(listed.read_text(encoding="utf-8").removesuffix("\n").split("\n"), start=1):
        columns = line.split("\t")
        if len(columns) != NUM_CANDIDATES + 1:
            raise ValueError(
                f"{listed}:{number}: {len(columns)} columns instead of {NUM_CANDIDATES + 1}; evaluate it again"
            )
        rows.append(columns)
    table = np.array(rows)
    ranks = table[:, COLUMN_OF[Ties(protocol["ties"])]].astype(np.float64)
    return _Evaluated(protocol, table[:, :4], ranks, table[:, NUM_CANDIDATES].astype(np.float64))
