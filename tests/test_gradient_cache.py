"""Micro-batches with gradient caching give the loss and gradient of the plain step."""

import pytest
import torch
from conftest import (
    cut,
    cut_texts,
    make_objective,
    objective_config,
    perturbed_copy,
    raw_windows,
    with_lora,
)
from plain_engine import PlainEngine, assert_same_gradients, step_gradients

from kalm.text.batch import SiteIds
from kalm.training.step import check_weights, train_step


@pytest.mark.parametrize(
    ("gradient_checkpointing", "lora"),
    [
        (False, False),
        (True, True),
        pytest.param(False, True, marks=pytest.mark.slow),
        pytest.param(True, False, marks=pytest.mark.slow),
    ],
)
def test_cached_gradients_equal_those_of_the_plain_step(lora, gradient_checkpointing, encoder, table, toy_graph):
    if lora:
        encoder = with_lora(encoder)
    if gradient_checkpointing:
        encoder.use_gradient_checkpointing()
        assert encoder.causal_lm.is_activation_checkpointing
    config = objective_config(negatives={"queue_batches": 1})
    objective = make_objective(encoder, toy_graph, config).train()
    directed, hard = toy_graph.directed("train")[:24], [5, 6, 7, 8, 9, 9, 1, 0, 2, 3, 4, 5]
    plain, cached = ({}, {})
    for num_micro_batches, results in ((1, plain), (4, cached)):
        objective.contrastive.queue.batches = []
        # two steps, so that the second has a queue
        train_step(PlainEngine(objective), cut(toy_graph.directed("train")[:8], table, num_micro_batches))
        objective.zero_grad()
        losses = train_step(PlainEngine(objective), cut(directed, table, num_micro_batches, hard))
        results["losses"] = [float(value.detach()) for value in losses[:3]] + losses.negatives.tolist()
        results["gradients"] = step_gradients(objective, train_step, cut(directed, table, num_micro_batches, hard))
    assert cached["losses"] == pytest.approx(plain["losses"], rel=1e-5)
    assert_same_gradients(cached["gradients"], plain["gradients"])
    assert float(plain["gradients"]["log_temperature_change"].abs()) > 0

    # the comparison can fail: one triple exchanged for another is far off
    other = directed.copy()
    other[0] = toy_graph.directed("train")[26]
    with pytest.raises(AssertionError):
        assert_same_gradients(
            step_gradients(objective, train_step, cut(other, table, 4, hard)), plain["gradients"], tolerance=1e-3
        )


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_each_term_alone_has_the_plain_steps_gradient(weights, encoder, table, toy_graph):
    contrastive, triple_completion = weights
    config = objective_config(contrastive_weight=contrastive, triple_completion_weight=triple_completion)
    objective = make_objective(encoder, toy_graph, config)
    directed = toy_graph.directed("train")[:24]
    plain, cached = (step_gradients(objective, train_step, cut(directed, table, n)) for n in (1, 3))
    assert_same_gradients(cached, plain)


@pytest.mark.parametrize(
    ("num_texts", "lora"),
    [
        (1, False),
        (4, True),
        *(pytest.param(num_texts, lora, marks=pytest.mark.slow) for num_texts in (1, 3, 4) for lora in (False, True)),
    ],
)
def test_raw_text_rides_on_the_micro_batches(num_texts, lora, encoder, table, toy_graph):
    if lora:
        encoder = with_lora(encoder)
    weight = 70.0 if lora else 0.7  # small adapters diverge little
    config = objective_config(retention_weight=weight)
    objective = make_objective(encoder, toy_graph, config, None if lora else perturbed_copy(encoder)).train()
    directed, windows = toy_graph.directed("train")[:24], raw_windows(6)
    plain, cached = (
        step_gradients(objective, train_step, cut(directed, table, num_graph), cut_texts(windows, num_text))
        for num_graph, num_text in ((1, 1), (4, num_texts))
    )
    assert_same_gradients(cached, plain)
    losses = train_step(PlainEngine(objective), cut(directed, table, 4), cut_texts(windows, num_texts))
    whole = 1.0 * losses.contrastive + 0.3 * losses.triple_completion + weight * losses.retention
    torch.testing.assert_close(losses.total, whole)
    assert losses.retention > 1e-3
    with pytest.raises(AssertionError):
        assert_same_gradients(step_gradients(objective, train_step, cut(directed, table, 1)), plain, tolerance=1e-3)


