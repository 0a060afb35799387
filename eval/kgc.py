"""Evaluate: `python eval/kgc.py run=runs/NAME [split=test] [KEY=VALUE ...]`; keys stand in kalm/config/."""

from pathlib import Path

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import KgcConfig


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, KgcConfig)

    # heavy: loads torch and FAISS, after the config is known to be right
    from kalm.distributed import joined
    from kalm.evaluation.comparison import compare
    from kalm.evaluation.run import evaluate

    if config.compare is not None:
        first, second = (Path(folder).expanduser() for folder in config.compare)
        compare(first, second, config.split)
        return
    with joined():
        evaluate(config)


if __name__ == "__main__":
    run(main, config_name="kgc", schema=KgcConfig)
