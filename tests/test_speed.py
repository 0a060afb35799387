"""Each measurement at a toy size gives rows that say what was measured."""

import os
import warnings

import pytest
import torch
from conftest import shared

from kalm.speed import generation, graph, kale, large_batch, memory, padding, scaling, step
from kalm.speed.measure import ratio_row
from kalm.speed.sentence_trainer import missing_packages
from kalm.speed.task import Size, llama
from kalm.speed.utilisation import step_flops

TOY = Size(vocabulary=64, hidden=16, layers=1, heads=2, entities=20, triples=32, description_tokens=(2, 6))
KEYS = ["name", "value", "unit", "baseline", "ratio", "low", "high", "repeats", "hardware", "commit"]

needs_sentence_transformers = pytest.mark.skipif(
    bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}"
)


@pytest.fixture(autouse=True, scope="module")
def environment_as_before():
    """The trainer's engine makes this process the only one of a group, and says so in the environment."""
    before = dict(os.environ)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def memory_without_processes(monkeypatch):
    """Peak memory needs a process of its own, which takes seconds to start; here it is the preparation that counts."""
    for module in (step, memory, large_batch, graph):
        monkeypatch.setattr(module, "peak_memory", lambda prepare, *arguments: (prepare(*arguments)(), (2.0, 1.0))[1])


def assert_rows(rows, *names):
    assert [row["name"] for row in rows] == list(names)
    for row in rows:
        assert list(row) == KEYS
        assert row["low"] <= (row["value"] if row["ratio"] is None else row["ratio"]) <= row["high"]


def test_a_ratio_above_one_means_that_kalm_is_better():
    faster = ratio_row("speed", "triples/s", [30.0, 20.0], [10.0, 10.0], more_is_better=True)
    assert (faster["value"], faster["baseline"], faster["ratio"]) == (25.0, 10.0, 2.5)
    smaller = ratio_row("memory", "MiB", [10.0], [30.0], more_is_better=False)
    assert (smaller["ratio"], smaller["low"], smaller["high"], smaller["repeats"]) == (3.0, 3.0, 3.0, 1)


@needs_sentence_transformers
def test_the_step_is_measured_beside_each_other_way():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the other trainer
        rows = step.measure_step(batch_size=4, repeats=1, sizes=(TOY, TOY))
    systems = ("one_pass", "published_forwards", "three_forwards", "three_forwards_logits_at_labels")
    kinds = ("seconds_per_step", "tokens_per_second", "peak_memory")
    assert_rows(
        rows,
        "one_pass_vs_published_forwards", "one_pass_vs_three_forwards", "one_pass_vs_three_forwards_logits_at_labels",
        "step_vs_bare_forward_and_backward", "step_vs_step_without_engine", "share_of_clipping_and_update",
        *(f"{system}_{kind}" for system in systems for kind in kinds),
        "one_pass_vs_sentence_transformers", "one_pass_vs_sentence_transformers_mixed_lengths",
    )  # fmt: skip


@needs_sentence_transformers
def test_gradient_caching_is_measured_beside_that_of_sentence_transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = large_batch.measure_large_batch(batch_size=32, repeats=1, size=TOY)
    name = "gradient_caching_vs_sentence_transformers_64_directed"
    assert_rows(rows, name, f"{name}_peak_memory", f"{name}_memory_added_by_a_step")


def test_without_sentence_transformers_its_rows_are_left_out(monkeypatch):
    monkeypatch.setattr(large_batch, "missing_packages", lambda: ["sentence_transformers"])
    assert large_batch.measure_large_batch(batch_size=32, repeats=1, size=TOY) == []


def test_memory_is_measured_against_triples_and_chunks():
    rows = memory.measure_memory((32, 64), size=TOY)
    assert_rows(rows, "plain_step_64_triples", "gradient_caching_32_triples_vs_plain_64",
                "gradient_caching_64_triples_vs_plain_64")  # fmt: skip
    rows = memory.measure_vocabulary(repeats=1, vocabulary=50, num_labels=8, hidden=4, chunk=4)
    name = "completion_loss_vocabulary_50_chunked_vs_whole"
    assert_rows(rows, f"{name}_seconds", f"{name}_memory")


