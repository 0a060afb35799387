"""Rationales from a graph: `python launch/rationales.py data=NAME qa=FILE out=FILE.jsonl [KEY=VALUE ...]`.

Keys and their meaning stand in kalm/config/rationales.py.
"""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import check_place, load_rationales
from kalm.config import RationalesConfig


def main(composed: DictConfig) -> None:
    config = load_rationales(composed)
    check_place(config.data)

    from kalm.rationale.run import make_rationales  # heavy: loads torch, after the config is known to be right

    make_rationales(config)


if __name__ == "__main__":
    run(main, config_name="rationales", schema=RationalesConfig, verbatim=("qa", "out", "data.path", "data.root"))
