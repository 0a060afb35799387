"""What a run knows: `python eval/knowledge.py run=runs/NAME [KEY=VALUE ...]`; keys stand in kalm/config/."""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import to_dataclass
from kalm.config import KnowledgeConfig


def main(composed: DictConfig) -> None:
    config = to_dataclass(composed, KnowledgeConfig)

    # heavy: loads torch, after the config is known to be right
    from kalm.evaluation.knowledge_run import evaluate_knowledge

    evaluate_knowledge(config)


if __name__ == "__main__":
    run(main, config_name="knowledge", schema=KnowledgeConfig, verbatim=("run",))
