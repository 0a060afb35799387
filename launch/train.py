"""Train: `deepspeed launch/train.py [KEY=VALUE ...]`; sweep: `python launch/train.py --multirun KEY=VALUE,VALUE ...`.

Keys and their meaning stand in kalm/config/.
"""

import os

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import load_config, validate
from kalm.config import Config
from kalm.sweep.run import sweep


def main(composed: DictConfig) -> None:
    config = load_config(composed, HydraConfig.get().overrides.task)
    validate(config, world_size=int(os.environ.get("WORLD_SIZE", "1")))

    from kalm.training.run import train  # heavy: loads torch and DeepSpeed, after the config is known to be right

    train(config)


if __name__ == "__main__":
    run(main, config_name="train", schema=Config, multirun=sweep)
