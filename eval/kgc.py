"""Evaluate: `python eval/kgc.py run=runs/NAME [split=test] [KEY=VALUE ...]`; keys stand in kalm/config.py."""

import hydra
from omegaconf import DictConfig

from kalm.command_line import run
from kalm.config import KgcConfig, to_dataclass


@hydra.main(version_base=None, config_path="../conf", config_name="kgc")
def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, KgcConfig)

    from kalm.evaluation.run import evaluate  # heavy: loads torch and FAISS, after the config is known to be right

    evaluate(config)


if __name__ == "__main__":
    run(main, KgcConfig)
