"""Options ranked and triples judged by likelihood, against one text at a time."""

import numpy as np
import pytest
import torch
from conftest import NAMES, made_decisive, make_encoder

from kalm.config import QaTask
from kalm.kgqa.asked import Asked, ask_entities
from kalm.kgqa.likelihood import NUM_RANKED, num_ranked, option_scores, rank_options, text_scores
from kalm.kgqa.name_trie import NameTrie
from kalm.kgqa.options import own_entities
from kalm.kgqa.prompts import OwnPrompts
from kalm.kgqa.scoring import Vocabulary
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import RaggedArray

ALIASES = {0: ["Annie"], 3: ["ivy"]}
BETAS = pytest.mark.parametrize("beta", [1.0, 0.5, 0.0])  # mean per token; between; of the whole text


@pytest.fixture(scope="module")
def wide_encoder(tokenizer):
    return made_decisive(make_encoder(tokenizer))


@torch.no_grad()
def score_alone(encoder, prompt, text, beta):
    """Log p(text | prompt) / length^beta."""
    logits = encoder.causal_lm(torch.tensor([[*prompt, *text]])).logits[0].double().log_softmax(dim=1)
    places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
    return sum(float(logits[place, token]) for place, token in zip(places, text, strict=True)) / len(text) ** beta


@pytest.fixture(scope="module")
def options(toy_graph, table, template, tokenizer):
    return own_entities(toy_graph, Vocabulary(list(NAMES.values()), ALIASES), table, template, tokenizer)


@pytest.fixture(scope="module")
def asked(toy_graph):
    triples = toy_graph.triples["train"][:5]
    return [
        question for task in (QaTask.tail, QaTask.head)
        for question in ask_entities(toy_graph, triples, task, ["train", "valid", "test"])
    ]  # fmt: skip


@pytest.fixture(scope="module")
def prompts(asked, table, template, tokenizer):
    writer = OwnPrompts(table, template, tokenizer)
    return RaggedArray.from_rows([writer.tokens(question, []) for question in asked])


def by_hand(encoder, tokenizer, prompt, beta):
    """Score of each entity: the best of its names, written alone."""
    scores = []
    for place, name in enumerate(NAMES.values()):
        texts = [[*tokenizer(f" {text}", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
                 for text in (name, *ALIASES.get(place, ()))]  # fmt: skip
        scores.append(max(score_alone(encoder, prompt, text, beta) for text in texts))
    return scores


def rows_of(prompts):
    return [
        prompts.values[start:stop].tolist() for start, stop in zip(prompts.offsets, prompts.offsets[1:], strict=False)
    ]


@BETAS
def test_scores_equal_each_name_alone(wide_encoder, prompts, options, tokenizer, ranking, beta):
    scores = option_scores(wide_encoder, prompts, options.trie, len(NAMES), beta, ranking)
    for row, prompt in zip(scores, rows_of(prompts), strict=True):
        assert row == pytest.approx(by_hand(wide_encoder, tokenizer, prompt, beta), abs=1e-5)
    assert (scores[:, 3] >= scores[:, 4]).all(), "both are `a dog`, and one is `ivy` too"


@BETAS
def test_ranks_equal_a_loop_with_the_filter_and_the_ties_of_kgc(
    wide_encoder, prompts, asked, options, tokenizer, ranking, beta
):
    ranks = rank_options(wide_encoder, prompts, asked, options.trie, len(NAMES), beta, ranking, "test")
    assert len(ranks) == len(asked)
    for found, question, prompt in zip(ranks, asked, rows_of(prompts), strict=True):
        scores = by_hand(wide_encoder, tokenizer, prompt, beta)
        rivals = [scores[place] for place in range(10) if place not in question.known]
        better = sum(score > scores[question.own] + 1e-7 for score in rivals)
        tied = sum(abs(score - scores[question.own]) <= 1e-7 for score in rivals)
        assert [column.item() for column in found] == [better + 1, better + tied + 1, len(rivals) + 1]


def test_options_of_one_text_tie(wide_encoder, prompts, table, template, tokenizer, toy_graph, ranking):
    trie = NameTrie.of_tails(toy_graph, table, tokenizer)
    scores = option_scores(wide_encoder, prompts, trie, len(NAMES), 1.0, ranking)
    assert (scores[:, 3] == scores[:, 4]).all()
    # one of the two is asked for, and the other is no known answer
    question = Asked(task="tail", number=0, own=3, known=(3,))
    (found,) = rank_options(
        wide_encoder, RaggedArray.from_rows(rows_of(prompts)[:1]), [question], trie, 10, 1.0, ranking, ""
    )
    assert found.pessimistic.item() == found.optimistic.item() + 1


def test_every_right_answer_of_a_question_is_ranked_without_the_others(wide_encoder, prompts, options, ranking):
    question = Asked(task="question", number=0, known=(2, 6, 7))
    one = RaggedArray.from_rows(rows_of(prompts)[:1])
    (found,) = rank_options(wide_encoder, one, [question], options.trie, 10, 1.0, ranking, "")
    scores = option_scores(wide_encoder, one, options.trie, 10, 1.0, ranking)[0]
    rivals = np.delete(scores, [2, 6, 7])
    assert found.optimistic.tolist() == [int((rivals > scores[own]).sum()) + 1 for own in (2, 6, 7)]
    assert found.num_candidates.tolist() == [8, 8, 8]


def test_an_option_that_cannot_be_written_comes_last(wide_encoder, prompts, ranking):
    trie = NameTrie.build(RaggedArray.from_rows([[5, 2], [], [6, 2]]), ["x", "", "y"], np.arange(3))
    scores = option_scores(wide_encoder, prompts, trie, 3, 1.0, ranking)
    assert np.isneginf(scores[:, 1]).all()
    assert np.isfinite(scores[:, [0, 2]]).all()


def test_by_default_fewer_questions_are_ranked_the_more_names_are_read(options, monkeypatch):
    num_tokens = len(options.trie.tree.tokens)
    assert num_ranked(None, options.trie) == NUM_RANKED
    for budget, expected in ((10 * num_tokens, 10), (10 * num_tokens - 1, 9), (num_tokens - 1, 0)):
        monkeypatch.setattr("kalm.kgqa.likelihood.TOKENS_RANKED", budget)
        assert num_ranked(None, options.trie) == expected
    assert [num_ranked(wanted, options.trie) for wanted in (0, 5, 10**6)] == [0, 5, 10**6]


def test_blocks_of_prompts_change_no_rank(wide_encoder, prompts, asked, options, ranking, monkeypatch):
    def rank():
        found = rank_options(wide_encoder, prompts, asked, options.trie, len(NAMES), 1.0, ranking, "")
        return [[column.item() for column in row] for row in found]

    whole = rank()
    monkeypatch.setattr("kalm.kgqa.likelihood.BYTES_PER_SCORE", 2**20)
    assert rank() == whole


@BETAS
def test_texts_after_prompts_equal_each_alone(wide_encoder, prompts, table, ranking, beta):
    rows = rows_of(prompts)
    twice = RaggedArray.from_rows([*rows, *rows[:3]])
    texts = np.array([*range(len(rows)), 7, 1, 7])[: len(twice)] % len(NAMES)
    found = text_scores(wide_encoder, twice, PrefixTree.from_rows(table.tails), texts, beta, ranking)
    for value, prompt, text in zip(found, [*rows, *rows[:3]], texts.tolist(), strict=True):
        tail = table.tails.values[table.tails.offsets[text] : table.tails.offsets[text + 1]].tolist()
        assert value == pytest.approx(score_alone(wide_encoder, prompt, tail, beta), abs=1e-5)
