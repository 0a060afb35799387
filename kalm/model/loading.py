"""From a config to an LM and its tokenizer: pretrained or from scratch, whole or with adapters."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

from kalm.config import Dtype, LoraConfig, ModelConfig, Quantization, TemplateConfig, looks_like_folder
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.dual_view_lm import DualViewLM, check_read_out
from kalm.model.scratch import build_llama, train_tokenizer

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KALM_FILE = "kalm.json"  # what kalm must know of a trained model beside its weights


def load_tokenizer(config: ModelConfig, template: TemplateConfig, graph: KnowledgeGraph) -> PreTrainedTokenizerFast:
    """The tokenizer of `config.path`, or one trained on the graph.

    Raises:
        ValueError: the path holds no fast tokenizer.
    """
    if config.scratch is not None:
        return train_tokenizer(graph, template, config.scratch.vocab_size)
    assert config.path is not None
    return load_saved_tokenizer(config.path)


def build_encoder(config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> DualViewLM:
    """The untrained LM: random weights from `seed`, or the pretrained ones, with fresh adapters if asked for.

    Raises:
        ValueError: the model cannot be loaded, or its architecture cannot be read out.
    """
    torch.manual_seed(seed)
    lm: nn.Module
    if config.scratch is not None:
        lm = build_llama(config.scratch, tokenizer, _torch_dtype(config.dtype))
    else:
        assert config.path is not None
        lm = pretrained_lm(config.path, config.dtype, config.quantization)
        if config.lora is not None and config.lora.enabled:
            lm = add_lora(lm, config.lora)
    encoder = DualViewLM(lm, config.dropout)
    check_read_out(encoder)
    if config.gradient_checkpointing:
        encoder.use_gradient_checkpointing()
    return encoder


def add_lora(lm: nn.Module, lora: LoraConfig) -> nn.Module:
    """Fresh adapters on the layers that `lora.target` names; the base is frozen.

    Raises:
        ValueError: no layer matches.
    """
    import peft

    lora_config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    try:
        with _without_peft_warning():
            adapted: nn.Module = peft.get_peft_model(lm, lora_config)
    except ValueError as error:
        raise ValueError(
            f"model.lora.target must be all-linear, or a regular expression that matches whole names of layers and "
            f"nothing else, got {lora.target!r}; layers are {', '.join(_kinds_of_layers(lm))}"
        ) from error
    for name, weight in adapted.named_parameters():
        if "lora_A" in name:
            weight.requires_grad_(lora.train_first_factor)
    return adapted


def _kinds_of_layers(lm: nn.Module) -> list[str]:
    """Names of layers that can have adapters: the first of each last part, `...q_proj`."""
    first: dict[str, str] = {}
    for name, module in lm.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            first.setdefault(name.rpartition(".")[2], name)
    return list(first.values())


@contextmanager
def _without_peft_warning() -> Iterator[None]:
    """For a name that transformers 5 renames and peft still asks for; gone with peft's next release."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
        yield


def load_trained(folder: Path, dtype: Dtype) -> tuple[DualViewLM, PreTrainedTokenizerFast, dict[str, Any]]:
    """A run's result from its `model/` folder: the LM, its tokenizer and the content of kalm.json.

    Raises:
        ValueError: the folder is not a kalm model, or its adapter is empty.
    """
    description = read_description(folder)
    with _fault_of_run(folder):
        tokenizer = load_saved_tokenizer(str(folder))
    if (folder / ADAPTER_CONFIG).is_file():
        require_adapter(folder)
        import peft

        base = pretrained_lm(description["base"], dtype)
        try:
            with _without_peft_warning():
                lm = peft.PeftModel.from_pretrained(base, str(folder))
        except RuntimeError as error:
            raise ValueError(f"{folder}: the adapter does not fit {description['base']}: {_one_line(error)}") from error
    else:
        with _fault_of_run(folder):
            lm = pretrained_lm(str(folder), dtype)
    return DualViewLM(lm, dropout=0.0).eval(), tokenizer, description


def read_description(folder: Path) -> dict[str, Any]:
    """The content of kalm.json in a run's `model/` folder.

    Raises:
        ValueError: the folder is not a kalm model.
    """
    path = folder / KALM_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no trained model (no {KALM_FILE}); has the run finished?")
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); train the run again") from error
    return description


