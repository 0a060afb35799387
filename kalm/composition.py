"""From hydra's composition and the command line to a checked config."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kalm.config import (
    AdapterInit,
    Config,
    DataConfig,
    KaleConfig,
    PreparationConfig,
    Quantization,
    QuestionsConfig,
    RationalesConfig,
    Teacher,
    in_yaml,
    looks_like_folder,
    require,
)
from kalm.explanation import explain

ConfigType = TypeVar("ConfigType")  # a dataclass of kalm.config

# what a resumed run may change without becoming another run; with other steps the schedule is that of the longer run
FREE_ON_RESUME = (
    "run.", "tracking.", "ranking.", "sweep.", "debug", "data.root", "data.path", "data.cache",
    "objective.retention.text", "model.lora.init_text", "objective.kale.rationales", "training.resume",
    "training.stop_after_steps", "training.epochs", "training.max_steps", "training.log_every_steps",
    "training.checkpoint_every_steps", "training.dry_run",
)  # fmt: skip

# what changes no result, and so has no place in a name
NO_RESULT = (
    "run.", "tracking.", "hydra", "debug", "data.cache", "training.resume", "training.stop_after_steps", "sweep",
    "training.dry_run",
)  # fmt: skip


def to_dataclass(composed: DictConfig, schema: type[ConfigType]) -> ConfigType:
    """The composed config as a checked dataclass.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type or is not allowed.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), composed)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ValueError(explain(error, schema)) from error
    assert isinstance(config, schema)
    return config


