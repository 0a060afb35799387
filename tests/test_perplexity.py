"""Raw text: tokens as if tokenised whole, windows that score each token once, bits per byte against a plain loop."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import make_encoder, shared
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kalm.model.loading import load_saved_tokenizer
from kalm.retention import raw_text
from kalm.retention.perplexity import Scored, TextConfig, blocks_of, difference, iter_windows, score_text, summary
from kalm.retention.raw_text import Tokens, read_pieces, text_files, tokenise, windows

WORDS = "ann is fond of\n\n  a cat; É 猫 <s> 🦊🦊 </s>\r\n = gnu =  "


def long_text(seed, size):
    generator = np.random.default_rng(seed)
    return "".join(WORDS[i] if i < len(WORDS) else " the " for i in generator.integers(len(WORDS) + 40, size=size))


def whole(text, tokenizer):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids


def check_pieces(tmp_path, tokenizer, text):
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    blocks = list(tokenise(read_pieces(path), tokenizer))
    assert np.concatenate([block.ids for block in blocks]).tolist() == whole(text, tokenizer)
    starts = np.concatenate([block.starts for block in blocks])
    offsets = tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True,
                        verbose=False).offset_mapping  # fmt: skip
    assert starts.tolist() == [len(text[:start].encode()) for start, _ in offsets]
    return blocks


@pytest.mark.parametrize("bytes_at_once", [900, 2500])
@pytest.mark.parametrize("seed", range(5))
def test_pieces_have_the_tokens_of_the_whole_text(tmp_path, tokenizer, monkeypatch, seed, bytes_at_once):
    monkeypatch.setattr(raw_text, "BYTES_AT_ONCE", bytes_at_once)
    monkeypatch.setattr(raw_text, "OVERLAP", 400)
    assert len(check_pieces(tmp_path, tokenizer, long_text(seed, 4000))) > 2


def test_pieces_that_agree_nowhere_are_tokenised_as_one(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(raw_text, "BYTES_AT_ONCE", 40)
    monkeypatch.setattr(raw_text, "OVERLAP", 30)  # fewer tokens than are to agree
    assert len(check_pieces(tmp_path, tokenizer, long_text(0, 300))) == 1


@pytest.mark.parametrize("name", ["tiny1m", "gpt2-tokenizer"])
def test_pieces_of_wikitext_have_the_tokens_of_the_whole(tmp_path, name, monkeypatch):
    monkeypatch.setattr(raw_text, "BYTES_AT_ONCE", 2**14)
    tokenizer = load_saved_tokenizer(str(shared(f"models/{name}")))
    text = (shared("data/wikitext-2-raw") / "wiki.test.raw").read_text(encoding="utf-8")[:100_000]
    assert len(check_pieces(tmp_path, tokenizer, text)) > 5


def test_text_is_read_as_it_is_needed(tokenizer):
    taken = []

    def pieces():
        for number in range(50):
            taken.append(number)
            yield long_text(number, 5000)

    next(tokenise(pieces(), tokenizer))
    assert len(taken) == 2


@given(
    st.lists(st.integers(1, 9), max_size=4), st.sampled_from([None, 99]), st.integers(1, 6), st.integers(1, 6),
    st.integers(0, 3),
)  # fmt: skip
def test_windows_score_each_token_once_in_as_much_context_as_there_is(blocks, first_token, window, stride, seed):
    stride = min(stride, window)
    sizes = np.random.default_rng(seed).integers(0, 4, size=sum(blocks))  # bytes of each token
    starts = np.cumsum(sizes) - sizes
    ids = np.arange(len(sizes), dtype=np.int32)
    ends = np.cumsum([0, *blocks])
    stream = (Tokens(ids[a:b], starts[a:b]) for a, b in pairwise(ends))
    found = list(windows(stream, file=3, num_bytes=int(sizes.sum()), first_token=first_token, window=window,
                         stride=stride))  # fmt: skip
    before = [] if first_token is None else [first_token]
    sequence = before + ids.tolist()
    expected, known = [], 1
    for at in range(0, len(sequence), stride):
        end = min(at + window + 1, len(sequence))
        if end > known:
            scored = sequence[known:end]
            expected.append((sequence[at:end], len(scored), int(sizes[scored].sum())))
            known = end
    assert [(w.ids.tolist(), w.num_scored, w.num_bytes) for w in found] == expected
    assert sum(w.num_scored for w in found) == max(0, len(sequence) - 1)


@pytest.fixture
def reading(tmp_path):
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    for name, size in (("a.txt", 300), ("deep/b.txt", 77)):
        (tmp_path / "texts" / name).write_bytes(long_text(size, size).encode())
    (tmp_path / "texts" / ".hidden").write_bytes(b"\xff")
    files = text_files(tmp_path / "texts")
    assert [path.name for path in files] == ["a.txt", "b.txt"]
    return TextConfig(files=files, window=24, stride=9, batch_tokens=100, logit_memory_mib=1)


def plain_nats(encoder, ids, window, stride):
    """-log p of all tokens but the first, window by window, by the LM's own forward."""
    total, known = 0.0, 1
    for at in range(0, len(ids), stride):
        part = torch.tensor([ids[at : at + window + 1]])
        if at + part.shape[1] > known:
            with torch.no_grad():
                log_p = encoder.causal_lm(input_ids=part[:, :-1]).logits[0].double().log_softmax(dim=1)
            for place in range(known - at, part.shape[1]):
                total -= float(log_p[place - 1, part[0, place]])
            known = at + part.shape[1]
    return total


