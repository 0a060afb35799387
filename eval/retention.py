"""Has it forgotten: `python eval/retention.py run=runs/NAME [text=FILE] [mmlu=FOLDER] [tasks=[...]]`."""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import RetentionConfig

# paths, which hydra is not to read as lists and numbers
TEXTS = ("run", "text", "mmlu", "harness.include")


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, RetentionConfig)

    from kalm.retention.run import measure  # heavy: loads torch, after the config is known to be right

    measure(config)


if __name__ == "__main__":
    run(main, config_name="retention", schema=RetentionConfig, verbatim=TEXTS)