def load_config(composed: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """The composed config of a training run, with the run's name filled in.

    Args:
        composed: what hydra made of `conf/` and the command line.
        overrides: that command line; it names a run that has no name.

    With `training.resume` the run's own config is taken, so that its overrides need not be repeated.

    Raises:
        ValueError: see `to_dataclass`; or a resumed run is asked to become another one.
    """
    config = to_dataclass(composed, Config)
    if config.run.name is None:
        config.run.name = _run_name(config, overrides)
    _make_paths_absolute(config)
    saved = config.run.folder / "config.yaml"
    if config.training.resume and saved.is_file():
        return _resumed(config, read_config(saved), overrides)
    return config


def load_preparation(composed: DictConfig) -> PreparationConfig:
    """The composed config of `launch/data.py`.

    Raises:
        ValueError: see `to_dataclass`.
    """
    return _without_training(composed, PreparationConfig)


def load_rationales(composed: DictConfig) -> RationalesConfig:
    """The composed config of `launch/rationales.py`.

    Raises:
        ValueError: see `to_dataclass`.
    """
    return _without_training(composed, RationalesConfig)


def load_questions(composed: DictConfig) -> QuestionsConfig:
    """The composed config of `launch/questions.py`.

    Raises:
        ValueError: see `to_dataclass`.
    """
    return _without_training(composed, QuestionsConfig)


def _without_training(composed: DictConfig, schema: type[ConfigType]) -> ConfigType:
    with open_dict(composed):
        composed.pop("training", None)  # a data set and a model bring theirs
    return to_dataclass(composed, schema)


def validate(config: Config, world_size: int) -> None:
    """Checks across sections and of paths, before any data or model loads.

    Raises:
        ValueError: naming the key, the value and what is allowed.
    """
    training, kale = config.training, config.objective.kale
    key = "objective.kale.batch_size" if kale is not None and kale.is_alone else "training.batch_size"
    require(config.step_size % world_size == 0, key, config.step_size,
             f"a multiple of the number of processes, {world_size}")  # fmt: skip
    share = config.step_size // world_size
    micro_batch_size = training.micro_batch_size or share
    require(micro_batch_size <= share, "training.micro_batch_size", micro_batch_size,
            f"at most {key} / processes = {share}, or null")  # fmt: skip
    require(share % micro_batch_size == 0, "training.micro_batch_size", micro_batch_size,
            f"a divisor of {key} / processes = {share}")  # fmt: skip
    if kale is not None:
        _check_kale(config, kale, world_size, share // micro_batch_size)
    is_quantized = config.model.quantization is not Quantization.none
    require(not is_quantized or config.deepspeed.zero_stage < 3, "deepspeed.zero_stage", config.deepspeed.zero_stage,
            "less than 3 with model.quantization, whose weights it cannot shard")  # fmt: skip
    if config.objective.separate is None:
        for key in ("target", "completion"):
            if getattr(config.template, key) is not None:
                raise ValueError(f"template.{key} has no place in one pass, where all views lie in one sequence: take "
                                 "objective=kalm_paper, or template.target=null template.completion=null")  # fmt: skip
    _check_texts(config, world_size)
    check_place(config.data)
    path = config.model.path
    if path is not None and looks_like_folder(path):
        require((Path(path).expanduser() / "config.json").is_file(), "model.path", path,
                 "a folder with config.json, tokenizer and weights, or a hub name like owner/model")  # fmt: skip


def texts_beside_graph(config: Config) -> dict[str, Path]:
    """The files that a training run reads beside its graph, by their keys."""
    texts: dict[str, str | None] = {}
    if config.objective.kale is not None:
        texts["objective.kale.rationales"] = config.objective.kale.rationales
    if config.objective.retention_weight > 0:
        texts["objective.retention.text"] = config.objective.retention.text
    if config.model.lora is not None and config.model.lora.init is AdapterInit.null_space:
        texts["model.lora.init_text"] = config.model.lora.init_text
    return {key: Path(text) for key, text in texts.items() if text is not None}


def _check_kale(config: Config, kale: KaleConfig, world_size: int, num_micro_batches: int) -> None:
    multiple = world_size * num_micro_batches
    require(kale.batch_size % multiple == 0, "objective.kale.batch_size", kale.batch_size,
            f"a multiple of processes times micro-batches, {multiple}")  # fmt: skip
    max_steps = config.training.max_steps
    require(max_steps is None or max_steps * kale.share >= 1, "objective.kale.share", kale.share,
            f"at least 1 / training.max_steps, which is {max_steps}: else no step is of questions")  # fmt: skip
    is_from_scratch = config.model.path is None
    require(kale.kl_weight == 0 or kale.teacher is not Teacher.base or not is_from_scratch, "objective.kale.teacher",
            kale.teacher, "self without model.path: an LM from scratch knew nothing before the first step")  # fmt: skip
    require(not config.training.dry_run, "training.dry_run", True,
            "false with objective.kale; a few steps by training.max_steps=20 show speed and memory")  # fmt: skip


def _check_texts(config: Config, world_size: int) -> None:
    weight, num_windows = config.objective.retention_weight, config.objective.retention.windows_per_step
    if weight > 0:
        require(config.model.path is not None, "objective.retention_weight", weight,
                "0 without model.path: an LM from scratch has nothing to retain")  # fmt: skip
        require(num_windows % world_size == 0, "objective.retention.tokens_per_step",
                config.objective.retention.tokens_per_step,
                f"window_tokens times a multiple of the number of processes, {world_size}")  # fmt: skip
    for key, text in texts_beside_graph(config).items():
        kind = "rationales" if key == "objective.kale.rationales" else "raw text"
        require(text.is_file(), key, str(text), f"a file of {kind} that exists")


def check_place(data: DataConfig) -> None:
    """Check that what the user names as the graph's place is there.

    Raises:
        ValueError: it is not.
    """
    folder = data.folder
    if folder is not None:
        key, allowed = (
            ("data.path", "a file or folder") if data.path else ("data.root", "a folder, or an archive of one,")
        )
        require(folder.exists(), key, str(folder), f"{allowed} that exists")


def save_config(config: Config, path: Path) -> None:
    """Write the resolved config as YAML that can start the run again, from its first step to its last."""
    anew = replace(
        config,
        run=replace(config.run, overwrite=False),
        training=replace(config.training, resume=False, dry_run=False, stop_after_steps=None),
    )
    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(anew)), encoding="utf-8")


