"""The joint loss, as the module that the training engine wraps."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kalm.config import ObjectiveConfig
from kalm.distributed import gather, world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.divergence import Predictor
from kalm.objective.kale import KaleTerms, kale_terms
from kalm.objective.label_counts import LabelCounts, QuestionCounts
from kalm.objective.negatives import COUNTED, ContrastiveObjective, Sites
from kalm.objective.teacher import base_teacher, taught
from kalm.objective.triple_completion import triple_completion_loss
from kalm.text.batch import Batch
from kalm.text.question_batch import QuestionBatch
from kalm.text.text_batch import TextBatch


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

    def measured(self) -> dict[str, Tensor]:
        """As metrics.jsonl names it; the mean over ranks and steps is what is logged."""
        counts = zip(COUNTED, self.negatives, strict=True)
        return {**_as_losses(self.terms()), **{f"negatives/{name}": count for name, count in counts}}


class QuestionLosses(NamedTuple):
    """The same of a step of questions."""

    total: Tensor
    kale: KaleTerms
    retention: Tensor | None

    def terms(self) -> dict[str, Tensor]:
        terms = {f"kale_{name}": term for name, term in self.kale._asdict().items()}
        return {name: term for name, term in (*terms.items(), ("retention", self.retention)) if term is not None}

    def measured(self) -> dict[str, Tensor]:
        return _as_losses(self.terms())


class JointObjective(nn.Module):
    """contrastive_weight * contrastive + triple_completion_weight * triple completion + retention_weight * retention.

    In a step of questions the terms of `kale` stand in the place of the first two.

    It owns the temperature, so that the engine optimises, saves and resumes it. The forward is all that needs the
    model; the contrastive term is a function of its sites, and can see the sites of several forwards.

    Args:
        encoder: the LM.
        config: weights, temperature, margin.
        contrastive: the term over the sites.
        base: the frozen LM of before the first step, for the retention term and as KALE's teacher; None takes the
            encoder without its adapters. A part of the module, so that ZeRO-3 shards it too; checkpoints leave out
            what is frozen.
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

    def forward(
        self, batch: Batch | TextBatch | QuestionBatch, labels: LabelCounts | QuestionCounts | None
    ) -> Encoded | Tensor | KaleTerms:
        """All that needs weights, since ZeRO-3 gathers them in here.

        `encoded` of a batch of triples, `retention` of raw text, `questions` of questions.
        """
        if isinstance(batch, QuestionBatch):
            assert isinstance(labels, QuestionCounts)
            return self.questions(batch, labels)
        assert not isinstance(labels, QuestionCounts)
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
        target = base_teacher(self.encoder, self.base).at(text.input_ids, text.label_positions)
        states = self.encoder.states_at(text.input_ids, text.label_positions)
        return taught(Predictor(states, self.encoder.logits), target, labels, self.config.retention)

    def questions(self, batch: QuestionBatch, counts: QuestionCounts) -> KaleTerms:
        """This batch's share of the terms of weight > 0."""
        assert self.config.kale is not None
        terms = kale_terms(self.encoder, self.base, batch, counts, self.config.kale)
        # the temperature has no part in them, but a gradient of 0: ZeRO-3 would take that of an earlier step again
        unused = 0 * self.log_temperature_change.sum()
        return KaleTerms(*(None if term is None else term + unused for term in terms))

    def temperature(self) -> Tensor:
        """(1,), float32; under ZeRO-3 within the forward, or with the parameters gathered."""
        return (math.log(self.config.temperature) + self.log_temperature_change.float()).exp()

    def count_labels(self, batches: Sequence[Batch | TextBatch]) -> list[LabelCounts]:
        """For each of the batches that make up this rank's share of a step; a collective operation."""
        if not batches:
            return []
        sizes = [[batch.num_labels, len(batch.label_positions)] for batch in batches]
        return self._counts(torch.tensor(sizes, device=batches[0].label_positions.device))

    def count_questions(self, batches: Sequence[QuestionBatch]) -> list[QuestionCounts]:
        """The same for batches of questions."""
        kinds = ("answer_positions", "compared_positions", "written_positions")
        sizes = [[[len(getattr(batch, kind))] * 2 for kind in kinds] for batch in batches]
        by_kind = torch.tensor(sizes, device=batches[0].answer_positions.device).unbind(dim=1)
        return [QuestionCounts(*counts) for counts in zip(*map(self._counts, by_kind), strict=True)]

    def _counts(self, sizes: Tensor) -> list[LabelCounts]:
        """Of (batches, 2): labels, and logits computed."""
        sizes = gather(sizes[None])  # (ranks, batches, 2)
        num_tokens = max(1, int(sizes[..., 0].sum()))
        longest = sizes[..., 1].amax(dim=0).tolist()
        return [LabelCounts(num_tokens, max(1, -(-size // self.config.logit_chunk_tokens))) for size in longest]

    def total(self, contrastive: Tensor, triple_completion: Tensor, retention: Tensor | None = None) -> Tensor:
        """The weighted sum; a term of weight 0 stays out of it, where 0 * inf would be nan."""
        weights = (self.config.contrastive_weight, self.config.triple_completion_weight, self.config.retention_weight)
        return _weighted_sum(weights, (contrastive, triple_completion, retention))

    def question_total(self, terms: KaleTerms, retention: Tensor | None) -> Tensor:
        """The same of a step of questions."""
        kale = self.config.kale
        assert kale is not None
        weights = (kale.kl_weight, kale.answer_weight, kale.answer_with_rationale_weight, kale.rationale_weight)
        return _weighted_sum((*weights, self.config.retention_weight), (*terms, retention))


def _weighted_sum(weights: Sequence[float], terms: Sequence[Tensor | None]) -> Tensor:
    weighted = [weight * term for weight, term in zip(weights, terms, strict=True) if weight > 0 and term is not None]
    return torch.stack(weighted).sum()


def _as_losses(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"loss/{name}": term.detach() for name, term in terms.items()}