@contextmanager
def _fault_of_run(folder: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{folder}: a file of the trained model is missing or damaged; restore it, or train the run "
                         f"again ({str(error).partition(': ')[2]})") from error  # fmt: skip


def require_adapter(folder: Path) -> None:
    """Check that the saved adapter has weights and that they change the model.

    Raises:
        ValueError: it is missing, holds no tensor, or its second factors are all zero, as in a fresh adapter.
    """
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise ValueError(f"{folder}: the adapter has no {ADAPTER_WEIGHTS}; save the run again")
    try:
        tensors = load_file(str(path))
    except SafetensorError as error:
        raise ValueError(f"{path}: the adapter cannot be read ({error}); train the run again") from error
    second = [tensor for name, tensor in tensors.items() if "lora_B" in name]
    if not any(bool(tensor.any()) for tensor in second):
        raise ValueError(f"{path}: the adapter is empty ({len(tensors)} tensors, no weight other than 0), "
                         "so the model would answer like its base; train the run again")  # fmt: skip


def max_positions(encoder: DualViewLM) -> int | None:
    """Tokens of the longest sequence the LM takes; None where it sets no limit."""
    config = encoder.causal_lm.config
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)


def _torch_dtype(dtype: Dtype) -> torch.dtype:
    return {Dtype.float32: torch.float32, Dtype.bfloat16: torch.bfloat16}[dtype]


def pretrained_lm(path: str, dtype: Dtype, quantization: Quantization = Quantization.none) -> nn.Module:
    place, options = _place(path)
    options |= _quantization_options(quantization)
    lm: nn.Module
    try:
        # safetensors only: a pickled checkpoint can run code when it is read
        lm, report = AutoModelForCausalLM.from_pretrained(
            place, dtype=_torch_dtype(dtype), use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"model.path={path}: cannot load a causal LM: {_one_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        # transformers would fill them with random numbers
        raise ValueError(
            f"model.path={path}: the weights are incomplete: {len(missing)} are missing, {missing[0]} first"
        )
    return lm


def _quantization_options(quantization: Quantization) -> dict[str, Any]:
    """What transformers is told; the weights are quantized while they are read.

    Raises:
        ValueError: there is no GPU, or bitsandbytes is not installed.
    """
    if quantization is Quantization.none:
        return {}
    if not torch.cuda.is_available():
        raise ValueError(f"model.quantization={quantization.value} needs a GPU and none is found; set it to none")
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            f"model.quantization={quantization.value} needs bitsandbytes: pip install 'kalm[quantization]'"
        )
    from transformers import BitsAndBytesConfig

    how = BitsAndBytesConfig(
        load_in_8bit=quantization is Quantization.int8,
        load_in_4bit=quantization is Quantization.nf4,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": how, "device_map": {"": torch.cuda.current_device()}}


def load_saved_tokenizer(path: str) -> PreTrainedTokenizerFast:
    """The tokenizer in a folder or at a hub name.

    Raises:
        ValueError: there is none, or it is not a fast one.
    """
    place, options = _place(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"model.path={path}: cannot load a tokenizer: {_one_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"model.path={path}: kalm needs a fast tokenizer (a tokenizer.json)")
    return tokenizer


def _place(path: str) -> tuple[str, dict[str, Any]]:
    """A folder is read offline; anything else is a hub name."""
    if looks_like_folder(path):
        return str(Path(path).expanduser()), {"local_files_only": True}
    return path, {}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def check_tokens(max_token: int, encoder: DualViewLM, of: str = "") -> None:
    """Refuse a tokenizer that gives tokens which the LM has no embedding of.

    Args:
        max_token: the highest that it gives.
        encoder: the LM.
        of: the text that it is from, for the message: " for FILE".

    Raises:
        ValueError: they do not belong together.
    """
    num_embeddings = encoder.causal_lm.get_input_embeddings().num_embeddings
    if max_token >= num_embeddings:
        raise ValueError(
            f"model.path: the tokenizer gives token {max_token}{of} and the LM has {num_embeddings} embeddings; "
            "they do not belong together"
        )
