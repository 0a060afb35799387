"""The anchor on raw text: against a loop over tokens, its windows, and its base."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import (
    cut,
    cut_texts,
    lora_config,
    make_objective,
    objective_config,
    perturbed_copy,
    raw_windows,
    with_lora,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_engine import PlainEngine
from toy_run import composed

from kalm.composition import load_config, validate
from kalm.config import KlDirection
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import add_lora
from kalm.text import raw_text
from kalm.text.raw_text import cut_windows, drawn_windows, read_tokens
from kalm.training.step import require_finite, train_step
from kalm.training.text_windows import TextWindows


# each direction alone is in test_divergence
@pytest.mark.parametrize(
    ("direction", "lora"),
    [
        (KlDirection.teacher_student, False),
        (KlDirection.student_teacher, True),
        *(pytest.param(direction, lora, marks=pytest.mark.slow) for direction in KlDirection for lora in (False, True)),
    ],
)
def test_the_term_and_its_gradient_are_those_of_a_loop_over_tokens(direction, lora, encoder, toy_graph):
    base = copy.deepcopy(encoder.lm) if lora else (copied := perturbed_copy(encoder)).lm
    if lora:
        encoder = with_lora(encoder)
    config = objective_config(retention_weight=1.0, retention={"direction": direction, "temperature": 1.3})
    objective = make_objective(encoder, toy_graph, config, None if lora else copied)
    (text,) = cut_texts(raw_windows(5), 1)

    expected, count = torch.zeros(()), 0
    rows, width = text.input_ids[0].shape
    wanted = set(text.label_positions.tolist())
    for row in range(rows):
        # the LM's own forward over each prefix alone
        for place in range(width):
            if row * width + place not in wanted:
                continue
            prefix = text.input_ids[0][row : row + 1, : place + 1]
            log_p = (encoder.lm(input_ids=prefix).logits[0, -1] / 1.3).log_softmax(dim=-1)
            with torch.no_grad():
                log_q = (base(input_ids=prefix).logits[0, -1] / 1.3).log_softmax(dim=-1)
            log_m = ((log_p.exp() + log_q.exp()) / 2).log()
            expected = (
                expected
                + 1.3**2
                * {
                    KlDirection.student_teacher: (log_p.exp() * (log_p - log_q)).sum(),
                    KlDirection.teacher_student: (log_q.exp() * (log_q - log_p)).sum(),
                    KlDirection.jensen_shannon: (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum()
                    / 2,
                }[direction]
            )
            count += 1
    assert 5 < count < rows * width, "some positions only"
    trained = [weight for weight in encoder.parameters() if weight.requires_grad]
    wanted_gradients = torch.autograd.grad(expected / count, trained)

    (labels,) = objective.count_labels([text])
    found = objective(text, labels)
    torch.testing.assert_close(found, expected / count)
    for gradient, wanted_gradient in zip(torch.autograd.grad(found, trained), wanted_gradients, strict=True):
        # float32 sums in another order
        torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lora", [False, True])
def test_before_the_first_step_nothing_pulls(lora, encoder, table, toy_graph):
    if lora:
        encoder = DualViewLM(add_lora(encoder.lm, lora_config()), dropout=0.0)
    objective = make_objective(
        encoder, toy_graph, objective_config(retention_weight=1.0), None if lora else encoder.frozen_copy()
    )
    losses = train_step(
        PlainEngine(objective), cut(toy_graph.directed("train"), table, 1), cut_texts(raw_windows(3), 1)
    )
    assert abs(float(losses.retention.detach())) < 1e-6
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if weight.requires_grad and "lora_A" not in name:
                weight.add_(torch.rand(weight.shape))
    losses = train_step(
        PlainEngine(objective), cut(toy_graph.directed("train"), table, 1), cut_texts(raw_windows(3), 1)
    )
    assert float(losses.retention.detach()) > 1e-3


def test_a_step_without_raw_text_has_no_such_term(encoder, table, toy_graph):
    objective = make_objective(encoder, toy_graph, objective_config())
    losses = train_step(PlainEngine(objective), cut(toy_graph.directed("train"), table, 1))
    assert [*losses.terms()] == ["contrastive", "triple_completion"]


def test_a_term_that_is_not_finite_is_named():
    with pytest.raises(FloatingPointError, match="retention nan"):
        require_finite({"contrastive": torch.tensor(1.0), "retention": torch.tensor(float("nan"))})


def test_the_base_has_no_adapters_no_dropout_and_leaves_no_trace(encoder):
    ids = torch.from_numpy(raw_windows(2))
    with torch.no_grad():
        expected = encoder.causal_lm(input_ids=ids).logits
    adapted = with_lora(encoder)
    for name, weight in adapted.named_parameters():
        if "lora_A" in name:
            weight.requires_grad_(False)
    adapted.dropout.p = 0.5
    adapted.train()
    flags = {name: weight.requires_grad for name, weight in adapted.named_parameters()}
    with torch.no_grad():
        with adapted.as_base():
            found = adapted.logits(adapted.states(ids))
        assert torch.equal(found, expected)
        assert not torch.allclose(adapted.logits(adapted.states(ids)), expected, atol=1e-2)
    assert flags == {name: weight.requires_grad for name, weight in adapted.named_parameters()}
    assert any(flags.values())
    assert all(module.training for module in adapted.modules())


def test_a_frozen_copy_stays_when_the_lm_is_trained(encoder, toy_graph):
    base = encoder.frozen_copy()
    before = copy.deepcopy(base.state_dict())
    objective = make_objective(encoder, toy_graph, objective_config(retention_weight=1.0), base)
    trained = [weight for weight in objective.parameters() if weight.requires_grad]
    assert len(trained) == len([*encoder.parameters()]) + 1, "the encoder's and the temperature"
    with torch.no_grad():
        for weight in trained:
            weight.add_(1.0)
    assert all(torch.equal(weight, before[name]) for name, weight in base.state_dict().items())


def text_config(**retention):
    config = load_config(composed("train", "training.batch_size=24", "training.seed=3"))
    objective = objective_config(retention_weight=1.0, retention=retention)
    return replace(config, objective=objective)


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_ranks_split_the_same_windows_and_each_comes_once_in_a_pass(world_size, micro_batch_size):
    config = text_config(window_tokens=8, tokens_per_step=64)
    config = replace(config, training=replace(config.training, micro_batch_size=micro_batch_size))
    tokens = np.arange(8 * 40 + 5, dtype=np.int32)
    ranks = [TextWindows(tokens, config, rank=rank, world_size=world_size) for rank in range(world_size)]

    def step_rows(step):
        parts = [part.of_step(step, torch.device("cpu")) for part in ranks]
        num_micro_batches = {len(texts) for texts in parts}
        assert num_micro_batches == {1 if micro_batch_size is None else min(8, 24) // world_size}
        for text in (text for texts in parts for text in texts):
            assert text.label_positions.tolist() == list(range(text.input_ids[0].numel()))
        return torch.cat([text.input_ids[0] for texts in parts for text in texts])

    whole = TextWindows(tokens, config, rank=0, world_size=1)
    for step in (0, 3):
        (expected, *_) = whole.of_step(step, torch.device("cpu")) if micro_batch_size is None else (None,)
        assert expected is None or torch.equal(step_rows(step), expected.input_ids[0])
        assert torch.equal(step_rows(step), step_rows(step)), "of the step's number alone"
    one_pass = torch.cat([step_rows(step) for step in range(5)])
    assert sorted(one_pass[:, 0].tolist()) == list(range(0, 320, 8))
    assert not torch.equal(one_pass[:8], torch.cat([step_rows(step) for step in range(5, 10)])[:8]), "shuffled anew"


def test_a_text_shorter_than_a_step_is_refused():
    with pytest.raises(
        ValueError, match=r"objective\.retention\.text: text\.txt has 20 tokens, and a step takes 3 win"
    ):
        TextWindows(np.arange(20, dtype=np.int32), text_config(tokens_per_step=24), rank=0, world_size=1)


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_tokens_of_a_file_are_those_of_its_text(tmp_path_factory, tokenizer, text):
    path = tmp_path_factory.getbasetemp() / "raw.txt"
    path.write_bytes(text.encode())
    expected = tokenizer(text.removeprefix("\ufeff"), add_special_tokens=False, split_special_tokens=True).input_ids
    if expected:
        assert read_tokens(path, tokenizer, "key").tolist() == expected
    else:
        with pytest.raises(ValueError, match="holds no text"):
            read_tokens(path, tokenizer, "key")


def test_a_long_text_is_tokenised_in_blocks_of_whole_lines(tmp_path, tokenizer, monkeypatch):
    text = "".join(f"line {i} of <|endoftext|> é\r\n" for i in range(50))
    (tmp_path / "raw.txt").write_bytes(text.encode())
    monkeypatch.setattr(raw_text, "CHARACTERS_AT_ONCE", 100)
    tokens = read_tokens(tmp_path / "raw.txt", tokenizer, "key")
    assert tokenizer.decode(tokens) == text
    assert tokenizer.eos_token_id not in tokens, "its string is ordinary text"


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path, tokenizer):
    (tmp_path / "raw.txt").write_bytes(b"one\ntwo \xff\n")
    with pytest.raises(ValueError, match=r"some\.key: .*raw\.txt:2: not UTF-8 \(byte 9\)"):
        read_tokens(tmp_path / "raw.txt", tokenizer, "some.key")


def test_drawn_windows_are_a_seeded_sample():
    windows = cut_windows(np.arange(45, dtype=np.int32), 4)
    assert windows[:, 0].tolist() == list(range(0, 44, 4))
    drawn = [drawn_windows(windows, count, seed)[:, 0].tolist() for count, seed in ((5, 0), (5, 0), (5, 1), (99, 0))]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 5
    assert sorted(drawn[3]) == windows[:, 0].tolist()


BAD = {
    "no text": (["objective.retention_weight=1"], "objective.retention.text must be a file of raw text with"),
    "no such text": (["objective.retention_weight=1", "objective.retention.text=nowhere"], "that exists"),
    "negative weight": (["objective.retention_weight=-1"], "objective.retention_weight must be a finite number >= 0"),
    "half a window": (["objective.retention.tokens_per_step=200"], "a multiple of objective.retention.window_tokens="),
    "no temperature": (["objective.retention.temperature=0"], "objective.retention.temperature must be"),
    "no outcome": (["objective.retention.top_k=0"], "objective.retention.top_k must be a whole number >= 1"),
    "direction": (["objective.retention.direction=both"], "objective.retention.direction"),
    "windows on ranks": (["objective.retention_weight=1", "objective.retention.text=FILE",
                          "objective.retention.tokens_per_step=128"], "a multiple of the number of processes, 2"),
    "from scratch": (["objective.retention_weight=1", "objective.retention.text=FILE", "model=tiny"],
                     "0 without model.path: an LM from scratch has nothing to retain"),
    "text without adapters": (["model.lora.init_text=FILE"], "null without model.lora.enabled=true"),
    "start without adapters": (["model.lora.init=null_space"], "default without model.lora.enabled=true"),
    "start without text": (["model.lora.enabled=true", "model.lora.init=null_space"], "a file of raw text with"),
    "no such start text": (["model.lora.enabled=true", "model.lora.init=null_space", "model.lora.init_text=nowhere"],
                           "model.lora.init_text must be a file of raw text that exists"),
    "no tokens": (["model.lora.init_tokens=0"], "model.lora.init_tokens must be a whole number >= 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_config_is_refused_before_anything_loads(case, model_folder):
    overrides, message = BAD[case]
    text = model_folder / "raw.txt"
    text.write_text("raw text")
    overrides = [override.replace("FILE", str(text)) for override in overrides]
    if "model=tiny" not in overrides:
        overrides = ["model=pretrained", f"model.path={model_folder}", *overrides]
    with pytest.raises(ValueError) as error:
        validate(load_config(composed("train", *overrides)), world_size=2)
    assert message in str(error.value)