def test_a_step_on_questions_is_measured_beside_plain_fine_tuning(monkeypatch):
    monkeypatch.setattr(kale, "NUM_QUESTIONS", 8)
    rows = kale.measure_kale(batch_size=4, repeats=1, size=TOY)
    assert_rows(
        rows, "divergence_step_in_plain_steps", "divergence_step_vs_plain", "divergence_step_vs_plain_on_both",
        "recipe_step_vs_plain_on_both", *(f"{name}_tokens_in_a_step" for name in kale.SYSTEMS),
    )  # fmt: skip
    plain, both = (rows[-len(kale.SYSTEMS) + place]["value"] for place in (2, 3))
    assert plain < both == rows[-len(kale.SYSTEMS)]["value"]


def test_answers_in_words_are_measured(toy_folder, model_folder, monkeypatch):
    for name, value in {"NUM_PROMPTS": 3, "NUM_BEAMS": 2, "NUM_NEW_TOKENS": 3, "NUM_CANDIDATES": 5}.items():
        monkeypatch.setattr(generation, name, value)
    rows = generation.measure_generation("folder", toy_folder, model_folder, repeats=1)
    assert_rows(
        rows, "name_trie_of_folder", "constrained_vs_free_beams", "constrained_vs_transformers_beams",
        "free_vs_transformers_beams", "candidates_behind_one_prompt_vs_alone",
    )  # fmt: skip


@pytest.mark.slow
def test_groups_are_compared_by_speed():
    rows = padding.measure_groups(batch_size=16, repeats=1, size=TOY)
    assert_rows(rows, *(f"step_with_{n}_groups_vs_one" for n in (1, 2, 4, 8, 12, 16)))


@pytest.mark.slow
def test_padding_is_at_most_a_twentieth_whatever_the_micro_batches(monkeypatch):
    monkeypatch.setattr(padding, "NUM_STEPS", 3)
    folder, tokenizer = shared("data/WN18RR"), shared("models/stories-260k")
    rows = padding.measure_padding("wn18rr", folder, tokenizer)
    own = [row["value"] for row in rows if row["name"].endswith("_as_trained")]
    assert max(own) <= 0.05, own


def test_scaling_on_one_core_is_refused(monkeypatch):
    monkeypatch.setattr(scaling.os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(ValueError, match="scaling needs two cores, and this process may use 1"):
        scaling.measure_scaling(repeats=1)


def test_flops_are_six_per_weight_and_token_and_the_attention():
    lm = llama(TOY)
    body = sum(p.numel() for p in lm.parameters()) - TOY.vocabulary * TOY.hidden
    flops = step_flops(lm, num_tokens=100, num_labels=10, length=5.0)
    assert flops == 6 * body * 100 + 6 * TOY.vocabulary * TOY.hidden * 10 + 6 * TOY.layers * TOY.hidden * 5 * 100


def test_reading_and_look_ups_are_measured():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pykeen's own
        rows = graph.measure_reading(repeats=1, num_triples=300)
    rows += graph.measure_lookups(repeats=1, num_triples=100, num_entities=20, num_lookups=50)
    assert_rows(
        rows, "read_tsv_vs_pykeen", "peak_memory_of_reading_vs_pykeen", "known_tail_keys_of_100",
        "memory_added_by_keys_of_100", "contains_50", "known_tails_50",
    )  # fmt: skip


def test_reading_of_n_triples_is_measured():
    pytest.importorskip("pyoxigraph")
    rows = graph.measure_n_triples(repeats=1, num_lines=400)
    assert_rows(rows, "read_n_triples_vs_pyoxigraph", "memory_added_by_100_n_triples", "memory_added_by_400_n_triples")
