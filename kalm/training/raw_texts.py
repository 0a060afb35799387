"""What a training run makes of raw text: windows for the anchor, and where adapters start."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from kalm.composition import texts_beside_graph
from kalm.config import AdapterInit, Config
from kalm.distributed import broadcast, faults_shared, rank, world_size
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import check_tokens, max_positions
from kalm.model.null_space import null_space_factors, set_first_factors
from kalm.text.raw_text import cut_windows, drawn_windows, read_tokens
from kalm.training.text_windows import TextWindows

NULL_SPACE_WINDOW = 256  # tokens, or as many as the LM takes


def load_text_windows(config: Config, tokenizer: PreTrainedTokenizerFast, encoder: DualViewLM) -> TextWindows | None:
    """The raw text of the retention term; None without that term.

    Raises:
        ValueError: it is too short, or a window is longer than what the LM takes, or holds a token it does not know.
    """
    key = "objective.retention.text"
    if key not in texts_beside_graph(config):
        return None
    limit, window_tokens = max_positions(encoder), config.objective.retention.window_tokens
    if limit is not None and window_tokens > limit:
        raise ValueError(f"objective.retention.window_tokens={window_tokens}: the LM takes {limit} tokens; set it to "
                         f"{limit} or less")  # fmt: skip
    tokens = _read(texts_beside_graph(config)[key], tokenizer, encoder, key)
    return TextWindows(tokens, config, rank=rank(), world_size=world_size())


def start_adapters(
    config: Config, tokenizer: PreTrainedTokenizerFast, encoder: DualViewLM, saved: Path
) -> dict[str, Tensor] | None:
    """Give fresh adapters their first factors, the same on all ranks; None where they keep peft's random ones.

    Args:
        encoder: on its device.
        saved: where a run that is resumed has them, since a checkpoint leaves out what is frozen.

    Returns:
        Those factors by layer, to be saved.

    Raises:
        ValueError: the text has not one window, or see `null_space_factors`.
    """
    lora = config.model.lora
    if lora is None or lora.init is not AdapterInit.null_space:
        return None
    factors = None
    with faults_shared():
        if rank() == 0:
            factors = load_file(saved) if config.training.resume else _factors(config, tokenizer, encoder)
    shared: dict[str, Tensor] = broadcast(factors)
    set_first_factors(encoder, shared)
    return shared


def _factors(config: Config, tokenizer: PreTrainedTokenizerFast, encoder: DualViewLM) -> dict[str, Tensor]:
    key, lora = "model.lora.init_text", config.model.lora
    assert lora is not None
    path = texts_beside_graph(config)[key]
    tokens = _read(path, tokenizer, encoder, key)
    width = min(NULL_SPACE_WINDOW, max_positions(encoder) or NULL_SPACE_WINDOW, lora.init_tokens)
    windows = drawn_windows(cut_windows(tokens, width), lora.init_tokens // width, config.training.seed)
    if not len(windows):
        raise ValueError(f"{key}: {path} has {len(tokens)} tokens, less than one window of {width}; name a longer text")
    found = null_space_factors(encoder, torch.from_numpy(windows.astype(np.int64)))
    print(f"adapters start where {windows.size:,} tokens of {path.name} leave {found.energy:.2g} of the energy of the "
          f"layers' inputs; random directions have {found.random_energy:.2g}", flush=True)  # fmt: skip
    return found.factors


def _read(path: Path, tokenizer: PreTrainedTokenizerFast, encoder: DualViewLM, key: str) -> NDArray[np.int32]:
    tokens = read_tokens(path, tokenizer, key)
    check_tokens(int(tokens.max()), encoder, of=f" for {path}")
    return tokens
