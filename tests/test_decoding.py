"""Beam search, free and in a trie, against plain searches over whole texts."""

import itertools

import numpy as np
import pytest
import torch
from test_dual_view_lm import FAMILIES
from test_generation import WIDE_FAMILIES, random_encoder
from transformers import BloomConfig

from kalm.evaluation.generation import log_probabilities
from kalm.kgqa.beam_search import beyond_window
from kalm.kgqa.decoding import decode
from kalm.kgqa.name_trie import NameTrie
from kalm.text.ragged import RaggedArray

END = 2
# beginnings of one another; one of three entities; an alias of entity 0
NAMES = [[5], [5, 6], [5, 6, 7], [8, 9], [8, 9], [8, 9], [10, 11, 12], [10, 11, 13], [14], [15, 5, 6]]
ENTITIES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]
PROMPTS = [[5, 6, 7], [9], [4, 4, 4, 4, 4], [8, 1], [8, 1]]


def trie(end=(END,)):
    rows = RaggedArray.from_rows([[*name, *end] for name in NAMES])
    return NameTrie.build(rows, [str(name) for name in NAMES], np.array(ENTITIES))


def answers(encoder, names, tokenizer=None, prompts=PROMPTS, **changes):
    arguments = {"num_beams": 4, "num_answers": 3, "max_new_tokens": 6, "end_token_ids": [END], "batch_tokens": 4096,
                 "logit_memory_mib": 1, **changes}  # fmt: skip
    return decode(encoder, tokenizer, RaggedArray.from_rows(prompts), names=names, **arguments)


def exhaustive(encoder, names, prompt):
    """Every name scored, best first, without those that bring no entity that a better one has not."""
    rows = range(len(NAMES))
    scores = log_probabilities(
        encoder, RaggedArray.from_rows([prompt]), names.tree, RaggedArray.from_rows([rows]), batch_tokens=4096,
        logit_memory_mib=1,
    )  # fmt: skip
    merged = {}  # equal texts are one answer
    for row, score in zip(rows, scores.tolist(), strict=True):
        merged.setdefault(tuple(NAMES[row]), (score, set()))[1].add(ENTITIES[row])
    seen, kept = set(), []
    for score, entities in sorted(merged.values(), key=lambda pair: -pair[0]):
        if not entities <= seen:
            kept.append((tuple(sorted(entities)), score))
            seen |= entities
    return kept


@torch.no_grad()
def next_log_probabilities(encoder, tokens):
    return encoder.causal_lm(torch.tensor([tokens])).logits[0, -1].double().log_softmax(dim=0)


def plain_beam_search(encoder, prompt, allowed, num_beams, max_new_tokens, end):
    """One prompt, whole texts read anew at each step. `allowed(written)` -> the tokens that may follow."""
    beams, finished = [((), 0.0)], []
    for step in range(max_new_tokens):
        candidates = []
        for written, score in beams:
            log_probabilities = next_log_probabilities(encoder, [*prompt, *written])
            candidates += [((*written, token), score + float(log_probabilities[token])) for token in allowed(written)]
        candidates.sort(key=lambda candidate: -candidate[1])
        is_last = step + 1 == max_new_tokens
        finished += [found for found in candidates[:num_beams] if found[0][-1] == end or is_last]
        beams = [found for found in candidates if found[0][-1] != end][:num_beams]
        if not beams:
            break
    return sorted(finished, key=lambda found: -found[1])


def allowed_in(rows):
    return lambda written: sorted({row[len(written)] for row in rows
                                   if len(row) > len(written) and tuple(row[: len(written)]) == written})  # fmt: skip


@pytest.mark.parametrize("family", WIDE_FAMILIES)
def test_with_as_many_beams_as_names_the_answers_are_those_of_scoring_each(family):
    if WIDE_FAMILIES[family] is None:
        pytest.skip("its attention is too short")
    encoder = random_encoder(WIDE_FAMILIES[family])
    names = trie()
    for prompt, found in zip(PROMPTS, answers(encoder, names, num_beams=10, num_answers=9), strict=True):
        expected = exhaustive(encoder, names, prompt)
        assert [answer.entity_ids for answer in found] == [entities for entities, _ in expected]
        scores = [score for _, score in expected]
        assert [answer.log_probability for answer in found] == pytest.approx(scores, abs=1e-4)
        assert all(answer.is_complete for answer in found)


