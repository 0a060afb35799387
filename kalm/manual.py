"""What `--help` prints: every key with its value, its meaning and its choices, as the config's own source says them."""

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from kalm.config import in_yaml

FIELD = re.compile(r"^    (\w+): [^#\n]*#\s*(.*)$", re.MULTILINE)
WIDTH, INDENT = 120, 44


def manual(folder: Path, config_name: str, schema: type, overrides: Sequence[str]) -> str:
    """The help of an entry point, with the values that its overrides give.

    Args:
        folder: hydra's, absolute.
        config_name: file in it that heads the config; its `hydra.help.header` says how the command is called.
        schema: the dataclass that the config becomes.
        overrides: as on the command line.
    """
    with initialize_config_dir(str(folder), version_base=None):
        composed = compose(config_name, list(overrides), return_hydra_config=True)
    parts = [composed.hydra.help.header.rstrip()]
    choices = {group: choice for group, choice in composed.hydra.runtime.choices.items() if "hydra" not in group}
    if choices:
        groups = [_entry(f"{group}=", _first(choice, folder / group)) for group, choice in choices.items()]
        parts.append("\n".join(["Groups: GROUP=CHOICE sets many keys at once; the first is taken now", *groups]))
    keys = [_entry(f"{key}={in_yaml(value)}", meaning) for key, value, meaning in described_keys(composed, schema)]
    parts.append("\n".join(["Keys: KEY=VALUE, here with the values that they have now", *keys]))
    return "\n\n".join(parts)


def _first(choice: str | None, group: Path) -> str:
    names = sorted(path.stem for path in group.glob("*.yaml"))
    return ", ".join([choice, *(name for name in names if name != choice)] if choice else ["null", *names])


def described_keys(composed: DictConfig, schema: type, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Full name, value and meaning of each key, depth first."""
    meanings = {name: text for part in reversed(schema.__mro__) if is_dataclass(part) for name, text in _comments(part)}
    types = get_type_hints(schema)
    for field in fields(schema):
        options = [part for part in (types[field.name], *get_args(types[field.name])) if inspect.isclass(part)]
        value = composed.get(field.name)
        is_mapping = get_origin(types[field.name]) is dict
        section = None if is_mapping else next((part for part in options if is_dataclass(part)), None)
        if section is not None and isinstance(value, DictConfig):
            yield from described_keys(value, section, f"{prefix}{field.name}.")
            continue
        names = [str(member.value) for part in options if issubclass(part, Enum) for member in part]
        words = [meanings.get(field.name, ""), f"one of {', '.join(names)}" if names else ""]
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        # of a mapping its names alone, which a file in conf/ gives their values
        yield f"{prefix}{field.name}", list(value) if is_mapping and value else plain, "; ".join(filter(None, words))


def _comments(schema: type) -> list[tuple[str, str]]:
    return FIELD.findall(inspect.getsource(schema))


def _entry(left: str, right: str) -> str:
    """Both beside each other, or the second below where the first is long."""
    lines = textwrap.wrap(right, WIDTH - INDENT) or [""]
    begin = f"  {left} ".ljust(INDENT)
    first = begin + lines[0] if len(begin) == INDENT else f"{begin}\n{' ' * INDENT}{lines[0]}"
    return "\n".join([first.rstrip(), *(" " * INDENT + line for line in lines[1:])])
