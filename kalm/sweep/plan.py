"""What a sweep's command line asks for: fixed overrides, swept ones, and the jobs they make."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType

from kalm.composition import NO_RESULT, folder_name

# keys that the sweep sets for its jobs, and what to do in their place
TAKEN = {
    "run.name": "a job is named by its swept values, and sweep.name names the sweep",
    "run.overwrite": "delete the sweep's folder to start anew",
    "training.resume": "the same command again continues a sweep",
    "training.dry_run": "an estimate leaves no run to compare; ask for it without --multirun",
    "evaluation.patience": "every job is trained to its end",
    "training.stop_after_steps": "every job is trained to its end; Ctrl-C stops a sweep",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One training run of a sweep."""

    name: str  # of its folder
    swept: Mapping[str, str]  # key -> its value in this job
    overrides: Sequence[str]  # the whole command line


class Plan:
    """A sweep's overrides.

    Args:
        overrides: what stands on the command line beside --multirun.

    Raises:
        ValueError: nothing is swept, or a key cannot be.
        HydraException: an override is not in hydra's grammar.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        self._of_jobs = [override for override in parsed if not _is_setting(override)]
        self.settings = [_text(override) for override in parsed if _is_setting(override)]
        self.swept = {key_of(override): override for override in self._of_jobs if override.is_sweep_override()}
        self._check(parsed)

    @property
    def identity(self) -> list[str]:
        """What makes it this sweep and no other: swept values, and fixed overrides that change a result."""
        search = [text for text in self.settings if text.startswith(("sweep=", "sweep.seed=")) and text != "sweep=grid"]
        of_jobs = [_text(override) for override in self._of_jobs if not key_of(override).startswith(NO_RESULT)]
        return sorted(search) + sorted(of_jobs)

    @property
    def grid_identity(self) -> list[str]:
        """The same but for the values of the swept keys: a grid may grow."""
        swept = {_text(override): f"{key}=..." for key, override in self.swept.items() if override.is_discrete_sweep()}
        return [swept.get(text, text) for text in self.identity]

    @property
    def name(self) -> str:
        return folder_name([text.lstrip("+~").removeprefix("sweep=") for text in self.identity])

    def job(self, values: Mapping[str, str]) -> Job:
        """The job with these values of the swept keys, which stand where the sweep stood."""
        overrides = [
            f"{override.get_key_element()}={values[key_of(override)]}"
            if override.is_sweep_override()
            else _text(override)
            for override in self._of_jobs
        ]
        name = folder_name([f"{key}={value}" for key, value in sorted(values.items())])
        return Job(name=name, swept=dict(values), overrides=overrides)

    def grid(self) -> list[Job]:
        """All combinations of the swept values; the last key on the command line changes fastest.

        Raises:
            ValueError: a key has a range without steps, or two jobs would share a folder.
        """
        for key, override in self.swept.items():
            if override.is_interval_sweep():
                raise ValueError(f"{_text(override)}: a range to search in needs sweep=optuna; "
                                 f"without it list the values, {key}=A,B")  # fmt: skip
        choices = [list(override.sweep_string_iterator()) for override in self.swept.values()]
        jobs = [self.job(dict(zip(self.swept, values, strict=True))) for values in itertools.product(*choices)]
        names = [job.name for job in jobs]
        if not jobs:
            raise ValueError(f"{' '.join(self.identity)}: a range is empty")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two jobs would share the folder {twice}; give each value once")
        return jobs

    def _check(self, parsed: Sequence[Override]) -> None:
        keys = [key_of(override) for override in parsed]
        for override, key in zip(parsed, keys, strict=True):
            if key in TAKEN:
                raise ValueError(f"{key} has no place in a sweep: {TAKEN[key]}")
            if not override.is_sweep_override():
                continue
            if key.startswith(NO_RESULT):
                raise ValueError(f"{_text(override)}: {key} changes no result and cannot be swept")
            if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
                raise ValueError(f"{_text(override)}: list the values, {key}=A,B; a sweep takes no glob")
            if keys.count(key) > 1:
                raise ValueError(f"{key} is swept and given a second time")
        if not self.swept:
            raise ValueError("--multirun has nothing to sweep: give a key several values, like training.seed=1,2, or "
                             "with sweep=optuna a range, like training.learning_rate=interval(1e-4,1e-2)")  # fmt: skip


def key_of(override: Override) -> str:
    return override.get_key_element().lstrip("+~")


def _is_setting(override: Override) -> bool:
    """Of the sweep itself: no job sees it."""
    return key_of(override) in ("sweep", "run.root") or key_of(override).startswith("sweep.")


def _text(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line
