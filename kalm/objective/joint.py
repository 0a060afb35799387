"""The joint loss, as the module that the training engine wraps."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from kalm.config import ObjectiveConfig
from kalm.distributed import gather, gather_with_grad, world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.contrastive import columns_of, distinct_targets, false_negative_mask, info_nce
from kalm.objective.triple_completion import triple_completion_loss
from kalm.text.batch import Batch


class Losses(NamedTuple):
    """Scalars, float32. The mean over ranks of each is its value on the global batch."""

    total: Tensor  # what is optimised
    contrastive: Tensor
    triple_completion: Tensor


class JointObjective(nn.Module):
    """contrastive_weight * contrastive + triple_completion_weight * triple completion, from one forward.

    It owns the temperature, so that the engine optimises, saves and resumes it.

    Args:
        encoder: the LM.
        config: weights, temperature, margin.
        known_tail_keys: of the training triples, (K,), int64.
        num_relations, num_entities: of the graph.
    """

    known_tail_keys: Tensor

    def __init__(
        self,
        encoder: DualViewLM,
        config: ObjectiveConfig,
        known_tail_keys: Tensor,
        *,
        num_relations: int,
        num_entities: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.num_relations = num_relations
        self.num_entities = num_entities
        # shape (1,): DeepSpeed cannot flatten a parameter without dimensions
        log_temperature = torch.tensor([math.log(config.temperature)])
        self.log_temperature = nn.Parameter(log_temperature, requires_grad=config.learn_temperature)
        self.register_buffer("known_tail_keys", known_tail_keys, persistent=False)

    def forward(self, batch: Batch) -> Losses:
        views = self.encoder(batch.input_ids, batch.entity_sites, batch.query_sites, batch.label_positions)
        contrastive = self._contrastive(views.query_embeddings, views.entity_embeddings, batch)
        tokens_per_rank = gather(torch.tensor([len(batch.labels)], device=batch.labels.device)).tolist()
        # times the number of ranks, because gradients are averaged over ranks
        triple_completion = world_size() * triple_completion_loss(
            views.label_states,
            batch.labels,
            self.encoder.logits,
            num_tokens=sum(tokens_per_rank),
            num_chunks=-(-max(tokens_per_rank) // self.config.logit_chunk_tokens),
        )
        weighted = (
            (self.config.contrastive_weight, contrastive),
            (self.config.triple_completion_weight, triple_completion),
        )
        # a term of weight 0 is measured but stays out of the sum, where 0 * inf would be nan
        total = torch.stack([weight * term for weight, term in weighted if weight > 0]).sum()
        return Losses(total, contrastive, triple_completion)

    def _contrastive(self, query_embeddings: Tensor, entity_embeddings: Tensor, batch: Batch) -> Tensor:
        """This rank's queries against the distinct heads of all ranks; a triple's tail heads its inverse."""
        targets, target_ids = distinct_targets(gather_with_grad(entity_embeddings), gather(batch.head_ids))
        similarity = F.normalize(query_embeddings, dim=1) @ F.normalize(targets, dim=1).T  # (B, G)
        mask = false_negative_mask(
            batch.head_ids,
            batch.relation_ids,
            batch.tail_ids,
            target_ids,
            self.known_tail_keys,
            num_relations=self.num_relations,
            num_entities=self.num_entities,
        )
        return info_nce(
            similarity,
            columns_of(batch.tail_ids, target_ids),
            temperature=self.log_temperature.float().exp(),
            additive_margin=self.config.additive_margin,
            false_negative_mask=mask,
            false_negative_rate=self.config.false_negative_rate,
        )
