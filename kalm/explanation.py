"""The words for a fault in the config: which key, what is wrong, what would be right."""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from typing import Any, TypeVar, get_args

from hydra.errors import MissingConfigException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

Fault = TypeVar("Fault", bound=BaseException)
NEAR = 0.7  # ratio of equal letters from which on a name may be a mistyped other one


def explain(error: Exception, schema: type) -> str:
    """One line for a fault in the config: key, fault, and the nearest right names.

    Args:
        error: hydra's or omegaconf's; the cause is looked for.
        schema: the dataclass that has the right names.
    """
    choice = _find_cause(error, MissingConfigException)
    if choice is not None and choice.missing_cfg_file and choice.options:
        group, _, name = choice.missing_cfg_file.rpartition("/")
        return f"{group}={name}: there is no such choice; {group} is one of {', '.join(choice.options)}"
    omega = _find_cause(error, OmegaConfBaseException)
    text = " ".join(str(omega or error).split())
    text = re.sub(r" (full_key|object_type|reference_type|Config search path)[:=].*", "", text)
    key = getattr(omega, "full_key", None)
    if not key:
        return text
    if isinstance(omega, MissingMandatoryValue):
        return f"{key} has no value"
    if isinstance(omega, ConfigAttributeError | ConfigKeyError):
        return _explain_unknown(key, field_types(schema))
    return f"{key}: {text}"


def field_types(schema: type, prefix: str = "") -> dict[str, Any]:
    """Every key of the config, those of sections too, with the type in its dataclass."""
    types: dict[str, Any] = {}
    for field in fields(schema):
        types[prefix + field.name] = field.type
        for part in (field.type, *get_args(field.type)):  # the parts of `Section | None`
            if isinstance(part, type) and is_dataclass(part):
                types |= field_types(part, f"{prefix}{field.name}.")
    return types


def _explain_unknown(key: str, known: Collection[str]) -> str:
    if key in known:
        return f"{key} has no place here: its section is null under the chosen group"
    section, _, name = key.rpartition(".")
    siblings = {other: other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == section}
    others = {other: other.rpartition(".")[2] for other in known}
    if near := _nearest(name, siblings) or _nearest(name, others):
        return f"{key}: there is no such key; did you mean {' or '.join(near[:2])}?"
    place = f"{section} has" if section in known else "there are"
    return f"{key}: there is no such key; {place} {', '.join(siblings.values())}"


def _nearest(name: str, names: Mapping[str, str]) -> list[str]:
    """Keys whose name a slip of the fingers turns into this one, or that has all of its words; the most alike first."""
    alike = {key: SequenceMatcher(None, name, other).ratio() for key, other in names.items()}
    near = [key for key, other in names.items() if alike[key] >= NEAR or {*name.split("_")} <= {*other.split("_")}]
    return sorted(near, key=lambda key: -alike[key])


def _find_cause(error: BaseException | None, kind: type[Fault]) -> Fault | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
