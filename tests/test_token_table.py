"""Segments become tokens once, and the same ones each time."""

import logging
from dataclasses import replace

import pytest
from conftest import shared

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.loading import load_saved_tokenizer
from kalm.model.scratch import END, PAD, train_tokenizer
from kalm.text import token_table
from kalm.text.token_table import build_token_table, cached_token_table, table_digest


def row(array, i):
    return array.values[array.offsets[i] : array.offsets[i + 1]].tolist()


def named(graph: KnowledgeGraph, **names: str) -> KnowledgeGraph:
    """The graph with other names for some entities."""
    new = [names.get(label, name) for label, name in zip(graph.entity_labels, graph.entity_names, strict=True)]
    return replace(graph, entity_names=new)


def test_segments_decode_to_the_template(toy_graph, table, tokenizer):
    ann = list(toy_graph.entity_labels).index("ann")
    likes = list(toy_graph.relation_labels).index("likes")
    head = tokenizer.decode(row(table.heads, ann))
    assert head.startswith("Ann, a ")
    assert head.endswith(";")
    assert tokenizer.decode(row(table.relations, likes)) == " is fond of:"
    inverse = likes + toy_graph.num_relations
    assert tokenizer.decode(row(table.relations, inverse)).startswith(" inverse of")
    assert tokenizer.decode(row(table.tails, ann)) == f" Ann{END}"


def test_long_texts_are_cut_but_segments_keep_their_end(toy_graph, template, tokenizer):
    table = build_token_table(named(toy_graph, ann="x y z " * 1000), tokenizer, template)
    ann = list(toy_graph.entity_labels).index("ann")
    (end,) = tokenizer(";").input_ids
    assert len(row(table.heads, ann)) == template.max_name_tokens + template.max_description_tokens + 1
    assert row(table.heads, ann)[-1] == end
    assert len(row(table.tails, ann)) == template.max_name_tokens + 1


def test_long_texts_are_cut_in_silence(toy_graph, template, tokenizer, monkeypatch, caplog):
    monkeypatch.setattr(tokenizer, "model_max_length", 2)
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    build_token_table(named(toy_graph, ann="x y z " * 1000), tokenizer, template)
    assert caplog.text == ""
    tokenizer("x y z")
    logger.removeHandler(caplog.handler)
    assert "sequence length is longer" in caplog.text, "it is said elsewhere"


@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_the_size_of_a_block_changes_nothing(toy_graph, table, tokenizer, template, at_once, monkeypatch):
    monkeypatch.setattr(token_table, "TEXTS_AT_ONCE", at_once)
    in_blocks = build_token_table(toy_graph, tokenizer, template)
    for part in ("heads", "relations", "tails"):
        whole, blocks = getattr(table, part), getattr(in_blocks, part)
        assert (blocks.values.tolist(), blocks.offsets.tolist()) == (whole.values.tolist(), whole.offsets.tolist())


def test_no_description_tokens_leaves_descriptions_out(toy_graph, template, tokenizer):
    table = build_token_table(toy_graph, tokenizer, replace(template, max_description_tokens=0))
    ann = list(toy_graph.entity_labels).index("ann")
    assert tokenizer.decode(row(table.heads, ann)) == "Ann;"


def test_special_tokens_inside_a_text_are_ordinary_text(toy_graph, template, tokenizer):
    table = build_token_table(named(toy_graph, ann=f"{END}{PAD}"), tokenizer, template)
    ann = list(toy_graph.entity_labels).index("ann")
    specials = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert not specials & set(row(table.heads, ann))
    assert row(table.tails, ann)[-1] == tokenizer.eos_token_id
    assert not specials & set(row(table.tails, ann)[:-1])


def test_the_cached_table_is_the_built_one_and_is_found_again(tmp_path, toy_graph, template, tokenizer, table):
    for _ in range(2):
        cached = cached_token_table(toy_graph, tokenizer, template, tmp_path)
        for name in ("heads", "relations", "tails"):
            assert getattr(cached, name).values.tolist() == getattr(table, name).values.tolist()
            assert getattr(cached, name).offsets.tolist() == getattr(table, name).offsets.tolist()
    (folder,) = (tmp_path / "tokens").iterdir()
    assert folder.name == table_digest(toy_graph, tokenizer, template)


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_table_that_cannot_be_saved_leaves_nothing(tmp_path, toy_graph, template, tokenizer, monkeypatch, error):
    def save(rows, folder, name):
        (folder / name).write_bytes(b"half")
        raise error

    monkeypatch.setattr(token_table.RaggedArray, "save", save)
    with pytest.raises(type(error)):
        cached_token_table(toy_graph, tokenizer, template, tmp_path)
    assert not list((tmp_path / "tokens").iterdir())


def test_whatever_the_table_depends_on_names_it(toy_graph, template, tokenizer):
    digests = {
        table_digest(toy_graph, tokenizer, template),
        table_digest(named(toy_graph, ann="Anna"), tokenizer, template),
        table_digest(toy_graph, tokenizer, replace(template, max_description_tokens=4)),
        table_digest(toy_graph, train_tokenizer(toy_graph, template, vocab_size=300), template),
    }
    assert len(digests) == 4


def test_a_segment_without_tokens_is_refused(toy_graph, template, tokenizer):
    with pytest.raises(ValueError, match="the tail segment of '' has no token"):
        build_token_table(named(toy_graph, ann=""), tokenizer, replace(template, tail="{name}"))


def test_a_sentencepiece_tokenizer_gets_one_space_between_words(toy_graph, template):
    tokenizer = load_saved_tokenizer(str(shared("models/tiny1m")))
    table = build_token_table(toy_graph, tokenizer, template)
    ann = list(toy_graph.entity_labels).index("ann")
    assert row(table.heads, ann)[0] == tokenizer.bos_token_id
    assert row(table.tails, ann)[-1] == tokenizer.eos_token_id
    likes = list(toy_graph.relation_labels).index("likes")
    assert "▁▁" not in "".join(tokenizer.convert_ids_to_tokens(row(table.relations, likes)))
