"""The one table of a sweep: a row per job, in sweep.json for programs and in sweep.md for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from statistics import mean

from kalm.evaluation.markdown import markdown_table
from kalm.provenance import write_json, write_text

SEED = "training.seed"
COLUMNS = {"MR": "mr", "MRR": "mrr", "Hits@1": "hits@1", "Hits@3": "hits@3", "Hits@10": "hits@10"}


class Status(Enum):
    """How a job ended."""

    done = "done"
    failed = "failed"
    stopped = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What became of one job."""

    name: str
    swept: Mapping[str, str]  # key -> its value in this job
    overrides: Sequence[str]  # the whole command line
    status: Status
    error: str | None  # one line, where it failed
    metrics: Mapping[str, float] | None  # of the valid split, both directions together, where it is done
    step: int | None  # of the evaluated model
    git_commit: str | None  # of the source that evaluated it
    seconds: float  # training and evaluation, over all attempts
    folder: str  # of the run
    log: str  # what its commands printed


class SweepTable:
    """The rows so far; every change is on disk before the next job starts.

    Args:
        folder: of the sweep.
        identity: what all rows have in common.

    Raises:
        ValueError: the folder holds the table of another sweep.
    """

    def __init__(self, folder: Path, identity: Sequence[str]) -> None:
        self._folder = folder
        self._identity = list(identity)
        self._rows: dict[str, Row] = {}
        path = folder / "sweep.json"
        if not path.is_file():
            return
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["identity"] != self._identity:
            raise ValueError(f"sweep.name: {folder} holds another sweep ({' '.join(saved['identity'])}); "
                             "choose another sweep.name")  # fmt: skip
        rows = [Row(**{**row, "status": Status(row["status"])}) for row in saved["rows"]]
        self._rows = {row.name: row for row in rows}

    @property
    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def get(self, name: str) -> Row | None:
        return self._rows.get(name)

    def put(self, row: Row) -> None:
        self._rows[row.name] = row
        rows = [{**asdict(each), "status": each.status.value} for each in self.rows]
        write_json(self._folder / "sweep.json", {"identity": self._identity, "rows": rows})
        overrides = "".join(f"    {override}\n" for override in self._identity)
        write_text(self._folder / "sweep.md", f"# {self._folder.name}\n\n{overrides}\n{render(self.rows)}")


def render(rows: Iterable[Row]) -> str:
    """The rows by falling MRR, and where seeds were swept the mean over them, as Markdown."""
    ordered = sorted(rows, key=_mrr, reverse=True)
    keys = sorted({key for row in ordered for key in row.swept})
    lines = [
        [
            *(row.swept[key] for key in keys),
            *(_metric(row.metrics[name], name) if row.metrics else "" for name in COLUMNS.values()),
            f"{row.seconds:,.0f}",
            row.status.value,
        ]
        for row in ordered
    ]
    text = markdown_table([*keys, *COLUMNS, "seconds", "status"], lines, left=[*keys, "status"])
    if failures := [f"- {row.name}: {row.error}\n" for row in ordered if row.error]:
        text += f"\n{''.join(failures)}"
    text += "\nvalid, filtered by train + valid, ties realistic; the test split is not looked at\n"
    commits = {row.git_commit for row in ordered if row.metrics}
    if len(commits) > 1:
        text += f"evaluated by {len(commits)} commits of kalm: sweep.json says which\n"
    return text + _render_groups(ordered, [key for key in keys if key != SEED]) if SEED in keys else text


def over_seeds(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[str, ...], tuple[list[float], int]]:
    """Values of the keys -> MRR of each seed that is done, and how many there are with those that are not."""
    groups: dict[tuple[str, ...], tuple[list[float], int]] = {}
    for row in rows:
        group = tuple(row.swept[key] for key in keys)
        mrrs, count = groups.get(group, ([], 0))
        groups[group] = ([*mrrs, row.metrics["mrr"]] if row.metrics else mrrs, count + 1)
    return groups


def _render_groups(rows: Sequence[Row], keys: Sequence[str]) -> str:
    groups = over_seeds(rows, keys)
    by_mean = sorted(groups, key=lambda group: mean(groups[group][0] or [-1.0]), reverse=True)
    lines = []
    for group in by_mean:
        mrrs, count = groups[group]
        spread = [f"{value:.4f}" for value in (mean(mrrs), min(mrrs), max(mrrs))] if mrrs else ["", "", ""]
        lines.append([*group, *spread, f"{len(mrrs)} of {count}"])
    header = [*keys, "mean MRR", "lowest", "highest", "seeds done"]
    return f"\nover {SEED}:\n\n{markdown_table(header, lines, left=keys)}"


def _mrr(row: Row) -> float:
    return row.metrics["mrr"] if row.metrics else -1.0


def _metric(value: float, name: str) -> str:
    return f"{value:.2f}" if name == "mr" else f"{value:.4f}"
