"""Answers by how likely the LM finds them: all options ranked, triples and relations scored."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kalm.config import RankingConfig
from kalm.evaluation.generation import log_probabilities
from kalm.evaluation.ranking import Ranks, filtered_ranks
from kalm.kgqa.asked import Asked
from kalm.kgqa.name_trie import NameTrie
from kalm.model.dual_view_lm import DualViewLM
from kalm.progress import Progress
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray

SCORE = "log p(text and its end | prompt) / length^beta"
TOKENS_AT_ONCE = 2**20  # of options, over some prompts, between two signs of life
NUM_RANKED, TOKENS_RANKED = 100, 2**21  # by default: minutes for a small LM on one CPU core
BYTES_PER_SCORE = 32  # the score, and what is made on the way to it and to its rank

Floats = NDArray[np.float64]


def num_ranked(wanted: int | None, trie: NameTrie) -> int:
    """Questions whose options are all ranked: the wanted ones, else as many as read `TOKENS_RANKED` tokens of names."""
    return min(NUM_RANKED, TOKENS_RANKED // len(trie.tree.tokens)) if wanted is None else wanted


def option_scores(
    encoder: DualViewLM, prompts: RaggedArray, trie: NameTrie, num_options: int, beta: float, config: RankingConfig
) -> Floats:
    """The score of every option after every prompt, (Q, N), see `SCORE`; the best of an option's names counts.

    Each text of the trie is scored once per prompt, so options of one text tie exactly. One that cannot be written has
    the score -inf.
    """
    # one row for each text
    nodes = np.flatnonzero(trie.rows_ending.lengths)
    rows = trie.rows_ending.values[trie.rows_ending.offsets[nodes]].astype(np.int32)
    lengths = trie.tree.paths.lengths_of(rows.astype(np.int64))
    place_of_node = np.empty(len(trie.tree.tokens), dtype=np.int64)
    place_of_node[nodes] = np.arange(len(nodes))
    named = trie.rows_ending.values
    text_of = place_of_node[np.repeat(np.arange(len(trie.tree.tokens)), trie.rows_ending.lengths)]
    scores = np.full((len(prompts), num_options), -np.inf)
    found = (
        log_probabilities(
            encoder,
            prompts,
            trie.tree,
            RaggedArray.from_lengths(np.tile(rows, len(prompts)), np.full(len(prompts), len(rows))),
            batch_tokens=config.batch_tokens,
            logit_memory_mib=config.score_memory_mib,
        ).reshape(len(prompts), -1)
        / lengths**beta
    )
    for row in range(len(prompts)):
        np.maximum.at(scores[row], trie.entity_ids[named], found[row, text_of])
    return scores


def rank_options(
    encoder: DualViewLM,
    prompts: RaggedArray,
    asked: Sequence[Asked],
    trie: NameTrie,
    num_options: int,
    beta: float,
    config: RankingConfig,
    label: str,
) -> list[Ranks]:
    """The filtered ranks of each question's answers: of its own one, or of each that is known.

    Other known answers are left out. Equal prompts are scored once.
    """
    first, place_of = prompts.distinct(np.arange(len(prompts)))
    askers: list[list[int]] = [[] for _ in first]
    for row, place in enumerate(place_of.tolist()):
        askers[place].append(row)
    fitting = config.score_memory_mib * 2**20 // (BYTES_PER_SCORE * num_options)
    block = max(1, min(fitting, TOKENS_AT_ONCE // len(trie.tree.paths.values)))
    ranks: list[Ranks | None] = [None] * len(asked)
    with Progress(label, len(first)) as progress:
        for start in range(0, len(first), block):
            rows = prompts.select(first[start : start + block])
            for place, scores in enumerate(
                torch.from_numpy(option_scores(encoder, rows, trie, num_options, beta, config))
            ):
                for row in askers[start + place]:
                    ranks[row] = question_ranks(scores, asked[row])
            progress.advance(len(rows))
    return [found for found in ranks if found is not None]


def question_ranks(scores: torch.Tensor, question: Asked) -> Ranks:
    """The filtered ranks of one question's answers among the options' scores, (N,): of its own, or of each known."""
    answers = torch.tensor(question.known if question.own is None else [question.own])
    known_rows = torch.arange(len(answers)).repeat_interleave(len(question.known))
    known_ids = torch.tensor(question.known).repeat(len(answers))
    return filtered_ranks(scores.expand(len(answers), -1), answers, known_rows, known_ids)


def text_scores(
    encoder: DualViewLM, prompts: RaggedArray, tree: PrefixTree, texts: Ids, beta: float, config: RankingConfig
) -> Floats:
    """The score, see `SCORE`, of one text of the tree after each prompt, (n,); equal prompts are read once."""
    first, place_of = prompts.distinct(np.arange(len(prompts)))
    pairs, pair_of = np.unique(np.stack([place_of, texts], axis=1), axis=0, return_inverse=True)
    found = log_probabilities(
        encoder,
        prompts.select(first),
        tree,
        RaggedArray.from_lengths(pairs[:, 1].astype(np.int32), np.bincount(pairs[:, 0], minlength=len(first))),
        batch_tokens=config.batch_tokens,
        logit_memory_mib=config.score_memory_mib,
    )
    return np.asarray((found / tree.paths.lengths_of(pairs[:, 1]) ** beta)[pair_of.reshape(-1)])
