"""One training step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from kalm.distributed import all_reduce_sum, rank, world_size
from kalm.objective.joint import JointObjective, Losses
from kalm.objective.label_counts import LabelCounts
from kalm.objective.negatives import Sites
from kalm.text.batch import Batch, SiteIds
from kalm.text.question_batch import QuestionBatch
from kalm.text.text_batch import TextBatch


def train_step(engine: Any, batches: Sequence[Batch], texts: Sequence[TextBatch] = ()) -> Losses:
    """One optimizer step on this rank's share of the global batch.

    Several batches are micro-batches: their loss and gradient are those of one.

    Args:
        engine: DeepSpeed's, around a JointObjective, with as many accumulation steps as there are batches.
        batches: equally many on all ranks.
        texts: raw text for the retention term; equally many on all ranks, at most as many as batches.

    Raises:
        FloatingPointError: a loss is not finite on some rank; on all ranks, and the weights are as before.
    """
    if len(batches) > 1:
        return _cached_step(engine, batches, texts)
    (batch,) = batches
    objective: JointObjective = engine.module
    (labels,) = objective.count_labels(batches)
    encoded = engine(batch, labels)
    contrastive = objective.contrastive(encoded.sites, batch.ids)
    retention = summed([engine(text, counts) for text, counts in counted_texts(objective, texts)])
    total = objective.total(contrastive.loss, encoded.triple_completion, retention)
    losses = Losses(total, contrastive.loss, encoded.triple_completion, retention, contrastive.counts)
    require_finite(in_words(losses.terms()))
    engine.backward(total)
    engine.step()
    objective.contrastive.queue.push(contrastive.targets, contrastive.target_ids)
    return losses


def _cached_step(engine: Any, batches: Sequence[Batch], texts: Sequence[TextBatch]) -> Losses:
    """Gradient caching: the contrastive term sees all sites, activations of one micro-batch are alive.

    A first pass encodes the sites without a graph; the loss gives its gradient there; a second pass encodes each
    micro-batch again, with the same dropout, and takes that gradient down. The losses per token ride on the second.
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
    counted, retained = counted_texts(objective, texts), []
    for place, (batch, labels) in enumerate(zip(batches, objective.count_labels(batches), strict=True)):
        with _replayed(random_states[place], engine.device):
            encoded = engine(batch, labels)
        gradients = Sites(queries[place], entities[place], for_temperature / len(batches))
        surrogate = torch.stack([(a * b).sum() for a, b in zip(encoded.sites, gradients, strict=True)]).sum()
        triple_completion = triple_completion + encoded.triple_completion.detach()
        # after the replay, since its dropout has not been drawn before
        retention = summed([engine(text, counts) for text, counts in counted[place : place + 1]])
        retained += [] if retention is None else [retention.detach()]
        if place == len(batches) - 1:
            terms = (contrastive.loss.detach(), triple_completion, summed(retained))
            losses = Losses(objective.total(*terms), *terms, contrastive.counts)
            require_finite(in_words(losses.terms()))
        engine.backward(objective.total(surrogate, encoded.triple_completion, retention), scale_wrt_gas=False)
        engine.step()  # does nothing before the last micro-batch
    objective.contrastive.queue.push(contrastive.targets, contrastive.target_ids)
    return losses


def check_weights(engine: Any, batch: Batch | QuestionBatch) -> None:
    """Look at the weights as they are now, and at one forward, which draws no random number and leaves no trace.

    Args:
        engine: as for `train_step`.
        batch: of the same step on all ranks; a micro-batch will do.

    Raises:
        FloatingPointError: a weight, an embedding's norm or its logarithm, the temperature or a loss per token is not
            finite on some rank; on all ranks.
    """
    objective: JointObjective = engine.module
    objective.eval()
    with torch.no_grad():
        seen = _of_questions(engine, batch) if isinstance(batch, QuestionBatch) else _of_triples(engine, batch)
        # attention may take nan for a masked position, and a token of another batch is not read
        weights = [_own_part(weight) for weight in objective.parameters() if weight.requires_grad]
        sums = [weight.sum(dtype=torch.float32).to(engine.device) for weight in weights]  # some are in main memory
    objective.train()
    require_finite({"sum of weights": torch.stack(sums).sum(), **seen})


def _of_triples(engine: Any, batch: Batch) -> dict[str, Tensor]:
    (labels,) = engine.module.count_labels([batch])
    sites, triple_completion = engine(batch, labels)
    # the contrastive term itself needs the tails, which may be in other micro-batches
    embeddings = torch.cat([sites.query_embeddings, sites.entity_embeddings])
    return {
        # weights that overflow on the way leave rows of zeros, or of infinite norm, which make no unit vectors
        "log-norm of embeddings": embeddings.norm(dim=1).log().mean(),
        "temperature": sites.temperature[0],
        "triple completion": triple_completion,
    }


def _of_questions(engine: Any, batch: QuestionBatch) -> dict[str, Tensor]:
    (counts,) = engine.module.count_questions([batch])
    terms = engine(batch, counts)._asdict()
    return {name.replace("_", " "): term for name, term in terms.items() if term is not None}


def _own_part(weight: Any) -> Tensor:
    """All of a weight; under ZeRO-3 what this rank holds of it, without the padding, which is never written."""
    part: Tensor = getattr(weight, "ds_tensor", weight).flatten()
    return part[: max(0, weight.ds_numel - rank() * len(part))] if hasattr(weight, "ds_numel") else part


def require_finite(terms: Mapping[str, Tensor]) -> None:
    """A collective operation with the same answer on all ranks.

    Args:
        terms: scalars by the name they have in the message.

    Raises:
        FloatingPointError: one of them is nan or infinite on some rank; the message has their means over ranks.
    """
    means = all_reduce_sum(torch.stack([*terms.values()]).double()) / world_size()
    if not bool(means.isfinite().all()):
        raise FloatingPointError(", ".join(f"{name} {mean}" for name, mean in zip(terms, means.tolist(), strict=True)))


def in_words(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("_", " "): term for name, term in terms.items()}


def counted_texts(objective: JointObjective, texts: Sequence[TextBatch]) -> list[tuple[TextBatch, LabelCounts]]:
    return list(zip(texts, objective.count_labels(texts), strict=True))


def summed(parts: Sequence[Tensor]) -> Tensor | None:
    return torch.stack([*parts]).sum() if parts else None


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
