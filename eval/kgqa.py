"""Ask in words: `python eval/kgqa.py run=runs/NAME [tasks=[...]] [questions=FILE] [KEY=VALUE ...]`."""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import KgqaConfig

# file names, which hydra is not to read as numbers or lists
TEXTS = ("run", "questions", "shots_from", "aliases")


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, KgqaConfig)

    from kalm.kgqa.run import ask  # heavy: loads torch, after the config is known to be right

    ask(config)


if __name__ == "__main__":
    run(main, config_name="kgqa", schema=KgqaConfig, verbatim=TEXTS)
