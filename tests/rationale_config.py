"""The configs of launch/rationales.py and launch/questions.py in tests."""

from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from toy_run import composed

from kalm.composition import load_questions, load_rationales
from kalm.config import QuestionsConfig, RationalesConfig

NOWHERE = Path("nowhere")


def rationales_config(*overrides: str, folder: Path = NOWHERE) -> RationalesConfig:
    """Its own values, with those of `overrides`; graph, questions and result lie in the folder."""
    return load_rationales(
        _with("rationales", folder, f"qa={folder / 'qa.txt'}", f"out={folder / 'out.jsonl'}", *overrides)
    )


def questions_config(*overrides: str, folder: Path = NOWHERE) -> QuestionsConfig:
    """Its own values, with those of `overrides`; the graph lies in the folder, and there the questions are made."""
    return load_questions(_with("questions", folder, f"out={folder / 'made'}", *overrides))


def _with(name: str, folder: Path, *overrides: str) -> DictConfig:
    values = OmegaConf.from_dotlist([f"data.path={folder / 'toy'}", f"data.cache={folder / 'cache'}", *overrides])
    config = OmegaConf.merge(_composed(name), values)
    assert isinstance(config, DictConfig)
    return config


@cache
def _composed(name: str) -> DictConfig:
    """Composed once, which takes a while."""
    return composed(name, "data=folder", "data.path=x", "out=x", *(["qa=x"] if name == "rationales" else []))
