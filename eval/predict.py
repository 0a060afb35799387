"""Ask: `python eval/predict.py run=runs/NAME head=... relation=... [tail=...]`; keys stand in kalm/config/."""

from dataclasses import fields

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import PredictConfig, Question

# what people type as text and hydra is not to read as lists and numbers
TEXTS = (*(field.name for field in fields(Question)), "run", "input", "output", "candidates")


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, PredictConfig)

    from kalm.serving.predict import predict  # heavy: loads torch, after the config is known to be right

    predict(config)


if __name__ == "__main__":
    run(main, config_name="predict", schema=PredictConfig, verbatim=TEXTS)
