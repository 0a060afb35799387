"""Answers in words: in a trie of names against free beams, and candidates behind one prompt against each text alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kalm.evaluation.encoding import batches_by_cost
from kalm.evaluation.generation import log_probabilities
from kalm.graph.knowledge_graph import HEAD, RELATION
from kalm.graph.sources import load_graph
from kalm.kgqa.beam_search import SearchLimits, beam_search
from kalm.kgqa.decoding import NameWalk
from kalm.kgqa.name_trie import NameTrie
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import build_encoder, load_saved_tokenizer
from kalm.speed.measure import Row, rates, ratio_row, seconds_of, take_turns, value_row
from kalm.speed.task import shipped_config
from kalm.text.batch import pad_rows
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import RaggedArray, join_rows
from kalm.text.token_table import build_token_table

NUM_PROMPTS, NUM_BEAMS, NUM_NEW_TOKENS = 32, 8, 12  # of the answers
NUM_QUERIES, NUM_CANDIDATES = 4, 400  # of the scores
LOGIT_MEMORY_MIB = 64


def measure_generation(source: str, folder: Path, model_folder: Path, *, repeats: int) -> list[Row]:
    """Answers to queries of a graph's test split, by a model as it is.

    Both kinds of beams take the same number of steps: the names are cut or filled up to equally many tokens, and no
    token ends a free answer.
    """
    graph = load_graph(source, folder)
    tokenizer = load_saved_tokenizer(str(model_folder))
    config = shipped_config(["model=pretrained", f"model.path={model_folder}"])
    encoder = build_encoder(config.model, tokenizer, seed=0).eval()
    table = build_token_table(graph, tokenizer, config.template)
    asked = graph.directed("test")[: 2 * NUM_PROMPTS : 2]
    prompts, _ = join_rows([table.heads.take(asked[:, HEAD]), table.relations.take(asked[:, RELATION])])
    batch_tokens = config.ranking.batch_tokens
    seconds = [seconds_of(lambda: NameTrie.of_tails(graph, table, tokenizer)) for _ in range(repeats)]
    rows = RaggedArray.from_rows([_of_length(row, NUM_NEW_TOKENS) for row in _rows(table.tails)])
    return [
        value_row(f"name_trie_of_{source}", "seconds", seconds),
        *_measure_beams(
            encoder, prompts, NameTrie.build(rows, graph.entity_names, np.arange(len(rows))), batch_tokens, repeats
        ),
        _measure_candidates(encoder, prompts, table.tails, batch_tokens, repeats),
    ]


def _measure_beams(
    encoder: DualViewLM, prompts: RaggedArray, names: NameTrie, batch_tokens: int, repeats: int
) -> list[Row]:
    limits = SearchLimits(
        num_beams=NUM_BEAMS, num_answers=NUM_BEAMS, max_new_tokens=NUM_NEW_TOKENS, batch_tokens=batch_tokens,
        logit_memory_mib=LOGIT_MEMORY_MIB,
    )  # fmt: skip
    seconds = take_turns(
        {
            "constrained": lambda: beam_search(encoder, prompts, lambda rows: NameWalk(names, len(rows)), limits),
            "free": lambda: beam_search(encoder, prompts, None, limits),
            "transformers": _transformers_beams(encoder, prompts),
        },
        repeats,
    )
    speeds = {name: rates(len(prompts), times) for name, times in seconds.items()}
    return [
        ratio_row(f"{own}_vs_{other}_beams", "questions/s", speeds[own], speeds[other], more_is_better=True)
        for own, other in (("constrained", "free"), ("constrained", "transformers"), ("free", "transformers"))
    ]


def _transformers_beams(encoder: DualViewLM, prompts: RaggedArray) -> Callable[[], object]:
    """Its `generate` over all prompts at once, which it wants padded on the left."""
    rows = [row[::-1] for row in _rows(prompts)]
    lengths = prompts.lengths
    flat = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
    input_ids = pad_rows(flat, lengths).flip(1)
    attention_mask = pad_rows(np.ones_like(flat), lengths).flip(1)
    return lambda: encoder.causal_lm.generate(
        input_ids, attention_mask=attention_mask, num_beams=NUM_BEAMS, num_return_sequences=NUM_BEAMS, do_sample=False,
        min_new_tokens=NUM_NEW_TOKENS, max_new_tokens=NUM_NEW_TOKENS, length_penalty=0.0, pad_token_id=0,
    )  # fmt: skip


def _measure_candidates(
    encoder: DualViewLM, prompts: RaggedArray, tails: RaggedArray, batch_tokens: int, repeats: int
) -> Row:
    queries = RaggedArray.from_rows(_rows(prompts)[:NUM_QUERIES])
    chosen = np.random.default_rng(0).choice(len(tails), NUM_CANDIDATES, replace=False)
    texts = RaggedArray.from_rows([_rows(tails)[row] for row in chosen])
    tree = PrefixTree.from_rows(texts)
    candidates = RaggedArray.from_rows([range(NUM_CANDIDATES)] * len(queries))

    def together() -> NDArray[np.float64]:
        return log_probabilities(
            encoder, queries, tree, candidates, batch_tokens=batch_tokens, logit_memory_mib=LOGIT_MEMORY_MIB
        )

    def alone() -> NDArray[np.float64]:
        return _one_by_one(encoder, queries, texts, batch_tokens)

    if not np.allclose(together(), alone(), atol=1e-3):
        raise ValueError("candidates score otherwise behind one prompt than each with its own")
    seconds = take_turns({"together": together, "alone": alone}, repeats)
    speeds = {name: rates(len(candidates.values), times) for name, times in seconds.items()}
    return ratio_row(
        "candidates_behind_one_prompt_vs_alone",
        "candidates/s",
        speeds["together"],
        speeds["alone"],
        more_is_better=True,
    )


@torch.no_grad()
def _one_by_one(
    encoder: DualViewLM, queries: RaggedArray, texts: RaggedArray, batch_tokens: int
) -> NDArray[np.float64]:
    """Each candidate's text behind its query in a row of its own, in full batches; logits at its own tokens only."""
    query_of, text_of = (axis.ravel() for axis in np.divmod(np.arange(len(queries) * len(texts)), len(texts)))
    pairs, (starts, ends) = join_rows([queries.take(query_of), texts.take(text_of)])
    scores = np.empty(len(pairs))
    for rows in batches_by_cost(pairs.lengths, batch_tokens):
        input_ids = pad_rows(*pairs.take(rows))
        states = encoder.states(input_ids)
        places = torch.arange(input_ids.shape[1] - 1)
        begin, end = (torch.from_numpy(bound[rows])[:, None] - 1 for bound in (starts, ends))
        row, place = torch.nonzero((places >= begin) & (places < end), as_tuple=True)
        steps = encoder.logits(states[row, place]).log_softmax(dim=1)
        gains = steps[torch.arange(len(row)), input_ids[row, place + 1]].double()
        scores[rows] = torch.zeros(len(rows), dtype=torch.double).index_add_(0, row, gains).numpy()
    return scores


def _rows(array: RaggedArray) -> list[list[int]]:
    return [row.tolist() for row in np.split(array.values, array.offsets[1:-1])]


def _of_length(row: Sequence[int], length: int) -> list[int]:
    """Its first tokens, or with its last one repeated."""
    return [*row[:length], *[row[-1]] * (length - len(row))]
