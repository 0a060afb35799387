"""How well an LM predicts raw text: bits per byte, and per token."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from kalm.evaluation.encoding import batches_by_cost
from kalm.evaluation.generation import check_finite, next_token_log_probabilities
from kalm.evaluation.paired import compare_ratio, ratio
from kalm.model.dual_view_lm import DualViewLM
from kalm.progress import Progress
from kalm.retention.raw_text import Window, read_pieces, tokenise, windows
from kalm.text.batch import pad_rows
from kalm.text.ragged import RaggedArray, run_positions

BATCHES_TOGETHER = 16  # whose windows are sorted by length
NUM_BLOCKS = 100  # of neighbouring windows, about, that are drawn anew for an interval


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """How text is read: one reading for all models that are compared."""

    files: Sequence[Path]
    window: int  # tokens read in one forward
    stride: int  # tokens from one window to the next
    batch_tokens: int
    logit_memory_mib: int


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's windows, in the order of the text; (W,) each."""

    files: NDArray[np.int64]
    num_tokens: NDArray[np.int64]  # scored
    num_bytes: NDArray[np.int64]
    num_unknown: NDArray[np.int64]  # of the scored tokens, those that stand for any text the tokenizer cannot write
    nats: NDArray[np.float64]  # -log p of all scored tokens


def score_text(encoder: DualViewLM, tokenizer: PreTrainedTokenizerFast, config: TextConfig, label: str) -> Scored:
    """Read all text once.

    Raises:
        ValueError: a file is no UTF-8 or has fewer than two tokens, or a result is not finite.
    """
    unknown = -1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    num_together = BATCHES_TOGETHER * max(1, config.batch_tokens // config.window)
    counts, nats = [], []
    with Progress(label, sum(path.stat().st_size for path in config.files)) as progress:
        every = iter_windows(tokenizer, config)
        while block := list(islice(every, num_together)):
            nats.append(score_windows(encoder, block, config.batch_tokens, config.logit_memory_mib))
            # arrays, since of a large text there are millions
            counts.append(np.array([
                (window.file, window.num_scored, window.num_bytes, (window.ids[-window.num_scored :] == unknown).sum())
                for window in block
            ], dtype=np.int64))  # fmt: skip
            progress.advance(int(counts[-1][:, 2].sum()))
    files, num_tokens, num_bytes, num_unknown = np.concatenate(counts).T
    return Scored(files, num_tokens, num_bytes, num_unknown, np.concatenate(nats))


def iter_windows(tokenizer: PreTrainedTokenizerFast, config: TextConfig) -> Iterator[Window]:
    """The windows of all files; none reaches over the end of its file.

    Raises:
        ValueError: a file is no UTF-8 or has fewer than two tokens.
    """
    for number, path in enumerate(config.files):
        num_scored = 0
        for window in windows(
            tokenise(read_pieces(path), tokenizer), file=number, num_bytes=path.stat().st_size,
            first_token=tokenizer.bos_token_id, window=config.window, stride=config.stride,
        ):  # fmt: skip
            num_scored += window.num_scored
            yield window
        if num_scored + (tokenizer.bos_token_id is None) < 2:
            raise ValueError(f"text: {path} has fewer than 2 tokens, too little to predict; give a longer text")


@torch.no_grad()
def score_windows(
    encoder: DualViewLM, block: Sequence[Window], batch_tokens: int, logit_memory_mib: int
) -> NDArray[np.float64]:
    """-log p of each window's scored tokens given those before them, natural logarithm, (windows,).

    Args:
        encoder: the LM, in evaluation mode.
        block: what to read.
        batch_tokens: tokens read at once, padding included.
        logit_memory_mib: MiB for logits over the vocabulary.

    Raises:
        ValueError: a result is not finite.
    """
    device = next(encoder.parameters()).device
    rows = RaggedArray.from_rows([window.ids.tolist() for window in block])
    num_scored = np.array([window.num_scored for window in block])
    nats = np.empty(len(block))
    for batch in batches_by_cost(rows.lengths - 1, batch_tokens):
        counts = num_scored[batch]
        ends = rows.offsets[batch + 1]
        labels = rows.values[run_positions(ends - counts, counts)].astype(np.int64)
        read = pad_rows(*rows.take(batch, rows.lengths_of(batch) - 1)).to(device)
        first = np.arange(len(batch)) * read.shape[1] + rows.lengths_of(batch) - 1 - counts
        places = torch.from_numpy(run_positions(first, counts)).to(device)
        states = encoder.states(read).flatten(0, 1)[places]
        steps = next_token_log_probabilities(encoder, states, np.arange(len(labels)), labels, logit_memory_mib)
        nats[batch] = -np.add.reduceat(steps, counts.cumsum() - counts)
    check_finite(nats)
    return nats


def blocks_of(scored: Scored) -> NDArray[np.int64]:
    """A number per window, the same for neighbours of one file: what is drawn together, since neighbours are alike."""
    size = max(1, math.ceil(len(scored.files) / NUM_BLOCKS))
    first = np.searchsorted(scored.files, scored.files)  # each file's first window
    within = (np.arange(len(first)) - first) // size
    starts_block = (np.diff(within, prepend=-1) != 0) | (np.diff(scored.files, prepend=-1) != 0)
    return np.asarray(starts_block.cumsum())


def summary(scored: Scored) -> dict[str, Any]:
    """Bits per byte with its interval over blocks of windows; perplexity and nats per token."""
    found = ratio(scored.nats / math.log(2), scored.num_bytes.astype(np.float64), blocks_of(scored))
    nats_per_token = float(scored.nats.sum() / scored.num_tokens.sum())
    return {
        "bits_per_byte": found["value"],
        "interval": found["interval"],
        "nats_per_token": nats_per_token,
        "perplexity_per_token": math.exp(nats_per_token),
    }


def difference(base: Scored, tuned: Scored) -> dict[str, Any]:
    """Bits per byte of the tuned model less those of its base, with the interval; each draw has the same windows."""
    before, after = (scored.nats / math.log(2) for scored in (base, tuned))
    return compare_ratio(before, after, base.num_bytes.astype(np.float64), blocks_of(base))
