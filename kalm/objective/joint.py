"""The joint loss, as the module that the training engine wraps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kalm.config import ObjectiveConfig
from kalm.distributed import gather, world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.divergence import Predictor, divergence_loss
from kalm.objective.negatives import ContrastiveObjective, Sites
from kalm.objective.triple_completion import triple_completion_loss
from kalm.text.batch import Batch
from kalm.text.text_batch import TextBatch


class LabelCounts(NamedTuple):
    """What a loss per token of one batch must know of the others."""

    num_tokens: int  # labels of the whole step on all ranks
    num_chunks: int  # of this batch's logits; the same on all ranks


class Encoded(NamedTuple):
    """What one forward gives."""

    sites: Sites
    triple_completion: Tensor | None  # its share of the term, times the number of ranks; scalar, float32


class Losses(NamedTuple):
    """The mean over ranks of each is its value on the global batch."""

    total: Tensor  # what is optimised
    contrastive: Tensor
    triple_completion: Tensor
    retention: Tensor | None  # without raw text there is none
    negatives: Tensor  # mean per query, see `negatives.COUNTED`

    def terms(self) -> dict[str, Tensor]:
        """By name, without those that the step does not have."""
        terms = {name: getattr(self, name) for name in ("contrastive", "triple_completion", "retention")}
        return {name: term for name, term in terms.items() if term is not None}


class JointObjective(nn.Module):
    """contrastive_weight * contrastive + triple_completion_weight * triple completion + retention_weight * retention.

    It owns the temperature, so that the engine optimises, saves and resumes it. The forward is all that needs the
    model; the contrastive term is a function of its sites, and can see the sites of several forwards.

    Args:
        encoder: the LM.
        config: weights, temperature, margin.
        contrastive: the term over the sites.
        base: the frozen LM of before the first step, for the retention term; None takes the encoder without its
            adapters. A part of the module, so that ZeRO-3 shards it too; checkpoints leave out what is frozen.
    """

    def __init__(
        self,
        encoder: DualViewLM,
        config: ObjectiveConfig,
        contrastive: ContrastiveObjective,
        base: DualViewLM | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.contrastive = contrastive
        self.base = base
        # what is learned starts at 0, so that DeepSpeed's cast to bfloat16 leaves the temperature as it is configured;
        # shape (1,), since DeepSpeed cannot flatten a parameter without dimensions
        self.log_temperature_change = nn.Parameter(torch.zeros(1), requires_grad=config.learn_temperature)

    def forward(self, batch: Batch | TextBatch, labels: LabelCounts | None) -> Encoded | Tensor:
        """All that needs weights, since ZeRO-3 gathers them in here: `encoded` of a batch, `retention` of raw text."""
        if isinstance(batch, TextBatch):
            assert labels is not None
            return self.retention(batch, labels)
        return self.encoded(batch, labels)

    def encoded(self, batch: Batch, labels: LabelCounts | None) -> Encoded:
        """The sites of a batch, and with `labels` its share of the triple-completion loss."""
        views = self.encoder(batch.input_ids, batch.entity_sites, batch.query_sites, batch.label_positions)
        sites = Sites(views.query_embeddings, views.entity_embeddings, self.temperature())
        if labels is None:
            return Encoded(sites, None)
        # times the number of ranks, because gradients are averaged over ranks
        triple_completion = world_size() * triple_completion_loss(
            views.label_states, batch.labels, self.encoder.logits, **labels._asdict()
        )
        return Encoded(sites, triple_completion)

    def retention(self, text: TextBatch, labels: LabelCounts) -> Tensor:
        """The LM's divergence from the base: this text's share of the mean, times the number of ranks; scalar, float32.

        Source: learning without forgetting (arXiv 1606.09282), with raw text in place of the new task's inputs.
        """
        base = self.encoder if self.base is None else self.base

        def base_logits(states: Tensor) -> Tensor:
            with base.as_base():
                return base.logits(states)

        with torch.no_grad(), base.as_base():
            base_states = base.states_at(text.input_ids, text.label_positions)
        states = self.encoder.states_at(text.input_ids, text.label_positions)
        config = self.config.retention
        return world_size() * divergence_loss(
            Predictor(states, self.encoder.logits),
            Predictor(base_states, base_logits),
            direction=config.direction,
            temperature=config.temperature,
            top_k=config.top_k,
            **labels._asdict(),
        )

    def temperature(self) -> Tensor:
        """(1,), float32; under ZeRO-3 within the forward, or with the parameters gathered."""
        return (math.log(self.config.temperature) + self.log_temperature_change.float()).exp()

    def count_labels(self, batches: Sequence[Batch | TextBatch]) -> list[LabelCounts]:
        """For each of the batches that make up this rank's share of a step; a collective operation."""
        if not batches:
            return []
        device = batches[0].label_positions.device
        sizes = torch.tensor([[batch.num_labels, len(batch.label_positions)] for batch in batches], device=device)
        sizes = gather(sizes[None])  # (ranks, batches, 2)
        num_tokens = max(1, int(sizes[..., 0].sum()))
        longest = sizes[..., 1].amax(dim=0).tolist()
        return [LabelCounts(num_tokens, max(1, -(-size // self.config.logit_chunk_tokens))) for size in longest]

    def total(self, contrastive: Tensor, triple_completion: Tensor, retention: Tensor | None = None) -> Tensor:
        """The weighted sum; a term of weight 0 stays out of it, where 0 * inf would be nan."""
        weights = (self.config.contrastive_weight, self.config.triple_completion_weight, self.config.retention_weight)
        terms = (contrastive, triple_completion, retention)
        weighted = [
            weight * term for weight, term in zip(weights, terms, strict=True) if weight > 0 and term is not None
        ]
        return torch.stack(weighted).sum()
