"""How rationales are internalised."""

from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least, require_not_negative
from kalm.config.divergence import KlDirection, require_divergence
from kalm.config.kgqa import PromptsConfig


class Teacher(Enum):
    """Who predicts with the rationale: the LM as it is now, or as it was before the first step."""

    self = "self"
    base = "base"


class Compared(Enum):
    """Where predictions are compared: on the answer's tokens, or on those of question and answer."""

    answer = "answer"
    all = "all"


@dataclass(kw_only=True, slots=True)
class KaleConfig:
    """Questions, each without and with its rationale."""

    rationales: str  # file of launch/rationales.py
    share: float  # share of the steps that are of questions, the others are of triples; 1: no step is of triples
    batch_size: int  # questions per step over all processes
    teacher: Teacher  # who predicts with the rationale; without gradient
    positions: Compared  # where the prediction without the rationale is pulled to the one with it
    kl_weight: float  # of that divergence; 0: not even measured, and no teacher reads anything
    direction: KlDirection  # which divergence
    temperature: float  # divides the logits of both
    top_k: int | None  # the teacher's most probable tokens that are told apart, the rest is one outcome; null: all
    answer_weight: float  # of the next-token loss of the answer after the question; alone it is plain fine-tuning
    answer_with_rationale_weight: float  # of the same after question and rationale: how to read rationales
    rationale_weight: float  # of the next-token loss of rationale and answer after the question
    prompts: PromptsConfig  # how a question is put; its `questions`, `question` and `explained` are read

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, "objective.kale.share", self.share, "a number in (0, 1]")
        require_at_least("objective.kale.batch_size", self.batch_size, 1)
        for key in ("kl_weight", "answer_weight", "answer_with_rationale_weight", "rationale_weight"):
            require_not_negative(f"objective.kale.{key}", getattr(self, key))
        require(self.kl_weight + self.answer_weight + self.answer_with_rationale_weight + self.rationale_weight > 0,
                "objective.kale.kl_weight", self.kl_weight,
                "> 0 when the other weights of objective.kale are 0")  # fmt: skip
        require_divergence("objective.kale", self.temperature, self.top_k)

    @property
    def is_alone(self) -> bool:
        """No step is of triples."""
        return self.share == 1

    @property
    def reads_rationales(self) -> bool:
        return self.kl_weight + self.answer_with_rationale_weight + self.rationale_weight > 0
