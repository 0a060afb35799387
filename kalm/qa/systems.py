"""Which runs are one system: those whose configs differ in the seed alone."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from kalm.composition import read_config, result_keys
from kalm.config import Config, PromptsConfig, Quantization

SEED = "training.seed"
# what is done with a run beside training it, and what only says where things are
ASIDE = (SEED, "ranking.", "evaluation.", "data.root", "data.path", "training.log_every_steps",
         "training.checkpoint_every_steps")  # fmt: skip
WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One LM that is asked.

    Args:
        folder: of the run that it is the result of, or of one that began with it.
        seed: of the run; None of a pretrained base, which is one LM for all seeds.
        is_base: it is the LM of before the first step.
    """

    folder: Path
    seed: int | None
    is_base: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """Members by ascending seed."""

    name: str
    members: Sequence[Member]


def find_folders(runs: Sequence[str]) -> list[Path]:
    """The runs' folders, each once; a name with * stands for all runs that it fits, in the order of names.

    Raises:
        ValueError: there is no such folder, or it is no run.
    """
    folders: dict[Path, None] = {}
    for run in runs:
        place = Path(run).expanduser()
        found = [place]
        if WILD.search(place.name):
            found = sorted(path for path in place.parent.glob(place.name) if (path / "config.yaml").is_file())
            if not found:
                raise ValueError(f"runs: no run's folder is called {run}")
        for folder in found:
            if not folder.is_dir():
                raise ValueError(f"runs: there is no folder {folder}")
            folders[folder] = None
    return list(folders)


def group_runs(folders: Sequence[Path], prompts: PromptsConfig, *, with_base: bool) -> list[System]:
    """Systems in the order of their first runs; before them the LMs that the runs began with.

    Raises:
        ValueError: a folder is no run, was trained with other words, or two runs are the same one.
    """
    groups: dict[str, list[Member]] = {}
    bases: dict[str, dict[int | None, Member]] = {}
    for folder in folders:
        config = read_config(folder / "config.yaml")
        _check_words(folder, config, prompts)
        keys = result_keys(config)
        own = repr(sorted((key, value) for key, value in keys.items() if not key.startswith(ASIDE)))
        groups.setdefault(own, []).append(Member(folder=folder, seed=config.training.seed))
        # an LM from scratch begins with weights of its own, a pretrained one with the same for all seeds
        seed = config.training.seed if config.model.path is None else None
        base = Member(folder=folder, seed=seed, is_base=True)
        bases.setdefault(_base_key(config), {}).setdefault(seed, base)
    systems = _named([_by_seed(members) for members in groups.values()])
    if not with_base:
        return systems
    names = ["base"] if len(bases) == 1 else [f"base {number}" for number in range(1, len(bases) + 1)]
    began = [System(name=name, members=_by_seed(list(found.values())))
             for name, found in zip(names, bases.values(), strict=True)]  # fmt: skip
    return began + systems


def _base_key(config: Config) -> str:
    """What makes the LM of before the first step, but for the seed; see `load_untrained`."""
    plain = replace(config.model, lora=None, dropout=0.0, gradient_checkpointing=False, quantization=Quantization.none)
    model: dict[str, Any] = asdict(plain)
    return repr(sorted(model.items(), key=lambda item: item[0]))


def _check_words(folder: Path, config: Config, prompts: PromptsConfig) -> None:
    """The words of a question are the same in training and evaluation."""
    kale = config.objective.kale
    if kale is None:
        return
    for part in ("questions", "question"):
        if getattr(kale.prompts, part) != getattr(prompts, part):
            raise ValueError(f"{folder} was trained with other words than prompts.{part}: give prompts.{part} as "
                             f"objective.kale.prompts.{part} stands in its config.yaml")  # fmt: skip


def _by_seed(members: list[Member]) -> list[Member]:
    ordered = sorted(members, key=lambda member: member.seed or 0)
    for one, other in pairwise(ordered):
        if one.seed == other.seed:
            raise ValueError(f"runs: {one.folder} and {other.folder} have the same config and seed, so that the second "
                             "says nothing more; leave one out")  # fmt: skip
    return ordered


def _named(groups: Sequence[list[Member]]) -> list[System]:
    """By what their folders' names have in common, if that is one system's alone; else by the first folder."""
    # a sweep over experiments calls its jobs so
    names = [_common_name([member.folder.resolve().name.removeprefix("experiment=") for member in members])
             for members in groups]  # fmt: skip
    return [
        System(name=name if names.count(name) == 1 else str(members[0].folder), members=members)
        for name, members in zip(names, groups, strict=True)
    ]


def _common_name(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    columns = zip(*names, strict=False)
    common = "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    common = re.sub(r"[\W_]+((training\.)?seed|s)?[\W_]*\d*$", "", common)
    return common or names[0]
