"""Jobs that optuna chooses, one after the other, from the results so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from kalm.config import Config, SweepConfig
from kalm.explanation import field_types
from kalm.sweep.plan import Job, Plan, key_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

STUDY = "sweep"


def search(
    plan: Plan,
    space: Mapping[str, BaseDistribution],
    settings: SweepConfig,
    database: Path,
    finish: Callable[[Job, int], float | None],
) -> None:
    """Ask optuna for jobs until `num_trials` of them have ended, those of earlier calls among them.

    A trial is closed in the database when its job has a result, or has failed: a learning rate at which the loss
    diverges diverges the next time too. One whose job was killed or stopped stays open, and the next call takes it up
    first. What is drawn depends on the seed, the trial's number and the
    results so far: a search that was interrupted goes on as if it had not been.

    Args:
        plan, space: the overrides and, from `search_space`, the values of the swept ones.
        settings: number of trials and seed.
        database: optuna's storage, an SQLite file; made if it is missing.
        finish: given a job and its place in the row, runs it and returns its valid MRR, or None if it failed.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=STUDY, storage=f"sqlite:///{database.resolve()}", direction="maximize", load_if_exists=True
    )
    assert settings.num_trials is not None
    assert settings.seed is not None
    left_open = []
    for frozen in study.get_trials(states=[TrialState.RUNNING]):
        if frozen.params.keys() == space.keys():
            left_open.append(frozen)
        else:  # killed while it was being drawn
            study.tell(frozen.number, state=TrialState.FAIL)
    closed = [TrialState.COMPLETE, TrialState.FAIL]
    while (
        ended := sum(trial.params.keys() == space.keys() for trial in study.get_trials(states=closed))
    ) < settings.num_trials:
        if left_open:
            trial: Any = left_open.pop(0)
        else:
            number = len(study.get_trials())
            # a sampler starts its random numbers anew with every call
            draw = np.random.SeedSequence([settings.seed, number]).generate_state(1)[0]
            study.sampler = optuna.samplers.TPESampler(seed=int(draw))
            trial = study.ask(dict(space))
        mrr = finish(plan.job({key: _text(value) for key, value in trial.params.items()}), ended + 1)
        study.tell(trial.number, mrr, state=TrialState.FAIL if mrr is None else TrialState.COMPLETE)


def search_space(plan: Plan) -> dict[str, BaseDistribution]:
    """Swept key -> its values, as optuna has them.

    `interval` is continuous, or whole numbers where the key takes only these; `range` has steps, and `tag(log, ...)`
    makes either logarithmic; a list is a choice without order.

    Raises:
        ValueError: optuna is missing or cannot search the values.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ValueError("sweep=optuna needs optuna: pip install 'kalm[sweep]'") from error
    space = {}
    for key, override in plan.swept.items():
        try:
            space[key] = _distribution(override)
        except ValueError as error:
            raise ValueError(f"{override.input_line}: {error}") from error
    return space


def corners(plan: Plan, space: Mapping[str, BaseDistribution]) -> list[Job]:
    """Jobs at the ends of each key's values, the other keys at their first."""
    ends = {key: [_text(value) for value in _ends(distribution)] for key, distribution in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    return [plan.job({**first, key: value}) for key, values in ends.items() for value in values]


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    if tags - {"log"}:
        raise ValueError(f"the one tag is log, got {', '.join(sorted(tags))}")
    log = "log" in tags
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        # hydra makes floats of interval(1,8), though not of int(interval(1,8)): the key's own type tells too
        whole = isinstance(sweep.start, int) or _takes_whole_numbers(key_of(override))
        if whole and float(sweep.start).is_integer() and float(sweep.end).is_integer():
            return IntDistribution(int(sweep.start), int(sweep.end), log=log)
        return FloatDistribution(sweep.start, sweep.end, log=log)
    if isinstance(sweep, RangeSweep):
        values = sorted(sweep.range())
        if not values:
            raise ValueError("the range is empty")
        low, high, step = values[0], values[-1], abs(sweep.step)
        if isinstance(low, int):
            return IntDistribution(low, int(high), log=log, step=int(step))
        # what steps of floats add up to is off in the last digits, which optuna would warn of
        return FloatDistribution(float(_text(low)), float(_text(high)), log=log, step=step)
    if log:
        raise ValueError("tag(log,...) is for interval and range")
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _takes_whole_numbers(key: str) -> bool:
    annotation = field_types(Config).get(key)
    return int in (annotation, *get_args(annotation))


def _ends(distribution: BaseDistribution) -> list[Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    return [distribution.low, distribution.high]


def _text(value: str | float) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
