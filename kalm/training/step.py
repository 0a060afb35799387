"""One training step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from kalm.distributed import all_reduce_sum, world_size
from kalm.objective.joint import JointObjective, Losses
from kalm.objective.negatives import Sites
from kalm.text.batch import Batch, SiteIds


def train_step(engine: Any, batches: Sequence[Batch]) -> Losses:
    """One optimizer step on this rank's share of the global batch.

    Several batches are micro-batches: their loss and gradient are those of one.

    Args:
        engine: DeepSpeed's, around a JointObjective, with as many accumulation steps as there are batches.
        batches: equally many on all ranks.

    Raises:
        FloatingPointError: a loss is not finite on some rank; on all ranks, and the weights are as before.
    """
    if len(batches) > 1:
        return _cached_step(engine, batches)
    (batch,) = batches
    objective: JointObjective = engine.module
    (labels,) = objective.count_labels(batches)
    encoded = engine(batch, labels)
    contrastive = objective.contrastive(encoded.sites, batch.ids)
    total = objective.total(contrastive.loss, encoded.triple_completion)
    losses = Losses(total, contrastive.loss, encoded.triple_completion, contrastive.counts)
    require_finite(losses)
    engine.backward(total)
    engine.step()
    objective.contrastive.queue.push(contrastive.targets, contrastive.target_ids)
    return losses


def _cached_step(engine: Any, batches: Sequence[Batch]) -> Losses:
    """Gradient caching: the contrastive term sees all sites, activations of one micro-batch are alive.

    A first pass encodes the sites without a graph; the loss gives its gradient there; a second pass encodes each
    micro-batch again, with the same dropout, and takes that gradient down. The language-model loss rides on the second.
    Source: GradCache (arXiv 2101.06983).
    """
    objective: JointObjective = engine.module
    random_states, parts = [], []
    with torch.no_grad():
        for batch in batches:
            random_states.append(_random_state(engine.device))
            parts.append(engine(batch, None).sites)
    sites = Sites(
        torch.cat([part.query_embeddings for part in parts]).requires_grad_(),
        torch.cat([part.entity_embeddings for part in parts]).requires_grad_(),
        parts[0].temperature.detach().requires_grad_(),
    )
    contrastive = objective.contrastive(sites, SiteIds.cat(batch.ids for batch in batches))
    # with respect to the sites; the weight is applied where the terms meet
    for_queries, for_entities, for_temperature = torch.autograd.grad(contrastive.loss, sites)
    # micro-batches have equally many sites
    queries, entities = for_queries.chunk(len(batches)), for_entities.chunk(len(batches))
    triple_completion = torch.zeros_like(contrastive.loss)
    for place, (batch, labels) in enumerate(zip(batches, objective.count_labels(batches), strict=True)):
        with _replayed(random_states[place], engine.device):
            encoded = engine(batch, labels)
        gradients = Sites(queries[place], entities[place], for_temperature / len(batches))
        surrogate = torch.stack([(a * b).sum() for a, b in zip(encoded.sites, gradients, strict=True)]).sum()
        triple_completion = triple_completion + encoded.triple_completion.detach()
        if place == len(batches) - 1:
            total = objective.total(contrastive.loss.detach(), triple_completion)
            losses = Losses(total, contrastive.loss.detach(), triple_completion, contrastive.counts)
            require_finite(losses)
        engine.backward(objective.total(surrogate, encoded.triple_completion), scale_wrt_gas=False)
        engine.step()  # does nothing before the last micro-batch
    objective.contrastive.queue.push(contrastive.targets, contrastive.target_ids)
    return losses


def require_finite(losses: Losses) -> None:
    """Stop before the weights are touched; a collective operation with the same answer on all ranks.

    Raises:
        FloatingPointError: a loss is nan or infinite on some rank.
    """
    terms = torch.stack([losses.contrastive, losses.triple_completion]).double()
    contrastive, triple_completion = (all_reduce_sum(terms) / world_size()).tolist()
    if not torch.isfinite(torch.tensor([contrastive, triple_completion])).all():
        raise FloatingPointError(f"contrastive {contrastive}, triple completion {triple_completion}")


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


@contextmanager
def _replayed(states: list[Tensor], device: torch.device) -> Iterator[None]:
    """Draw the same random numbers again, and go on as if they had not been drawn twice."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_rng_state(states[0])
        if device.type == "cuda":
            torch.cuda.set_rng_state(states[1], device)
        yield