def test_names_without_an_end_token_are_still_all_found():
    encoder = random_encoder(FAMILIES["llama"])
    names = trie(end=())
    for prompt, found in zip(PROMPTS, answers(encoder, names, num_beams=10, num_answers=9), strict=True):
        expected = exhaustive(encoder, names, prompt)
        assert sorted(answer.entity_ids for answer in found) == sorted(entities for entities, _ in expected)
        scores = [score for _, score in expected]
        assert [answer.log_probability for answer in found] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("num_beams", [1, 2, 3])
def test_few_beams_take_the_steps_of_a_plain_search(num_beams):
    encoder = random_encoder(FAMILIES["llama"])
    allowed = allowed_in([[*name, END] for name in NAMES])
    for prompt, found in zip(PROMPTS, answers(encoder, trie(), num_beams=num_beams, num_answers=1), strict=True):
        (tokens, score), *_ = plain_beam_search(encoder, prompt, allowed, num_beams, 9, END)
        assert found[0].text == str(list(tokens[:-1]))
        assert found[0].log_probability == pytest.approx(score, abs=1e-4)
        assert found[0].num_tokens == len(tokens)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_free_search_is_that_of_transformers(family, num_beams, tokenizer):
    encoder = random_encoder(FAMILIES[family])
    # an end that comes early in some answers and in some not
    end = [int(next_log_probabilities(encoder, PROMPTS[0]).argsort()[-2])]
    found = answers(encoder, None, tokenizer, num_beams=num_beams, num_answers=num_beams, end_token_ids=end)
    lm = encoder.causal_lm
    for prompt, own in zip(PROMPTS, found, strict=True):
        sequences = lm.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), num_beams=num_beams,
            num_return_sequences=num_beams, do_sample=False, max_new_tokens=6, length_penalty=0.0, pad_token_id=0,
            eos_token_id=end, early_stopping="never" if num_beams > 1 else False,
        )  # fmt: skip
        written = [row[len(prompt) :].tolist() for row in sequences]
        ended = [row[: row.index(end[0])] if end[0] in row else row for row in written]
        expected = [tokenizer.decode(row, skip_special_tokens=False).strip() for row in ended]
        assert [answer.text for answer in own] == expected
        assert [answer.is_complete for answer in own] == [end[0] in row for row in written]


def test_free_answers_are_those_of_a_plain_search(tokenizer):
    encoder = random_encoder(FAMILIES["llama"])
    for prompt, found in zip(PROMPTS, answers(encoder, None, tokenizer, num_answers=4), strict=True):
        expected = plain_beam_search(encoder, prompt, lambda _: range(320), 4, 6, END)
        assert [answer.log_probability for answer in found] == pytest.approx(
            [score for _, score in expected[:4]], abs=1e-4
        )
        assert [answer.num_tokens for answer in found] == [len(tokens) for tokens, _ in expected[:4]]


@pytest.mark.parametrize("changes", [{"batch_tokens": 1}, {"batch_tokens": 60}, {"prompts": PROMPTS[::-1]}])
def test_neither_batches_nor_their_order_change_answers(changes, tokenizer):
    encoder = random_encoder(FAMILIES["llama"])
    for names in (trie(), None):
        whole = answers(encoder, names, tokenizer)
        other = answers(encoder, names, tokenizer, **changes)
        other = other[::-1] if "prompts" in changes else other
        for row, again in zip(whole, other, strict=True):
            assert [answer.text for answer in row] == [answer.text for answer in again]
            assert [answer.log_probability for answer in row] == pytest.approx(
                [answer.log_probability for answer in again], abs=1e-4
            )


