"""How likely the LM finds the text of a candidate after a query."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from kalm.evaluation.encoding import batches_by_cost
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.batch import pad_rows
from kalm.text.prefix_tree import PrefixTree, Subtrees, subtrees
from kalm.text.ragged import Ids, RaggedArray, run_positions

# candidates' tokens that are read in one forward for one query: attention over a tree is quadratic in them; four times
# as many take half as long again with a small LM
TREE_TOKENS = 512
REACHES = ("sliding_window", "attention_chunk_size", "window_size")  # what LMs call the span of a layer's attention


class ReadQueries(NamedTuple):
    """B queries that the LM has read, padded on the right to P tokens."""

    cache: DynamicCache  # keys and values at all P
    states: Tensor  # (B, D), at each query's last token
    lengths: Tensor  # (B,), int64


@torch.no_grad()
def log_probabilities(
    encoder: DualViewLM,
    queries: RaggedArray,
    tree: PrefixTree,
    candidates: RaggedArray,
    *,
    batch_tokens: int,
    logit_memory_mib: int,
) -> NDArray[np.float64]:
    """How likely each query's candidates are: log p(text | query), the sum over the text's tokens.

    A query is read once and its keys and values are kept. Then the tree of its candidates' texts is read in one
    forward, or in parts, in which a token sees the query and its own ancestors. Texts that begin alike stand side by
    side there and share the work. Equal texts of a query are read once: their scores are equal to the last bit.

    Args:
        encoder: the LM.
        queries: token rows, Q of them.
        tree: of all texts, such as the tails of a token table.
        candidates: rows of the tree to score, per query; each has a token.
        batch_tokens: tokens encoded at once, padding included.
        logit_memory_mib: MiB for logits over the vocabulary.

    Returns:
        (number of candidates,), float64, query by query.

    Raises:
        ValueError: the LM's attention does not reach over query and text, or a result is not finite.
    """
    check_reach(encoder, int(queries.lengths.max(initial=0)) + tree.max_length)
    candidates, row_of = _distinct(tree, candidates)
    # tokens of candidates before each, from its query's first on
    num_tokens = np.concatenate([[0], tree.paths.lengths_of(candidates.values.astype(np.int64)).cumsum()])
    tree_tokens = np.diff(num_tokens[candidates.offsets])
    earlier = num_tokens[:-1] - np.repeat(num_tokens[candidates.offsets[:-1]], candidates.lengths)
    scores = np.empty(len(candidates.values))
    with encoder.without_dropout():
        for rows in batches_by_cost(queries.lengths + np.minimum(tree_tokens, TREE_TOKENS), batch_tokens):
            read = read_queries(encoder, *queries.take(rows))
            places = run_positions(candidates.offsets[rows], candidates.lengths_of(rows))
            owners = np.repeat(np.arange(len(rows)), candidates.lengths_of(rows))
            parts = earlier[places] // TREE_TOKENS
            for part in range(int(parts.max(initial=-1)) + 1):
                chosen = parts == part
                texts = candidates.values[places[chosen]].astype(np.int64)
                parts_of_tree = subtrees(tree, len(rows), owners[chosen], texts)
                scores[places[chosen]] = _score(encoder, read, parts_of_tree, logit_memory_mib)
    check_finite(scores)
    return np.asarray(scores[row_of])


def _distinct(tree: PrefixTree, candidates: RaggedArray) -> tuple[RaggedArray, Ids]:
    """Each query's different texts in the tree's order; and for each candidate which of all these is its text."""
    owners = np.repeat(np.arange(len(candidates)), candidates.lengths)
    ends = tree.ends(candidates.values.astype(np.int64))
    keys = owners * len(tree.tokens) + tree.places[ends]
    _, first, row_of = np.unique(keys, return_index=True, return_inverse=True)
    counts = np.bincount(owners[first], minlength=len(candidates))
    return RaggedArray.from_lengths(candidates.values[first], counts), row_of


def check_tree_attention(encoder: DualViewLM, key: str, without: str) -> None:
    """Compare texts read as a tree with the same texts read one by one.

    Args:
        encoder: the LM.
        key: the setting that needs it, for the message.
        without: the setting that does not.

    Raises:
        ValueError: the LM keeps no keys and values, or takes a token's place from elsewhere than its position id.
    """
    query, texts = [3, 4, 5], [[6, 7, 8], [6, 8], [7]]
    tree = PrefixTree.from_rows(RaggedArray.from_rows(texts))
    name = type(encoder.causal_lm).__name__
    remedy = f"take {without}, or train an LM such as Llama, Qwen, Mistral, Gemma or GPT-2"
    try:
        with torch.no_grad():
            read = read_queries(encoder, np.array(query), np.array([len(query)]))
            together = _score(encoder, read, subtrees(tree, 1, np.zeros(3, dtype=np.int64), np.arange(3)), 1)
            alone = [_score_alone(encoder, query, text) for text in texts]
    except (TypeError, AttributeError, IndexError, RuntimeError, ValueError) as error:
        raise ValueError(f"{key}: {name} cannot read a tree of texts ({error}); {remedy}") from error
    check_finite(np.append(together, alone))
    if not np.allclose(together, alone, rtol=2e-2, atol=2e-2):
        raise ValueError(f"{key}: {name} reads a tree of texts otherwise than the texts one by one; {remedy}")


def _score_alone(encoder: DualViewLM, query: list[int], text: list[int]) -> float:
    input_ids = torch.tensor([query + text], device=next(encoder.parameters()).device)
    log_probabilities = encoder.logits(encoder.states(input_ids)[0]).log_softmax(dim=1)
    positions = range(len(query) - 1, len(query) + len(text) - 1)
    return sum(float(log_probabilities[position, token]) for position, token in zip(positions, text, strict=True))


def check_finite(log_probabilities: NDArray[np.float64]) -> None:
    """Refuse a model that is broken.

    Raises:
        ValueError: one of its log-probabilities is not finite.
    """
    if not np.isfinite(log_probabilities).all():
        raise ValueError("the model gives log-probabilities that are not finite (nan or inf); train it again")


def check_reach(encoder: DualViewLM, num_tokens: int, without: str | None = None) -> None:
    """Every layer's attention is to reach over so many tokens.

    Args:
        encoder: the LM.
        num_tokens: of a query with its longest answer.
        without: a setting that does not need it, for the message.

    Raises:
        ValueError: that of one does not.
    """
    # a shorter reach would need a mask of its own, by depth, for some of the layers
    reaches = {key: getattr(encoder.causal_lm.config, key, None) for key in REACHES}
    for key, reach in reaches.items():
        if reach is not None and reach < num_tokens:
            raise ValueError(f"a query with its longest answer has {num_tokens} tokens, and the LM's {key} is {reach}; "
                             f"shorten the texts{'' if without is None else f', or take {without}'}")  # fmt: skip


def read_queries(encoder: DualViewLM, tokens: Ids, lengths: Ids) -> ReadQueries:
    """Read token rows, as `RaggedArray.take` gives them, and keep their keys and values."""
    device = next(encoder.parameters()).device
    cache = DynamicCache()  # without the LM's config, so that no layer drops what is out of its reach
    last = torch.from_numpy(lengths - 1).to(device)
    output = encoder.causal_lm.base_model(
        input_ids=pad_rows(tokens, lengths).to(device), past_key_values=cache, use_cache=True
    )
    return ReadQueries(cache, output.last_hidden_state[torch.arange(len(last), device=device), last], last + 1)


def _score(encoder: DualViewLM, read: ReadQueries, parts: Subtrees, logit_memory_mib: int) -> NDArray[np.float64]:
    """Sums of log-probabilities of each row's tokens."""
    states = torch.cat([read.states, _tree_states(encoder, read, parts)])
    steps = next_token_log_probabilities(encoder, states, parts.sources, parts.labels, logit_memory_mib)
    return np.asarray(np.add.reduceat(steps[parts.steps], parts.starts))


