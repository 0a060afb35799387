"""Encoding a graph's entities against the LM's own forward over the same tokens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from kalm.evaluation.encoding import encode
from kalm.graph.sources import load_graph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import build_encoder, load_saved_tokenizer
from kalm.speed.measure import Row, rates, ratio_row, take_turns
from kalm.speed.task import shipped_config
from kalm.text.ragged import Ids, RaggedArray
from kalm.text.token_table import build_token_table

NUM_ENTITIES = 8_000  # evenly spread over the graph's


def measure_encoding(source: str, folder: Path, model_folder: Path, *, repeats: int) -> list[Row]:
    """Entities of a graph, with their descriptions: kalm's encoding, and forwards over equally long rows.

    The forwards have not one token of padding and equal texts once, so they are what the tokens cost at least.
    """
    graph = load_graph(source, folder)
    tokenizer = load_saved_tokenizer(str(model_folder))
    config = shipped_config(["model=pretrained", f"model.path={model_folder}"])
    encoder = build_encoder(config.model, tokenizer, seed=0).eval()
    targets = build_token_table(graph, tokenizer, config.template).targets
    rows = np.linspace(0, len(targets) - 1, min(NUM_ENTITIES, len(targets))).astype(np.int64)
    num_tokens = int(targets.lengths_of(rows).sum())
    batch_tokens = config.ranking.batch_tokens
    seconds = take_turns(
        {
            "kalm": lambda: encode(encoder, targets, batch_tokens, rows),
            "forwards": _without_padding(encoder, targets, rows, batch_tokens),
        },
        repeats,
    )
    speeds = {name: rates(num_tokens, times) for name, times in seconds.items()}
    return [
        ratio_row(f"encoding_{source}_vs_forward", "tokens/s", speeds["kalm"], speeds["forwards"], more_is_better=True)
    ]


def _without_padding(encoder: DualViewLM, sequences: RaggedArray, rows: Ids, batch_tokens: int) -> Callable[[], None]:
    """Forwards of the LM's body over distinct sequences, each batch of one length."""
    distinct = {sequences.take(rows[i : i + 1])[0].tobytes(): row for i, row in enumerate(rows)}
    rows = np.array(list(distinct.values()))
    lengths = sequences.lengths_of(rows)
    batches = []
    for length in np.unique(lengths):
        same = rows[lengths == length]
        for part in np.array_split(same, -(-len(same) * length // batch_tokens)):
            batches.append(torch.from_numpy(sequences.take(part)[0].reshape(len(part), length)))

    @torch.no_grad()
    def forward() -> None:
        for batch in batches:
            encoder.causal_lm.base_model(input_ids=batch, use_cache=False)

    return forward