def test_an_answer_is_asked_for_again_with_more_beams_until_enough_entities_are_found():
    encoder = random_encoder(FAMILIES["llama"])
    # entity 0 has all the short names: a narrow beam ends in nothing else
    rows = [[token, END] for token in range(5, 25)] + [[30, 31, 32, 33, END], [30, 31, 32, 34, END]]
    ids = np.array([0] * 20 + [1, 2])
    names = NameTrie.build(RaggedArray.from_rows(rows), [str(row) for row in rows], ids)
    for found in answers(encoder, names, num_beams=3, num_answers=3):
        assert sorted(answer.entity_ids for answer in found) == [(0,), (1,), (2,)]
    for found in answers(encoder, names, num_beams=32, num_answers=4):
        assert len(found) == 3, "there are no more"


def test_equal_log_probabilities_are_ordered_by_token(tokenizer):
    encoder = random_encoder(FAMILIES["llama"])
    with torch.no_grad():
        encoder.causal_lm.get_output_embeddings().weight.zero_()
    rows = RaggedArray.from_rows([[token, END] for token in (30, 7, 300, 12, 8)])
    names = NameTrie.build(rows, ["30", "7", "300", "12", "8"], np.arange(5))
    found = answers(encoder, names, num_beams=3, num_answers=3)
    assert [[answer.text for answer in row] for row in found] == [["7", "8", "12"]] * len(PROMPTS)
    free = answers(encoder, None, tokenizer, num_beams=3, max_new_tokens=1, end_token_ids=[0, 1, 2])
    assert all(row == free[0] and all(answer.is_complete for answer in row) for row in free)


def test_no_answer_of_a_trie_is_outside_it_and_none_comes_twice():
    encoder = random_encoder(FAMILIES["gpt2"])
    texts = {
        str(name): {entity for other, entity in zip(NAMES, ENTITIES, strict=True) if other == name} for name in NAMES
    }
    for num_beams, num_answers in itertools.product([1, 3, 6], [1, 3, 6]):
        if num_answers <= num_beams:
            for found in answers(encoder, trie(), num_beams=num_beams, num_answers=num_answers):
                assert len(found) == num_answers
                assert len({answer.text for answer in found}) == num_answers
                assert all(texts[answer.text] == set(answer.entity_ids) for answer in found)


def test_decoding_leaves_a_training_model_in_training():
    encoder = random_encoder(FAMILIES["llama"])
    before = answers(encoder, trie())
    encoder.train()
    assert answers(encoder, trie()) == before
    assert encoder.training


def test_no_prompts_have_no_answers():
    assert answers(random_encoder(FAMILIES["llama"]), trie(), prompts=[]) == []


def test_prompts_without_room_for_an_answer_are_named_before_anything_is_decoded(tokenizer, encoder):
    prompts = [[3] * length for length in (5, 60, 61, 64)]  # 64 positions
    assert beyond_window(encoder, RaggedArray.from_rows(prompts), 5).tolist() == [2, 3]
    with pytest.raises(
        ValueError, match=r"2 of 4 prompts leave no room for 5 new tokens in the LM's 64 positions: prompts 2, 3"
    ):
        answers(encoder, None, tokenizer, prompts=prompts, max_new_tokens=5)
    assert len(answers(encoder, None, tokenizer, prompts=prompts[:2], max_new_tokens=5)) == 2


def test_an_attention_that_is_too_short_is_refused(tokenizer):
    with pytest.raises(ValueError, match="the LM's sliding_window is 8"):
        answers(random_encoder(FAMILIES["mistral"]), None, tokenizer, max_new_tokens=20)


def test_an_lm_without_position_ids_is_refused(tokenizer):
    bloom = BloomConfig(vocab_size=320, hidden_size=16, n_layer=2, n_head=2)
    with pytest.raises(ValueError, match=r"decoding: BloomForCausalLM .*reads? a tree"):
        answers(random_encoder(bloom), None, tokenizer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_answers": 5}, "num_answers must be at most num_beams=4, got 5"),
        ({"num_beams": 0}, "num_beams must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"prompts": [[1], []]}, "prompt 1 has no token"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        answers(random_encoder(FAMILIES["llama"]), None, tokenizer, **changes)


def test_a_model_that_is_not_finite_is_refused():
    encoder = random_encoder(FAMILIES["llama"])
    with torch.no_grad():
        encoder.causal_lm.lm_head.weight[5] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        answers(encoder, trie())
