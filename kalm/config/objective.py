"""What is optimised."""

import math
from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least, require_not_negative, require_positive, require_share
from kalm.config.divergence import KlDirection, require_divergence
from kalm.config.kale import KaleConfig


class Scope(Enum):
    """Whose entities are negatives: those of this process, or of all."""

    rank = "rank"
    all_ranks = "all_ranks"


@dataclass(kw_only=True, slots=True)
class NegativesConfig:
    scope: Scope  # whose entities are negatives
    self_negatives: bool  # a query's own head is one of its negatives
    mask_known: bool  # leave out other known tails of the query; false leaves out nothing but the own tail
    queue_batches: int  # earlier batches whose targets stay as negatives, without gradient
    queue_weight: float  # multiplies the similarity with those, as they are stale
    hard_per_triple: int  # entities near the tail, encoded as further targets, per directed triple
    mine_every_steps: int  # steps between two searches for them with the model as it is then

    def __post_init__(self) -> None:
        for key in ("queue_batches", "hard_per_triple"):
            require_at_least(f"objective.negatives.{key}", getattr(self, key), 0)
        require_at_least("objective.negatives.mine_every_steps", self.mine_every_steps, 1)
        require(math.isfinite(self.queue_weight) and 0 < self.queue_weight <= 1, "objective.negatives.queue_weight",
                self.queue_weight, "a number in (0, 1]")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class SeparateConfig:
    """Query, target and completion as sequences of their own."""

    encode_heads: bool  # heads as targets too, a forward more; of use only without the inverse view
    logits_everywhere: bool  # a logit at each position of a completion, though only the tail's count


@dataclass(kw_only=True, slots=True)
class AnchorConfig:
    """The anchor: on raw text the LM is held near the one that it was before the first step."""

    text: str | None  # file of raw text in UTF-8; only read with objective.retention_weight
    window_tokens: int  # length of one piece of it, a sequence
    tokens_per_step: int  # of pieces in random order, over all processes; a multiple of window_tokens
    direction: KlDirection  # which divergence; the base is the teacher
    temperature: float  # divides the logits of both
    top_k: int | None  # the base's most probable tokens that are told apart, the rest is one outcome; null: all

    def __post_init__(self) -> None:
        require_at_least("objective.retention.window_tokens", self.window_tokens, 1)
        require(self.tokens_per_step > 0 and self.tokens_per_step % self.window_tokens == 0,
                "objective.retention.tokens_per_step", self.tokens_per_step,
                f"a multiple of objective.retention.window_tokens={self.window_tokens}")  # fmt: skip
        require_divergence("objective.retention", self.temperature, self.top_k)

    @property
    def windows_per_step(self) -> int:
        return self.tokens_per_step // self.window_tokens


@dataclass(kw_only=True, slots=True)
class ObjectiveConfig:
    name: str  # stands in the run's name
    separate: SeparateConfig | None  # null: one pass gives all views
    inverse_view: bool  # train (t, inverse of r, ?) beside (h, r, ?)
    contrastive_weight: float  # of the contrastive term; 0: measured, not trained
    triple_completion_weight: float  # of the language-model term; 0: measured, not trained
    retention_weight: float  # of the divergence from the base on raw text; 0: not even measured
    retention: AnchorConfig
    kale: KaleConfig | None  # null: no step is of questions
    completion_share: float  # share of the directed triples with a language-model loss
    temperature: float  # divides the cosine similarity, at the start
    learn_temperature: bool  # let the optimizer change it
    additive_margin: float  # subtracted from the positive's similarity before the division
    target_to_query_weight: float  # of each target against all queries; the rest of 1 is each query against all targets
    false_negative_rate: float  # share of a query's unmasked negatives taken to be true tails, mostly that of the data
    negatives: NegativesConfig
    query_chunk: int  # queries whose similarities with all targets are held at once
    logit_chunk_tokens: int  # tokens whose logits over the vocabulary are held at once

    def __post_init__(self) -> None:
        require_positive("objective.temperature", self.temperature)
        require_not_negative("objective.additive_margin", self.additive_margin)
        require_share("objective.false_negative_rate", self.false_negative_rate)
        require_share("objective.target_to_query_weight", self.target_to_query_weight)
        require_not_negative("objective.contrastive_weight", self.contrastive_weight)
        require_not_negative("objective.triple_completion_weight", self.triple_completion_weight)
        require_not_negative("objective.retention_weight", self.retention_weight)
        require(self.retention_weight == 0 or self.retention.text is not None, "objective.retention.text",
                self.retention.text, "a file of raw text with objective.retention_weight > 0")  # fmt: skip
        require(self.contrastive_weight + self.triple_completion_weight > 0, "objective.contrastive_weight",
                 self.contrastive_weight, "> 0 when objective.triple_completion_weight is 0")  # fmt: skip
        require(0 < self.completion_share <= 1, "objective.completion_share", self.completion_share,
                "a number in (0, 1]; objective.triple_completion_weight=0 turns the term off")  # fmt: skip
        require(self.separate is None or not self.negatives.hard_per_triple, "objective.negatives.hard_per_triple",
                self.negatives.hard_per_triple, "0 with separate forwards")  # fmt: skip
        require_at_least("objective.query_chunk", self.query_chunk, 1)
        require_at_least("objective.logit_chunk_tokens", self.logit_chunk_tokens, 1)
