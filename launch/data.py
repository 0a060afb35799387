"""Look at a graph or convert it: `python launch/data.py inspect|import SOURCE [KEY=VALUE ...]`.

Keys and their meaning stand in kalm/config/.
"""

import sys

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import check_place, load_preparation
from kalm.config import PreparationConfig
from kalm.preparation.command import as_overrides


def main(composed: DictConfig) -> None:
    config = load_preparation(composed)
    check_place(config.data)

    from kalm.preparation.run import prepare  # heavy: loads transformers, after the config is known to be right

    prepare(config)


if __name__ == "__main__":
    sys.argv[1:] = as_overrides(sys.argv[1:])
    run(main, config_name="data", schema=PreparationConfig, verbatim=("data.path", "data.root", "to"))
