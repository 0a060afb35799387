"""Several runs, asked without rationale: `python eval/qa.py runs=[runs/sft,runs/kale] qa=FILE out=FOLDER`."""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import QaConfig

# paths, which hydra is not to read as lists and numbers
TEXTS = ("qa", "out")


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, QaConfig)

    from kalm.qa.run import compare  # heavy: loads torch, after the config is known to be right

    compare(config)


if __name__ == "__main__":
    run(main, config_name="qa", schema=QaConfig, verbatim=TEXTS)