def test_dropout_is_the_same_in_both_passes(encoder, table, toy_graph):
    encoder.dropout.p = 0.3
    objective = make_objective(encoder, toy_graph, objective_config()).train()
    batches = cut(toy_graph.directed("train")[:24], table, 3)

    def uncached(engine, batches):
        """The whole graph alive at once, each micro-batch encoded in turn."""
        counted = objective.count_labels(batches)
        encoded = [engine(batch, labels) for batch, labels in zip(batches, counted, strict=True)]
        sites = type(encoded[0].sites)(
            torch.cat([part.sites.query_embeddings for part in encoded]),
            torch.cat([part.sites.entity_embeddings for part in encoded]),
            encoded[0].sites.temperature,
        )
        loss = objective.contrastive(sites, SiteIds.cat(batch.ids for batch in batches)).loss
        engine.backward(objective.total(loss, sum(part.triple_completion for part in encoded)))

    gradients = []
    for step in (uncached, train_step):
        torch.manual_seed(5)
        gradients.append(step_gradients(objective, step, batches))
        gradients.append({"next draw": torch.rand(1)})
    assert_same_gradients(gradients[2], gradients[0])
    assert torch.equal(gradients[3]["next draw"], gradients[1]["next draw"]), "the second pass draws nothing new"
    torch.manual_seed(6)
    with pytest.raises(AssertionError):
        assert_same_gradients(step_gradients(objective, train_step, batches), gradients[0], tolerance=1e-3)


@pytest.mark.parametrize("num_micro_batches", [1, 3])
@pytest.mark.parametrize("term", ["contrastive", "triple_completion"])
def test_a_loss_that_is_not_finite_stops_before_the_update(term, num_micro_batches, encoder, table, toy_graph):
    objective = make_objective(encoder, toy_graph, objective_config())
    engine = PlainEngine(objective)
    updates = []
    engine.step = lambda: updates.append(1)
    with torch.no_grad():
        if term == "contrastive":
            objective.log_temperature_change.fill_(float("nan"))
        else:
            # only tail tokens are read from the end of text's row
            encoder.causal_lm.get_output_embeddings().weight[-1] = float("inf")
    with pytest.raises(FloatingPointError, match=r"contrastive .*triple completion"):
        train_step(engine, cut(toy_graph.directed("train")[:24], table, num_micro_batches))
    assert len(updates) == num_micro_batches - 1, "the last step() is the one that updates"
    assert objective.contrastive.queue.batches == []


def test_a_check_of_the_weights_leaves_no_trace_and_finds_what_is_not_finite(encoder, table, toy_graph):
    encoder.dropout.p = 0.3
    objective = make_objective(encoder, toy_graph, objective_config(negatives={"queue_batches": 1})).train()
    # a micro-batch, which lacks some of its queries' tails
    batch = cut(toy_graph.directed("train")[:24], table, 3)[0]
    random_state = torch.get_rng_state()
    check_weights(PlainEngine(objective), batch)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert objective.training
    assert objective.encoder.training
    assert objective.contrastive.queue.batches == []
    assert all(parameter.grad is None for parameter in objective.parameters())

    for parameter in objective.parameters():
        whole = parameter.detach().clone()
        for broken in (float("nan"), float("inf")):
            # the last alone, which need not be read
            parameter.data.view(-1)[-1] = broken
            with pytest.raises(FloatingPointError, match=r"sum of weights (nan|inf), log-norm of embeddings"):
                check_weights(PlainEngine(objective), batch)
        parameter.data.copy_(whole)
    check_weights(PlainEngine(objective), batch)
    for overflowing, found in ((1e30, "inf"), (0.0, "-inf")):
        objective.encoder.causal_lm.base_model.norm.weight.data.fill_(overflowing)
        with pytest.raises(FloatingPointError, match=f"log-norm of embeddings {found}"):
            check_weights(PlainEngine(objective), batch)
