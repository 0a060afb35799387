"""Texts read as a tree after a query score like the same texts read one by one."""

import numpy as np
import pytest
import torch
from conftest import made_decisive
from hypothesis import given
from hypothesis import strategies as st
from test_dual_view_lm import FAMILIES, SMALL
from transformers import AutoModelForCausalLM, BloomConfig, Gemma2Config, LlamaConfig, MambaConfig

from kalm.evaluation import generation
from kalm.evaluation.generation import check_tree_attention, log_probabilities
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.prefix_tree import ROOT, PrefixTree, subtrees
from kalm.text.ragged import RaggedArray

# one token; beginnings of one another; equal texts; a repeated token
TEXTS = [[1], [1, 2], [1, 2, 3], [4, 5], [4, 5], [7, 1, 1, 1], [2], [1, 9, 3]]
QUERIES = [[5, 6, 7], [9], [4, 4, 4, 4, 4], [8, 1]]
CANDIDATES = [[0, 1, 2, 3, 4, 5, 6, 7], [3], [6, 5, 0], [0, 6]]
WIDE_FAMILIES = {
    **FAMILIES,
    "mistral": None,  # its attention reaches over 8 tokens; this one has no limit
    "gemma2": Gemma2Config(vocab_size=320, num_key_value_heads=1, head_dim=8, final_logit_softcapping=3.0, **SMALL),
}


def random_encoder(config) -> DualViewLM:
    torch.manual_seed(0)
    return made_decisive(DualViewLM(AutoModelForCausalLM.from_config(config), dropout=0.5).eval())


@torch.no_grad()
def one_by_one(encoder, queries, texts, candidates):
    scores = []
    for query, rows in zip(queries, candidates, strict=True):
        for row in rows:
            logits = encoder.causal_lm(torch.tensor([query + texts[row]])).logits[0].double()
            scores.append(sum(
                float(logits[len(query) - 1 + place].log_softmax(dim=0)[token])
                for place, token in enumerate(texts[row])
            ))  # fmt: skip
    return scores


def as_tree(encoder, queries=QUERIES, candidates=CANDIDATES, **memory):
    rows = (RaggedArray.from_rows(part) for part in (queries, TEXTS, candidates))
    asked, texts, wanted = rows
    memory = {"batch_tokens": 1024, "logit_memory_mib": 1, **memory}
    return log_probabilities(encoder, asked, PrefixTree.from_rows(texts), wanted, **memory)


@pytest.mark.parametrize("family", WIDE_FAMILIES)
def test_scores_equal_those_of_each_text_alone(family):
    config = WIDE_FAMILIES[family] or FAMILIES[family].__class__(
        **{**FAMILIES[family].to_diff_dict(), "sliding_window": None}
    )
    encoder = random_encoder(config)
    check_tree_attention(encoder, "key", "another")
    expected = one_by_one(encoder, QUERIES, TEXTS, CANDIDATES)
    scores = as_tree(encoder)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert scores[3] == scores[4], "equal texts"


@pytest.mark.parametrize(("batch_tokens", "tree_tokens"), [(1, 2048), (30, 2048), (1024, 1), (12, 5)])
def test_neither_batches_nor_parts_of_a_tree_change_scores(batch_tokens, tree_tokens, monkeypatch):
    encoder = random_encoder(FAMILIES["llama"])
    whole = as_tree(encoder)
    monkeypatch.setattr(generation, "TREE_TOKENS", tree_tokens)
    assert as_tree(encoder, batch_tokens=batch_tokens) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("tree_tokens", [1, 3, 512])
def test_equal_texts_of_a_query_have_equal_scores_in_any_order_and_part(tree_tokens, monkeypatch):
    encoder = random_encoder(FAMILIES["llama"])
    monkeypatch.setattr(generation, "TREE_TOKENS", tree_tokens)
    order = [3, 0, 5, 2, 7, 1, 6, 4]  # 3 and 4 are equal, as far apart as may be
    scores = as_tree(encoder, candidates=[order, [4], [3, 4, 3], []])
    assert scores == pytest.approx(one_by_one(encoder, QUERIES, TEXTS, [order, [4], [3, 4, 3], []]), abs=1e-5)
    assert scores[0] == scores[7]
    assert scores[9] == scores[10] == scores[11]


def test_candidates_are_read_in_the_order_of_the_tree_whatever_theirs(monkeypatch):
    tree = PrefixTree.from_rows(RaggedArray.from_rows(TEXTS))
    candidates = RaggedArray.from_rows([[7, 4, 2, 0, 3, 1], [6, 6]])
    distinct, row_of = generation._distinct(tree, candidates)
    texts = [TEXTS[row] for row in distinct.values]
    assert texts == [[1], [1, 2], [1, 2, 3], [1, 9, 3], [4, 5], [2]]
    assert distinct.lengths.tolist() == [5, 1]
    assert [texts[place] for place in row_of] == [TEXTS[row] for row in candidates.values]