def with_start(tokenizer):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<|end|>")


@pytest.mark.parametrize("has_start", [False, True])
def test_bits_per_byte_equal_a_plain_loop_over_windows(tokenizer, reading, has_start):
    tokenizer = with_start(tokenizer) if has_start else tokenizer
    encoder = make_encoder(tokenizer).eval()
    nats, num_tokens, num_bytes = 0.0, 0, 0
    for path in reading.files:
        text = path.read_bytes().decode()
        ids = [tokenizer.bos_token_id] * has_start + whole(text, tokenizer)
        nats += plain_nats(encoder, ids, reading.window, reading.stride)
        num_tokens += len(ids) - 1
        first = (
            0 if has_start else len(text[: tokenizer(text, return_offsets_mapping=True).offset_mapping[1][0]].encode())
        )
        num_bytes += len(text.encode()) - first
    scored = score_text(encoder, tokenizer, reading, "text")
    found = summary(scored)
    assert (scored.num_tokens.sum(), scored.num_bytes.sum()) == (num_tokens, num_bytes)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / num_bytes, abs=1e-4)
    assert found["perplexity_per_token"] == pytest.approx(math.exp(nats / num_tokens), rel=1e-4)
    for batch_tokens in (30, 10_000):
        again = score_text(encoder, tokenizer, replace(reading, batch_tokens=batch_tokens), "text")
        np.testing.assert_allclose(again.nats, scored.nats, atol=1e-4)


def test_tokens_that_stand_for_any_text_are_counted(tmp_path):
    words = {"<unk>": 0, "<s>": 1, "a": 2, "cat": 3}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>")
    (tmp_path / "text").write_text("a cat eats a moth")
    reading = TextConfig(files=[tmp_path / "text"], window=3, stride=2, batch_tokens=9, logit_memory_mib=1)
    scored = score_text(make_encoder(tokenizer).eval(), tokenizer, reading, "text")
    assert (scored.num_unknown.sum(), scored.num_tokens.sum(), scored.num_bytes.sum()) == (2, 5, 17)


def test_neighbouring_windows_of_a_file_are_drawn_together(monkeypatch):
    files = np.array([0] * 250 + [1] * 3 + [2] * 100)
    ones = np.ones(len(files), dtype=np.int64)
    scored = Scored(files, ones, ones * 4, ones * 0, ones * 1.0)
    blocks = blocks_of(scored)
    expected, size = [], 4  # 353 windows in about 100 blocks
    for file in range(3):
        expected += [(file, place // size) for place in range((files == file).sum())]
    names = {pair: number for number, pair in enumerate(dict.fromkeys(expected), start=1)}
    assert blocks.tolist() == [names[pair] for pair in expected]
    assert summary(scored)["bits_per_byte"] == pytest.approx(1 / math.log(2) / 4)
    assert difference(scored, replace(scored, nats=ones * 3.0))["difference"] == pytest.approx(2 / math.log(2) / 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "there is no file or folder"),
        ("empty", b"", "is empty"),
        ("bad", b"one\ntwo\nth\xffree", r"bad:3: not UTF-8"),
        ("cut", b"one\n\xe7\x8c", r"cut:2: not UTF-8"),
        ("short", b"a", "fewer than 2 tokens"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(tmp_path, tokenizer, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        reading = TextConfig(files=text_files(tmp_path / name), window=4, stride=2, batch_tokens=9, logit_memory_mib=1)
        list(iter_windows(tokenizer, reading))


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no file"):
        text_files(tmp_path)
