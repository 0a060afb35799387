"""Pretrained models from a folder, and what is refused."""

import json

import pytest
import torch
from conftest import lora_config, shared
from safetensors.torch import load_file, save_file

from kalm.config import Dtype, ModelConfig, Quantization
from kalm.evaluation.encoding import encode, encode_entities, encode_queries
from kalm.model.loading import (
    add_lora,
    build_encoder,
    load_saved_tokenizer,
    load_trained,
    max_positions,
    require_adapter,
)
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import build_token_table


def pretrained(path, *, lora: bool = False, dtype: Dtype = Dtype.float32) -> ModelConfig:
    adapters = lora_config() if lora else None
    return ModelConfig(
        name="test", path=str(path), dtype=dtype, dropout=0.0, scratch=None, lora=adapters,
        quantization=Quantization.none, gradient_checkpointing=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tiny1m", pytest.param("stories-260k", marks=pytest.mark.slow)])
def test_real_pretrained_models_load_and_embed(name, toy_graph, template):
    folder = shared(f"models/{name}")
    tokenizer = load_saved_tokenizer(str(folder))
    encoder = build_encoder(pretrained(folder), tokenizer, seed=0)
    table = build_token_table(toy_graph, tokenizer, template)
    assert table.max_length <= max_positions(encoder)
    embeddings = encode_entities(encoder, table, batch_tokens=64)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(toy_graph.num_entities))


def test_bfloat16_weights_give_float32_embeddings_near_those_of_float32(model_folder, table):
    tokenizer = load_saved_tokenizer(str(model_folder))
    exact, rough = (
        encode_entities(build_encoder(pretrained(model_folder, dtype=dtype), tokenizer, 0), table, 512)
        for dtype in (Dtype.float32, Dtype.bfloat16)
    )
    assert rough.dtype is torch.float32
    # bfloat16 keeps 8 bits: each rounding is off by up to 0.4 %
    assert float((exact * rough).sum(dim=1).min()) > 0.999


def test_the_same_seed_gives_the_same_adapters(model_folder):
    tokenizer = load_saved_tokenizer(str(model_folder))
    states = [build_encoder(pretrained(model_folder, lora=True), tokenizer, seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_lora_target_that_matches_no_layer_is_refused_with_names_that_there_are(encoder):
    for target in ("q_proj", "model", r".*\.self_attn"):
        adapters = lora_config(target=target)
        with pytest.raises(ValueError, match=r"model\.lora\.target must be all-linear, or a regular") as error:
            add_lora(encoder.lm, adapters)
        assert repr(target) in str(error.value)
        for name in ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"):
            assert name in str(error.value)
        assert "layers.1" not in str(error.value)


def test_an_empty_adapter_is_refused(tmp_path, model_folder):
    tokenizer = load_saved_tokenizer(str(model_folder))
    encoder = build_encoder(pretrained(model_folder, lora=True), tokenizer, 0)
    folder = tmp_path / "model"
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "kalm.json").write_text(json.dumps({"base": str(model_folder)}))
    with pytest.raises(ValueError, match="the adapter is empty"):
        load_trained(folder, Dtype.float32)

    path = folder / "adapter_model.safetensors"
    save_file({name: torch.ones_like(tensor) for name, tensor in load_file(path).items()}, path)
    loaded, _, _ = load_trained(folder, Dtype.float32)
    ids = torch.tensor([[3, 4, 5]])
    assert not torch.allclose(loaded.states(ids), encoder.states(ids)), "the adapter changes the model"

    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="the adapter cannot be read"):
        load_trained(folder, Dtype.float32)
    save_file({}, path)
    with pytest.raises(ValueError, match=r"the adapter is empty \(0 tensors"):
        require_adapter(folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"has no adapter_model\.safetensors"):
        require_adapter(folder)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"model\.path=.*: cannot load a tokenizer"):
        load_saved_tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match="holds no trained model"):
        load_trained(tmp_path, Dtype.float32)


def test_torn_and_incomplete_weights_are_refused(model_folder):
    tokenizer = load_saved_tokenizer(str(model_folder))
    path = model_folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="cannot load a causal LM"):
        build_encoder(pretrained(model_folder), tokenizer, 0)
    path.write_bytes(whole)
    tensors = load_file(path)
    save_file({name: t for name, t in tensors.items() if "layers.1.mlp.up" not in name}, path, {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 are missing, model\.layers\.1\.mlp\.up_proj\.weight first"):
        build_encoder(pretrained(model_folder), tokenizer, 0)


def test_pickled_weights_are_not_read(model_folder):
    weights = model_folder / "model.safetensors"
    torch.save(load_file(weights), model_folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ValueError, match="cannot load a causal LM"):
        build_encoder(pretrained(model_folder), load_saved_tokenizer(str(model_folder)), 0)


def test_batches_and_order_do_not_change_embeddings(encoder, table, toy_graph):
    whole = encode(encoder, table.heads, batch_tokens=10_000)
    single = encode(encoder, table.heads, batch_tokens=1)
    # padding and batch size may round the last bit differently
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-6)


def test_equal_texts_have_equal_embeddings_to_the_last_bit(encoder, toy_graph, template, tokenizer):
    rows = RaggedArray.from_rows([[3, 4, 5], [6], [3, 4, 5], [7, 8, 9, 10], [6]])
    embeddings = encode(encoder, rows, batch_tokens=4)
    assert torch.equal(embeddings[0], embeddings[2])
    assert torch.equal(embeddings[1], embeddings[4])


def test_a_query_is_its_head_and_relation_joined(encoder, table):
    import numpy as np

    heads, relations = np.array([0, 3, 3]), np.array([1, 0, 2])
    found = encode_queries(encoder, table, heads, relations, batch_tokens=64)
    for row, (head, relation) in enumerate(zip(heads, relations, strict=True)):
        ids = [
            *table.heads.take(np.array([head]))[0].tolist(),
            *table.relations.take(np.array([relation]))[0].tolist(),
        ]
        alone = torch.nn.functional.normalize(encoder.states(torch.tensor([ids]))[0, -1], dim=0)
        torch.testing.assert_close(found[row], alone.detach(), rtol=0, atol=1e-6)


def test_embeddings_that_are_not_finite_are_refused(encoder, table):
    with torch.no_grad():
        encoder.causal_lm.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        encode_entities(encoder, table, 64)