def test_the_vocabulary_in_blocks_changes_nothing():
    encoder = random_encoder(LlamaConfig(**{**FAMILIES["llama"].to_diff_dict(), "vocab_size": 100_000}))
    # 1 MiB holds the logits of two states
    assert as_tree(encoder) == pytest.approx(as_tree(encoder, logit_memory_mib=64), abs=1e-5)


def test_scoring_leaves_a_training_model_in_training_and_draws_no_dropout():
    encoder = random_encoder(FAMILIES["llama"])
    scores = as_tree(encoder)
    encoder.train()
    assert as_tree(encoder).tolist() == scores.tolist()
    assert encoder.training


def test_likelihoods_of_all_texts_of_one_token_sum_to_one():
    encoder = random_encoder(FAMILIES["gpt2"])
    texts = RaggedArray.from_rows([[token] for token in range(320)])
    scores = log_probabilities(
        encoder, RaggedArray.from_rows([[3, 4]]), PrefixTree.from_rows(texts), RaggedArray.from_rows([range(320)]),
        batch_tokens=64, logit_memory_mib=1,
    )  # fmt: skip
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)


def test_a_text_beyond_the_reach_of_attention_is_refused():
    encoder = random_encoder(FAMILIES["mistral"])  # a window of 8 tokens
    with pytest.raises(ValueError, match="has 9 tokens, and the LM's sliding_window is 8"):
        as_tree(encoder)
    short = [[5, 6], [9], [4], [8, 1]]
    assert as_tree(encoder, queries=short) == pytest.approx(one_by_one(encoder, short, TEXTS, CANDIDATES), abs=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(vocab_size=320, hidden_size=16, n_layer=2, n_head=2),  # places from the mask, not from ids
        MambaConfig(vocab_size=320, hidden_size=16, num_hidden_layers=2),  # no keys and values
    ],
    ids=["bloom", "mamba"],
)
def test_an_lm_that_cannot_read_a_tree_is_refused(config):
    with pytest.raises(ValueError, match=r"key: \w+ForCausalLM .*reads? a tree of texts.*; take another, or"):
        check_tree_attention(random_encoder(config), "key", "another")


def test_a_model_that_is_not_finite_is_refused():
    encoder = random_encoder(FAMILIES["llama"])
    with torch.no_grad():
        encoder.causal_lm.lm_head.weight[7] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        as_tree(encoder)


token_rows = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=8)


@given(token_rows)
def test_a_tree_has_one_node_per_distinct_beginning(rows):
    tree = PrefixTree.from_rows(RaggedArray.from_rows(rows))
    beginnings = {tuple(row[:length]) for row in rows for length in range(1, len(row) + 1)}
    assert len(tree.tokens) == len(beginnings)
    for place, row in enumerate(rows):
        path, _ = tree.paths.take(np.array([place]))
        assert tree.tokens[path].tolist() == row
        assert tree.parents[path].tolist() == [ROOT, *path[:-1]]
        assert tree.depths[path].tolist() == list(range(len(row)))
    assert all(tree.parents < np.arange(len(tree.parents)))
    spelt = []  # what each node stands for
    for parent, token in zip(tree.parents.tolist(), tree.tokens.tolist(), strict=True):
        spelt.append((*(spelt[parent] if parent != ROOT else ()), token))
    assert [spelt[node] for node in np.argsort(tree.places)] == sorted(beginnings)
    assert [spelt[node] for node in tree.ends(np.arange(len(rows)))] == [tuple(row) for row in rows]


@given(token_rows, st.data())
def test_a_subtree_reads_each_beginning_with_a_continuation_once(rows, data):
    tree = PrefixTree.from_rows(RaggedArray.from_rows(rows))
    some = st.lists(st.integers(0, len(rows) - 1), max_size=5)
    chosen = data.draw(st.lists(some, min_size=1, max_size=3).filter(any))
    owners = np.array([owner for owner, texts in enumerate(chosen) for _ in texts])
    parts = subtrees(tree, len(chosen), owners, np.array([text for texts in chosen for text in texts]))
    continued = [{tuple(rows[text][:n]) for text in texts for n in range(1, len(rows[text]))} for texts in chosen]
    assert parts.counts.tolist() == [len(beginnings) for beginnings in continued]
    # what a node sees spells the beginning that it stands for
    seen = {}
    for below, above in sorted(zip(parts.descendants.tolist(), parts.ancestors.tolist(), strict=True)):
        seen[below] = (*seen.get(below, ()), int(parts.tokens[above]))
    ends = parts.counts.cumsum()
    for beginnings, first, last in zip(continued, ends - parts.counts, ends, strict=True):
        assert {seen[node] for node in range(first, last)} == beginnings
    # each row's steps spell the row, each predicted from where the row had come to
    place = 0
    for owner, texts in enumerate(chosen):
        for text in texts:
            steps = parts.steps[parts.starts[place] :][: len(rows[text])]
            assert parts.labels[steps].tolist() == rows[text]
            for length, source in enumerate(parts.sources[steps].tolist()):
                assert source == owner if length == 0 else seen[source - len(chosen)] == tuple(rows[text][:length])
            place += 1
