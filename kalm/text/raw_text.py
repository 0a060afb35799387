"""Text that is of no graph, as tokens."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from kalm.text.ragged import Ids

CHARACTERS_AT_ONCE = 100_000  # tokenised in one piece; a block ends at the end of a line


def read_tokens(path: Path, tokenizer: PreTrainedTokenizerFast, key: str) -> NDArray[np.int32]:
    """The tokens of a file of UTF-8 text, (T,), without special ones; the string of such a one is ordinary text.

    Args:
        path: of the file.
        tokenizer: the LM's.
        key: the config's name for the file, for messages.

    Raises:
        ValueError: the file is not UTF-8, or has no token.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{key}: {path}:{line}: not UTF-8 (byte {error.start + 1}); convert the file") from None
    encoded = tokenizer(
        _blocks(text), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
    ).input_ids
    tokens = [np.asarray(block, dtype=np.int32) for block in encoded]
    if not sum(map(len, tokens)):
        raise ValueError(f"{key}: {path} holds no text; name a file of raw text")
    return np.concatenate(tokens)


def cut_windows(tokens: NDArray[np.int32], num_tokens: int) -> NDArray[np.int32]:
    """Windows side by side, (windows, num_tokens); what is left over at the end is left out."""
    num_windows = len(tokens) // num_tokens
    return tokens[: num_windows * num_tokens].reshape(num_windows, num_tokens)


def drawn_windows(windows: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int32]:
    """A seeded sample without repetition, in random order, (at most count, tokens)."""
    rows: Ids = np.random.default_rng(seed).permutation(len(windows))[:count]
    return windows[rows]


def _blocks(text: str) -> list[str]:
    """The text in pieces, cut after line ends."""
    blocks, block, size = [], [], 0
    for line in text.splitlines(keepends=True):
        block.append(line)
        size += len(line)
        if size >= CHARACTERS_AT_ONCE:
            blocks.append("".join(block))
            block, size = [], 0
    return [*blocks, "".join(block)]