def _tree_states(encoder: DualViewLM, read: ReadQueries, parts: Subtrees) -> Tensor:
    """States at the nodes to read, (I, D); the cache is left as it was."""
    width = int(parts.counts.max())
    if width == 0:
        return read.states[:0]
    device = read.states.device
    num_read = read.cache.get_seq_length()
    owners = np.repeat(np.arange(len(parts.counts)), parts.counts)
    places = run_positions(np.zeros_like(parts.counts), parts.counts)
    # additive, as every attention takes it; the padding behind a query's nodes sees the query, so that no row is empty
    hidden = torch.finfo(read.states.dtype).min
    mask = torch.full((len(parts.counts), width, num_read + width), hidden, dtype=read.states.dtype, device=device)
    is_query = torch.arange(num_read, device=device) < read.lengths[:, None]  # (B, P)
    mask[:, :, :num_read].masked_fill_(is_query[:, None], 0)
    below, above = parts.descendants, parts.ancestors
    seen = (owners[below], places[below], num_read + places[above])
    mask[tuple(torch.from_numpy(index).to(device) for index in seen)] = 0
    states: Tensor = encoder.causal_lm.base_model(
        input_ids=pad_rows(parts.tokens, parts.counts).to(device),
        position_ids=read.lengths[:, None] + pad_rows(parts.depths, parts.counts).to(device),
        attention_mask=mask[:, None],
        past_key_values=read.cache,
        use_cache=True,
    ).last_hidden_state
    read.cache.crop(-width)
    return states[torch.from_numpy(owners).to(device), torch.from_numpy(places).to(device)]


def next_token_log_probabilities(
    encoder: DualViewLM, states: Tensor, sources: Ids, labels: Ids, memory_mib: int
) -> NDArray[np.float64]:
    """For each label log p(labels[i] | states[sources[i]]), (C,); logits of a block of states are alive at a time."""
    order = np.argsort(sources, kind="stable")
    block = max(1, memory_mib * 2**20 // (4 * encoder.causal_lm.config.vocab_size))
    result = np.empty(len(sources))
    for start in range(0, len(states), block):
        first, last = np.searchsorted(sources[order], [start, start + block])
        chosen = order[first:last]
        logits = encoder.logits(states[start : start + block])
        source = torch.from_numpy(sources[chosen] - start).to(states.device)
        label = torch.from_numpy(labels[chosen]).to(states.device)
        result[chosen] = (logits[source, label] - logits.logsumexp(dim=1)[source]).cpu().numpy()
    return result
