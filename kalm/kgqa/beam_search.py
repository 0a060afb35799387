"""Beam search over many prompts at once, free or along whatever a walk allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.evaluation.encoding import batches_by_cost
from kalm.evaluation.generation import ReadQueries, check_reach, check_tree_attention, read_queries
from kalm.kgqa.choices import Choices, scored_choices
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import max_positions
from kalm.text.ragged import Ids, RaggedArray

NUM_SHOWN = 5  # prompts that a message names


class Ending(NamedTuple):
    """What a walk says of an answer that has ended."""

    entity_ids: tuple[int, ...]
    sources: tuple[Any, ...]  # rows of the trie, or paths: whatever the walk knows more


class Walk(Protocol):
    """What may be written, for some prompts at a time; it keeps the places of the present beams."""

    def choices(self) -> Choices:
        """What may follow each beam; at first the beams are the prompts."""

    def advance(self, chosen: Ids) -> None:
        """Go on with these of the last choices, which become the beams."""

    def ending(self, choice: int) -> Ending:
        """The answer that one of the last choices ends."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One answer as tokens.

    Args:
        tokens: with the end token, where there is one.
        log_probability: the sum over the tokens.
        is_complete: it has ended; else it was cut.
        ending: what the walk says of it; None without a walk.
    """

    tokens: tuple[int, ...]
    log_probability: float
    is_complete: bool
    ending: Ending | None


@dataclass(kw_only=True, slots=True)
class SearchLimits:
    """How far a search goes, and how much it does at once.

    Args:
        num_beams: kept at each step per prompt.
        num_answers: wanted per prompt, at most `num_beams`.
        max_new_tokens: of an answer, its end token included.
        end_token_ids: each ends an answer; read without a walk only.
        batch_tokens: whose keys and values are kept at once.
        logit_memory_mib: MiB for logits over the vocabulary.
    """

    num_beams: int
    num_answers: int
    max_new_tokens: int
    batch_tokens: int
    logit_memory_mib: int
    end_token_ids: Sequence[int] = ()

    def __post_init__(self) -> None:
        for name in ("num_beams", "num_answers", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_answers > self.num_beams:
            raise ValueError(f"num_answers must be at most num_beams={self.num_beams}, got {self.num_answers}")


@dataclass(slots=True)
class _Beams:
    """The W living beams of B prompts, prompt by prompt and the likeliest first."""

    owners: Ids  # (W,), the prompt of each
    scores: NDArray[np.float64]  # (W,), sums of log-probabilities
    tokens: Ids  # (W, tokens written so far)
    finished: list[list[Hypothesis]] = field(default_factory=list)  # per prompt


def beyond_window(encoder: DualViewLM, prompts: RaggedArray, max_new_tokens: int | Ids) -> Ids:
    """The prompts that leave no room for so many tokens, of all or of each, in the LM's window."""
    limit = max_positions(encoder)
    # the last token that is written is never read
    return np.flatnonzero(prompts.lengths + max_new_tokens - 1 > (np.inf if limit is None else limit))


@torch.no_grad()
def beam_search(
    encoder: DualViewLM, prompts: RaggedArray, start_walk: Callable[[Ids], Walk] | None, limits: SearchLimits
) -> list[list[Hypothesis]]:
    """The likeliest answers to each prompt, best first.

    At each step the `num_beams` likeliest continuations of a prompt's beams are looked at: those that end are
    finished, and the `num_beams` likeliest that go on live. A prompt is done when `num_answers` different answers
    are at least as likely as its best living beam, which can only become less likely. This is what transformers'
    `generate(num_beams=..., length_penalty=0)` does.

    Equal log-probabilities: the answer that ended earlier comes first, then that of the better beam, then that of the
    lower token id. Two answers differ if the second one brings an entity that the first has not.

    Args:
        encoder: the LM.
        prompts: token rows of any lengths.
        start_walk: rows of prompts -> the walk that their answers follow; None: any token may follow.
        limits: of the search.

    Raises:
        ValueError: a prompt is empty, or it and its answer have more tokens than the LM's window or its attention's
            reach; the LM keeps no keys and values; or a log-probability is not finite.
    """
    if len(prompts) == 0:
        return []
    answers: list[list[Hypothesis]] = [[] for _ in range(len(prompts))]
    costs = (prompts.lengths + limits.max_new_tokens) * limits.num_beams
    with encoder.without_dropout():
        _check(encoder, prompts, limits)
        for rows in batches_by_cost(costs, limits.batch_tokens):
            read = read_queries(encoder, *prompts.take(rows))
            walk = None if start_walk is None else start_walk(rows)
            for row, found in zip(rows.tolist(), _search(encoder, read, walk, limits), strict=True):
                answers[row] = _best(found)[: limits.num_answers]
    return answers


