"""Answers in words: any text, or names of the graph's entities alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerFast

from kalm.kgqa.beam_search import Ending, Hypothesis, SearchLimits, beam_search
from kalm.kgqa.choices import Choices
from kalm.kgqa.name_trie import NameTrie
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.prefix_tree import ROOT
from kalm.text.ragged import Ids, RaggedArray, run_positions


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer to a prompt.

    Args:
        text: the name that was written, or without a trie what was, with no end token and no space around it.
        entity_ids: all entities of that name; none without a trie.
        log_probability: log p(text and end token | prompt), the sum over the tokens.
        num_tokens: the end token included.
        is_complete: it has ended; without a trie it may have been cut.
    """

    text: str
    entity_ids: tuple[int, ...]
    log_probability: float
    num_tokens: int
    is_complete: bool


def decode(
    encoder: DualViewLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: RaggedArray,
    *,
    names: NameTrie | None,
    num_beams: int,
    num_answers: int,
    max_new_tokens: int,
    end_token_ids: Sequence[int],
    batch_tokens: int,
    logit_memory_mib: int,
) -> list[list[Answer]]:
    """The likeliest answers to each prompt, best first; see `beam_search` for the search and its ties.

    With a trie every answer is a name in it, and each brings an entity that no better one has. A prompt whose beams end
    in fewer than `num_answers` of these is asked again with twice the beams, so fewer come back only if all names
    together have no more. With as many beams as names the answers are those of scoring every name.

    Args:
        encoder, tokenizer: the LM.
        prompts: token rows.
        names: what may be answered; None: anything.
        num_beams: kept at each step.
        num_answers: per prompt, at most `num_beams`.
        max_new_tokens: of an answer without a trie; with one the longest name is the limit.
        end_token_ids: each ends an answer without a trie; in a trie the names have their own.
        batch_tokens: whose keys and values are kept at once.
        logit_memory_mib: MiB for logits over the vocabulary.

    Raises:
        ValueError: see `beam_search`.
    """
    limits = SearchLimits(
        num_beams=num_beams,
        num_answers=num_answers,
        max_new_tokens=max_new_tokens if names is None else names.tree.max_length,
        end_token_ids=end_token_ids,
        batch_tokens=batch_tokens,
        logit_memory_mib=logit_memory_mib,
    )
    if names is None:
        found = beam_search(encoder, prompts, None, limits)
        return [[_free_answer(hypothesis, tokenizer, end_token_ids) for hypothesis in row] for row in found]
    return [
        [_named_answer(hypothesis, names) for hypothesis in row] for row in _walk_names(encoder, prompts, names, limits)
    ]


def _walk_names(
    encoder: DualViewLM, prompts: RaggedArray, names: NameTrie, limits: SearchLimits
) -> list[list[Hypothesis]]:
    def search(rows: RaggedArray) -> list[list[Hypothesis]]:
        return beam_search(encoder, rows, lambda batch: NameWalk(names, len(batch)), limits)

    found = search(prompts)
    while limits.num_beams < names.num_names:
        short = np.array([row for row, own in enumerate(found) if len(own) < limits.num_answers], dtype=np.int64)
        if len(short) == 0:
            break
        limits = replace(limits, num_beams=2 * limits.num_beams)
        for row, own in zip(short.tolist(), search(prompts.select(short)), strict=True):
            found[row] = own
    return found


class NameWalk:
    """Beams in a trie of names.

    Args:
        names: the trie.
        num_prompts: each begins at the root.
    """

    def __init__(self, names: NameTrie, num_prompts: int) -> None:
        self._names = names
        self._nodes = np.full(num_prompts, ROOT, dtype=np.int64)
        self._children = self._nodes[:0]

    def choices(self) -> Choices:
        offsets = self._names.child_offsets
        firsts = offsets[self._nodes - ROOT]
        counts = offsets[self._nodes - ROOT + 1] - firsts
        self._children = run_positions(firsts, counts)
        return Choices(
            beams=np.repeat(np.arange(len(counts)), counts),
            tokens=self._names.tree.tokens[self._children],
            ends=self._names.rows_ending.lengths_of(self._children) > 0,
            goes_on=offsets[self._children - ROOT + 1] > offsets[self._children - ROOT],
        )

    def advance(self, chosen: Ids) -> None:
        self._nodes = self._children[chosen]

    def ending(self, choice: int) -> Ending:
        rows, _ = self._names.rows_ending.take(self._children[[choice]])
        return Ending(self._names.entities(rows), tuple(rows.tolist()))


def _named_answer(hypothesis: Hypothesis, names: NameTrie) -> Answer:
    assert hypothesis.ending is not None, "names are walked"
    return Answer(
        text=names.names[hypothesis.ending.sources[0]],
        entity_ids=hypothesis.ending.entity_ids,
        log_probability=hypothesis.log_probability,
        num_tokens=len(hypothesis.tokens),
        is_complete=hypothesis.is_complete,
    )


def _free_answer(hypothesis: Hypothesis, tokenizer: PreTrainedTokenizerFast, end_token_ids: Sequence[int]) -> Answer:
    written = hypothesis.tokens[:-1] if hypothesis.is_complete else hypothesis.tokens
    # a special token inside an answer stays visible: it is what the LM said
    text = tokenizer.decode(list(written), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Answer(
        text=str(text).strip(),
        entity_ids=(),
        log_probability=hypothesis.log_probability,
        num_tokens=len(hypothesis.tokens),
        is_complete=hypothesis.is_complete,
    )
