"""The config of launch/rationales.py in tests."""

from pathlib import Path

from toy_run import composed

from kalm.composition import load_rationales
from kalm.config import RationalesConfig


def rationales_config(*overrides: str, folder: Path | None = None) -> RationalesConfig:
    """Its own values, with those of `overrides`; the graph, the questions and the result lie in `folder`."""
    place = Path("nowhere") if folder is None else folder
    given = (f"data.path={place / 'toy'}", f"data.cache={place / 'cache'}", "data=folder", f"qa={place / 'qa.txt'}",
             f"out={place / 'out.jsonl'}")  # fmt: skip
    return load_rationales(composed("rationales", *given, *overrides))