def _check(encoder: DualViewLM, prompts: RaggedArray, limits: SearchLimits) -> None:
    if not prompts.lengths.all():
        raise ValueError(f"prompt {int(prompts.lengths.argmin())} has no token")
    if len(rows := beyond_window(encoder, prompts, limits.max_new_tokens)):
        shown = ", ".join(str(row) for row in rows[:NUM_SHOWN]) + (", ..." if len(rows) > NUM_SHOWN else "")
        raise ValueError(
            f"{len(rows)} of {len(prompts)} prompts leave no room for {limits.max_new_tokens} new tokens in the LM's "
            f"{max_positions(encoder)} positions: prompts {shown}; the longest has {int(prompts.lengths.max())} "
            "tokens; shorten them, or lower the number of new tokens"
        )
    check_reach(encoder, int(prompts.lengths.max()) + limits.max_new_tokens)
    check_tree_attention(encoder, "decoding", "scores by embedding")


def _search(encoder: DualViewLM, read: ReadQueries, walk: Walk | None, limits: SearchLimits) -> list[list[Hypothesis]]:
    """All finished answers to each prompt that was read."""
    num_prompts = len(read.lengths)
    beams = _Beams(np.arange(num_prompts), np.zeros(num_prompts), np.empty((num_prompts, 0), dtype=np.int64))
    beams.finished = [[] for _ in range(num_prompts)]
    enough = np.full(num_prompts, -np.inf)  # the score of the last answer wanted, as soon as there are so many
    positions = torch.arange(read.cache.get_seq_length(), device=read.states.device)
    is_padding = positions >= read.lengths[:, None]  # (B, P)
    states = read.states
    for step in range(limits.max_new_tokens):
        choices, gains = scored_choices(
            encoder, states, None if walk is None else walk.choices(), num_wanted=limits.num_beams,
            end_token_ids=limits.end_token_ids, memory_mib=limits.logit_memory_mib,
        )  # fmt: skip
        scores = beams.scores[choices.beams] + gains
        owners = beams.owners[choices.beams]
        order = np.lexsort((-scores, owners))  # stable, so that ties stay as the docstring says
        is_last = step + 1 == limits.max_new_tokens
        top = _first_of_each(order, owners, limits.num_beams)
        ended = top if is_last and walk is None else top[choices.ends[top]]
        for choice in ended.tolist():
            found = beams.finished[owners[choice]]
            found.append(_hypothesis(beams, choices, choice, float(scores[choice]), walk))
            if len(found) >= limits.num_answers:
                wanted = _best(found)[limits.num_answers - 1 : limits.num_answers]
                enough[owners[choice]] = wanted[0].log_probability if wanted else -np.inf
        alive = _first_of_each(order[choices.goes_on[order]], owners, limits.num_beams)
        best = np.full(num_prompts, -np.inf)
        np.maximum.at(best, owners[alive], scores[alive])
        alive = alive[(enough < best)[owners[alive]]]
        if is_last or len(alive) == 0:
            break
        parents = choices.beams[alive]
        beams.tokens = np.concatenate([beams.tokens[parents], choices.tokens[alive, None]], axis=1)
        beams.owners, beams.scores = owners[alive], scores[alive]
        if walk is not None:
            walk.advance(alive)
        read.cache.batch_select_indices(torch.from_numpy(parents).to(states.device))
        states = _next_states(encoder, read, is_padding, beams)
    return beams.finished


def _first_of_each(order: Ids, owners: Ids, count: int) -> Ids:
    """The first so many of each owner in an order that has owners ascending."""
    sorted_owners = owners[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_owners, sorted_owners)
    return order[place < count]


def _hypothesis(beams: _Beams, choices: Choices, choice: int, score: float, walk: Walk | None) -> Hypothesis:
    tokens = (*beams.tokens[choices.beams[choice]].tolist(), int(choices.tokens[choice]))
    ending = None if walk is None else walk.ending(choice)
    return Hypothesis(tokens, score, bool(choices.ends[choice]), ending)


def _best(found: list[Hypothesis]) -> list[Hypothesis]:
    """Best first, without those that bring no entity which a better one has not."""
    seen: set[int] = set()
    different = []
    for hypothesis in sorted(found, key=lambda hypothesis: -hypothesis.log_probability):
        entities = () if hypothesis.ending is None else hypothesis.ending.entity_ids
        if hypothesis.ending is None or not seen.issuperset(entities):
            different.append(hypothesis)
            seen.update(entities)
    return different


def _next_states(encoder: DualViewLM, read: ReadQueries, is_padding: Tensor, beams: _Beams) -> Tensor:
    """States at the beams' last tokens, (W, D), which join the cache."""
    device = is_padding.device
    owners = torch.from_numpy(beams.owners).to(device)
    num_written = beams.tokens.shape[1]
    # additive, as every attention takes it
    hidden = torch.finfo(read.states.dtype).min
    mask = torch.zeros(len(owners), is_padding.shape[1] + num_written, dtype=read.states.dtype, device=device)
    mask[:, : is_padding.shape[1]].masked_fill_(is_padding[owners], hidden)
    states: Tensor = encoder.causal_lm.base_model(
        input_ids=torch.from_numpy(beams.tokens[:, -1:]).to(device),
        position_ids=read.lengths[owners, None] + num_written - 1,
        attention_mask=mask[:, None, None],
        past_key_values=read.cache,
        use_cache=True,
    ).last_hidden_state
    return states[:, 0]
