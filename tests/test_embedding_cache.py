"""A cache of embeddings is named by all they depend on, and is whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_encoder, with_lora, write_toy_graph
from safetensors.torch import load_file, save_file
from toy_run import make_run

from kalm.config import Dtype
from kalm.evaluation import embedding_cache
from kalm.evaluation.embedding_cache import cached_entity_embeddings, embeddings_digest
from kalm.evaluation.encoding import encode_entities
from kalm.evaluation.loaded_run import load_run


@pytest.fixture
def folder(tmp_path, tokenizer, template):
    return make_run(tmp_path / "run", write_toy_graph(tmp_path / "toy"), make_encoder(tokenizer), tokenizer, template)


@pytest.fixture
def run(folder):
    return load_run(folder)


def test_the_second_call_reads_what_the_first_wrote(run, monkeypatch):
    first = cached_entity_embeddings(run, 64)
    assert torch.equal(first, encode_entities(run.encoder, run.table, 64))
    monkeypatch.delattr(embedding_cache, "encode_entities")
    assert torch.equal(cached_entity_embeddings(run, 64), first)
    assert [path.name for path in (run.folder / "cache").iterdir()] == [f"entities-{embeddings_digest(run)}.npy"]


def test_a_run_that_moved_or_only_gained_files_keeps_its_cache(run, folder):
    before = embeddings_digest(run)
    moved = folder.rename(folder.with_name("moved"))
    (moved / "model" / "notes.txt").write_text("a model of toys")
    assert embeddings_digest(load_run(moved)) == before


def test_another_model_template_text_or_precision_has_another_name(run, folder):
    names = [embeddings_digest(run)]
    graph = run.graph
    names.append(embeddings_digest(replace(run, graph=replace(graph, entity_names=["Anna", *graph.entity_names[1:]]))))
    described = ["a man", *graph.entity_descriptions[1:]]
    names.append(embeddings_digest(replace(run, graph=replace(graph, entity_descriptions=described))))
    names.append(embeddings_digest(replace(run, template=replace(run.template, head_end="."))))
    half = replace(run.config, model=replace(run.config.model, dtype=Dtype.bfloat16))
    names.append(embeddings_digest(replace(run, config=half)))
    config = folder / "model" / "config.json"
    config.write_text(config.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": 4'))
    names.append(embeddings_digest(run))
    path = folder / "model" / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, path, metadata={"format": "pt"})
    names.append(embeddings_digest(run))
    assert len(set(names)) == len(names) == 7


def test_a_changed_model_never_meets_the_old_cache(run, folder):
    old = cached_entity_embeddings(run, 64).clone()
    path = folder / "model" / "model.safetensors"
    weights = {name: tensor + 0.1 for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    again = load_run(folder)
    fresh = cached_entity_embeddings(again, 64)
    assert torch.equal(fresh, encode_entities(again.encoder, again.table, 64))
    assert not torch.allclose(fresh, old)
    assert [path.name for path in (folder / "cache").iterdir()] == [f"entities-{embeddings_digest(again)}.npy"]


def test_a_model_that_was_replaced_since_it_was_loaded_leaves_no_cache(run, folder):
    before = encode_entities(run.encoder, run.table, 64)
    path = folder / "model" / "model.safetensors"
    save_file({name: tensor + 0.1 for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    assert torch.equal(cached_entity_embeddings(run, 64), before)
    assert not (folder / "cache").exists()
    cached_entity_embeddings(load_run(folder), 64)
    assert torch.equal(cached_entity_embeddings(run, 64), before)
    assert len(list((folder / "cache").iterdir())) == 1, "that of the newer model stays"


def test_an_adapter_is_known_by_its_base_too(run, folder, tmp_path, tokenizer):
    base = tmp_path / "base"
    make_encoder(tokenizer).save_pretrained(base)
    for path in (folder / "model").glob("*.safetensors"):
        path.unlink()
    with_lora(make_encoder(tokenizer)).save_pretrained(folder / "model")
    adapted = replace(run, description={**run.description, "base": str(base)})
    before = embeddings_digest(adapted)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    assert embeddings_digest(adapted) != before
    on_hub = replace(run, description={**run.description, "base": "owner/model"})
    commits = []
    for commit in ("a" * 40, "b" * 40):
        run.encoder.causal_lm.config._commit_hash = commit
        commits.append(embeddings_digest(on_hub))
    assert commits[0] != commits[1]


def test_a_write_that_is_cut_short_is_never_read(run, monkeypatch):
    def torn(path, matrix):
        path.write_bytes(b"\x93NUMPY")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", torn)
        with pytest.raises(OSError, match="no space left"):
            cached_entity_embeddings(run, 64)
    assert not list((run.folder / "cache").iterdir())
    assert torch.equal(cached_entity_embeddings(run, 64), encode_entities(run.encoder, run.table, 64))


@pytest.mark.parametrize("damage", ["cut", "empty", "rows", "type"])
def test_a_damaged_file_is_refused_by_name(run, damage):
    cached_entity_embeddings(run, 64)
    (path,) = (run.folder / "cache").iterdir()
    content, matrix = path.read_bytes(), np.load(path)
    if damage in {"cut", "empty"}:
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    else:
        np.save(path, matrix[1:] if damage == "rows" else matrix.astype(np.float64))
    with pytest.raises(ValueError, match=rf"{path.name}: .*delete it, it will be made anew"):
        cached_entity_embeddings(run, 64)
