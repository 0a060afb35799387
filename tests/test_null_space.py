"""Adapters that start in the null space: against plain second moments, the base, and peft."""

import numpy as np
import peft
import pytest
import torch
from conftest import lora_config, make_encoder

from kalm.config import AdapterInit
from kalm.model import null_space
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import add_lora
from kalm.model.null_space import null_space_factors, set_first_factors

RANK = 3


def adapted(tokenizer, **changes) -> DualViewLM:
    lora = lora_config(**{"rank": RANK, "init": AdapterInit.null_space, "init_text": "text.txt", **changes})
    return DualViewLM(add_lora(make_encoder(tokenizer).lm, lora), dropout=0.0)


def random_windows(num_windows: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, 300, (num_windows, 8), generator=torch.Generator().manual_seed(seed))


def inputs_of_layers(encoder, windows) -> dict[str, np.ndarray]:
    """Of the base, token by token, (tokens, inputs)."""
    found: dict[str, list] = {}
    hooks = [
        layer.base_layer.register_forward_hook(
            lambda _, inputs, __, name=name: found.setdefault(name, []).append(inputs[0][0].double().numpy())
        )
        for name, layer in encoder.lm.named_modules()
        if isinstance(layer, peft.tuners.lora.LoraLayer)
    ]
    with torch.no_grad(), encoder.lm.disable_adapter():
        for window in windows:
            encoder.lm(input_ids=window[None])
    for hook in hooks:
        hook.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}


def test_factors_are_the_directions_of_least_energy_of_each_layers_inputs(tokenizer):
    encoder, windows = adapted(tokenizer), random_windows(30)
    found = null_space_factors(encoder, windows)
    inputs = inputs_of_layers(encoder, windows)
    assert found.factors.keys() == inputs.keys()
    assert len(inputs) == 2 * 7, "two layers of seven matrices"
    shares = []
    for name, rows in inputs.items():
        factor = found.factors[name].double().numpy()
        np.testing.assert_allclose(factor @ factor.T, np.eye(RANK) / 3, atol=1e-6, err_msg=name)
        eigenvalues = np.linalg.eigvalsh(sum(np.outer(row, row) for row in rows))
        energy = 3 * np.square(rows @ factor.T).sum(axis=0)
        # float32 moments of 240 tokens
        np.testing.assert_allclose(energy, eigenvalues[:RANK], rtol=1e-3, atol=1e-5 * eigenvalues[-1], err_msg=name)
        shares.append(eigenvalues[:RANK].sum() / eigenvalues.sum())
    assert found.energy == pytest.approx(np.mean(shares), rel=1e-3)
    assert found.random_energy == pytest.approx(np.mean([RANK / rows.shape[1] for rows in inputs.values()]))
    assert found.energy < 0.5 * found.random_energy


def test_several_passes_over_the_text_give_the_same(tokenizer, monkeypatch):
    encoder, windows = adapted(tokenizer), random_windows(30)
    expected = null_space_factors(encoder, windows)
    monkeypatch.setattr(null_space, "MOMENT_BYTES", 4 * 16**2 + 1)
    monkeypatch.setattr(null_space, "TOKENS_AT_ONCE", 64)
    found = null_space_factors(encoder, windows)
    assert found.energy == pytest.approx(expected.energy, rel=1e-3)
    for name, factor in expected.factors.items():
        # directions may change sign
        torch.testing.assert_close(found.factors[name].T @ found.factors[name], factor.T @ factor, rtol=0, atol=1e-3)


def test_the_start_is_the_base_to_the_last_bit(tokenizer):
    encoder, windows = adapted(tokenizer), random_windows(5, seed=1)
    with torch.no_grad():
        expected = make_encoder(tokenizer).lm(input_ids=windows).logits
        set_first_factors(encoder, null_space_factors(encoder, random_windows(9)).factors)
        assert torch.equal(encoder.lm(input_ids=windows).logits, expected)


def test_an_update_within_the_null_space_changes_other_text_only(tokenizer):
    encoder = adapted(tokenizer)
    known, other = random_windows(1), random_windows(1, seed=1)  # 8 tokens leave half of 16 inputs without energy
    base = make_encoder(tokenizer)
    set_first_factors(encoder, null_space_factors(encoder, known).factors)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
        changes = [float((encoder.states(ids) - base.states(ids)).abs().max()) for ids in (known, other)]
    # float32 moments know directions to the root of 1e-7
    assert changes[0] < 0.01 * changes[1]
    assert changes[1] > 0.1


@pytest.mark.parametrize("train_first_factor", [True, False])
def test_the_first_factor_is_trained_if_asked(train_first_factor, tokenizer):
    encoder = adapted(tokenizer, train_first_factor=train_first_factor)
    null_space_factors(encoder, random_windows(3))
    trained = {name.split(".")[-3] for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert trained == ({"lora_A", "lora_B"} if train_first_factor else {"lora_B"})


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # peft asks for it
def test_peft_loads_what_is_saved_on_the_base_as_it_is(tmp_path, tokenizer):
    encoder, windows = adapted(tokenizer, train_first_factor=False), random_windows(4)
    set_first_factors(encoder, null_space_factors(encoder, windows).factors)
    for name, weight in encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    encoder.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(make_encoder(tokenizer).lm, str(tmp_path))
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=windows).logits, encoder.lm.eval()(input_ids=windows).logits)


def test_more_ranks_than_inputs_are_refused(tokenizer):
    encoder = adapted(tokenizer, rank=20)
    with pytest.raises(ValueError, match=r"model\.lora\.rank=20: .*q_proj has 16 inputs.*set it to 16 or less"):
        null_space_factors(encoder, random_windows(3))
