"""Evaluate: `python eval/kgc.py run=runs/NAME [split=test] [KEY=VALUE ...]`; keys stand in kalm/config.py."""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import KgcConfig


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, KgcConfig)

    from kalm.evaluation.run import evaluate  # heavy: loads torch and FAISS, after the config is known to be right

    evaluate(config)


if __name__ == "__main__":
    run(main, config_name="kgc", schema=KgcConfig)