def read_config(path: Path) -> Config:
    """A run's own config.

    Raises:
        ValueError: there is none, or this version of kalm does not know it.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a run: it has no {path.name} (run=runs/NAME names a run's folder)")
    try:
        loaded = OmegaConf.load(path)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    assert isinstance(loaded, DictConfig)
    return of_this_version(path, loaded, Config)


def of_this_version(path: Path, written: DictConfig, schema: type[ConfigType]) -> ConfigType:
    """What a run's file holds, as a dataclass.

    Raises:
        ValueError: a key is unknown or missing.
    """
    try:
        return to_dataclass(written, schema)
    except ValueError as error:
        raise ValueError(f"{path}: another version of kalm wrote it ({error}); train again, or use that version, whose "
                         "commit is in environment.json") from error  # fmt: skip


def result_keys(config: Config) -> dict[str, Any]:
    """All keys that make a run's result, as KEY=VALUE has them, with their values."""
    return {key: value for key, value in _flat(config).items() if not key.startswith(NO_RESULT)}


def complete_groups(overrides: Sequence[str]) -> list[str]:
    """`model.path=X` alone means `model=pretrained`, `data.path=X` `data=folder`, and `data.pykeen=X` `data=pykeen`."""
    keys = _keys(overrides)
    implied = (
        ("model.path", "model", "pretrained"),
        ("data.path", "data", "folder"),
        ("data.pykeen", "data", "pykeen"),
    )
    return [f"{group}={choice}" for key, group, choice in implied if key in keys and group not in keys] + list(
        overrides
    )


def folder_name(parts: Sequence[str]) -> str:
    """The parts as one name, of letters, digits and . _ - = , + alone; two long names differ if their parts do."""
    name = re.sub(r"[^\w.=,+-]", "_", "-".join(parts))
    # a folder's name has at most 255 bytes; the digest keeps long names apart
    return name if len(name) <= 120 else f"{name[:110]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _keys(overrides: Sequence[str]) -> list[str]:
    return [override.lstrip("+~").partition("=")[0] for override in overrides]


def _sets(override: str, key: str) -> bool:
    """True where a resumed run's command line asks for a value of the key.

    A group (data=wn18rr) asks for all of its keys, and an experiment for all that make it another run.
    """
    (given,) = _keys([override])
    return key == given or key.startswith(f"{given}.") or (given == "experiment" and not key.startswith(FREE_ON_RESUME))


def _run_name(config: Config, overrides: Sequence[str]) -> str:
    parts = [config.data.source.value, config.model.name, config.objective.name]
    named_above = ("data", "model", "objective")
    for key, override in sorted(zip(_keys(overrides), overrides, strict=True)):
        if key not in named_above and not key.startswith(NO_RESULT):
            parts.append(override.lstrip("+~"))
    return folder_name(parts)


def _make_paths_absolute(config: Config) -> None:
    """So that a saved config means the same from any folder."""
    sections: list[tuple[Any, str]] = [
        (config.data, "root"), (config.data, "path"), (config.model, "path"), (config.objective.retention, "text"),
    ]  # fmt: skip
    if config.model.lora is not None:
        sections.append((config.model.lora, "init_text"))
    if config.objective.kale is not None:
        sections.append((config.objective.kale, "rationales"))
    for section, name in sections:
        path = getattr(section, name)
        if path is not None and (section is not config.model or looks_like_folder(path)):
            setattr(section, name, str(Path(path).expanduser().absolute()))


def _resumed(config: Config, saved: Config, overrides: Sequence[str]) -> Config:
    """The saved config, with what a resumed run may change taken from the command line."""
    asked, own = _flat(config), OmegaConf.structured(saved)
    refused: list[str] = []
    leave_out: dict[str, None] = {}  # in order
    for key, value in _flat(saved).items():
        named_by = [override for override in overrides if _sets(override, key)]
        if not named_by or asked.get(key) == value:
            continue
        if key.startswith(FREE_ON_RESUME):
            OmegaConf.update(own, key, asked[key])
        else:
            refused.append(f"{key}={in_yaml(value)}, not {in_yaml(asked.get(key))}")
            leave_out |= dict.fromkeys(named_by)
    if refused:
        more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise ValueError(
            f"training.resume=true: {config.run.folder} was started with {'; '.join(refused[:3])}{more}. Leave out "
            f"{' '.join(leave_out)}, or start another run with another run.name and without training.resume"
        )
    return to_dataclass(own, Config)


def _flat(config: Config) -> dict[str, Any]:
    def flatten(section: dict[str, Any], prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in section.items():
            flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return flat

    container = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(container, dict)
    return flatten({str(key): value for key, value in container.items()}, "")
