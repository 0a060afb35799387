"""How embeddings lie: `python eval/geometry.py run=runs/NAME [split=test] [KEY=VALUE ...]`; keys: kalm/config/."""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import GeometryConfig


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, GeometryConfig)

    # heavy: loads torch and FAISS, after the config is known to be right
    from kalm.evaluation.geometry_run import evaluate_geometry

    evaluate_geometry(config)


if __name__ == "__main__":
    run(main, config_name="geometry", schema=GeometryConfig, verbatim=("run",))
