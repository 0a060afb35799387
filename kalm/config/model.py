"""The LM that is trained."""

import re
from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least, require_positive, require_share


class Dtype(Enum):
    """The precision that parameters are held and computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Quantization(Enum):
    """How the weights of a frozen base are held (bitsandbytes)."""

    none = "none"
    int8 = "int8"
    nf4 = "nf4"


@dataclass(kw_only=True, slots=True)
class ScratchConfig:
    """A Llama with random weights and a byte-level BPE tokenizer trained on the graph's texts."""

    vocab_size: int  # tokens, at most; a small graph gives fewer
    hidden_size: int  # D, the size of embeddings
    intermediate_size: int  # width of the MLPs
    num_layers: int  # transformer blocks
    num_heads: int  # of attention, per layer; a divisor of hidden_size
    max_length: int  # tokens, the longest sequence

    def __post_init__(self) -> None:
        require_at_least("model.scratch.vocab_size", self.vocab_size, 300)
        for key in ("hidden_size", "intermediate_size", "num_layers", "num_heads", "max_length"):
            require_at_least(f"model.scratch.{key}", getattr(self, key), 1)
        require(self.hidden_size % (2 * self.num_heads) == 0, "model.scratch.hidden_size", self.hidden_size,
                 f"a multiple of 2 x num_heads = {2 * self.num_heads}")  # fmt: skip


class AdapterInit(Enum):
    """Where an adapter's first factor starts: at random, or where raw text leaves a layer's inputs the least energy."""

    default = "default"
    null_space = "null_space"


@dataclass(kw_only=True, slots=True)
class LoraConfig:
    enabled: bool  # train low-rank adapters (peft) instead of the whole model
    rank: int
    alpha: float  # the update is scaled by alpha / rank
    dropout: float  # share of the adapter's inputs set to 0 in training
    init: AdapterInit  # of the first factors; the second are 0, so the start is the base either way
    init_text: str | None  # file of raw text in UTF-8, whose use of each layer's inputs null_space keeps clear of
    init_tokens: int  # of it, at most, in random windows
    train_first_factor: bool  # false: the second factors alone, so that with null_space updates stay in that space
    target: str  # `all-linear`, or a regular expression that module names match in full

    def __post_init__(self) -> None:
        require_at_least("model.lora.rank", self.rank, 1)
        require_positive("model.lora.alpha", self.alpha)
        require_share("model.lora.dropout", self.dropout)
        require_at_least("model.lora.init_tokens", self.init_tokens, 1)
        require(self.init_text is None or self.enabled, "model.lora.init_text", self.init_text,
                "null without model.lora.enabled=true")  # fmt: skip
        require(self.init is AdapterInit.default or self.enabled, "model.lora.init", self.init,
                "default without model.lora.enabled=true")  # fmt: skip
        require(self.init is AdapterInit.default or self.init_text is not None, "model.lora.init_text", self.init_text,
                "a file of raw text with model.lora.init=null_space")  # fmt: skip
        try:
            re.compile(self.target)
        except re.error as error:
            raise ValueError(f"model.lora.target must be all-linear or a regular expression, got {self.target!r}: "
                             f"{error}") from error  # fmt: skip


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    name: str  # stands in the run's name
    path: str | None  # folder or hub name of a pretrained causal LM
    dtype: Dtype
    dropout: float  # share of token embeddings and of read-out states set to 0 in training
    scratch: ScratchConfig | None  # the model to make where there is no path
    lora: LoraConfig | None  # null where there are no pretrained weights to keep
    quantization: Quantization  # of the base under adapters in training, needs a GPU; evaluated on the whole base
    gradient_checkpointing: bool  # keep one activation per layer and compute the rest again: less memory, more time

    def __post_init__(self) -> None:
        require_share("model.dropout", self.dropout)
        require(self.quantization is Quantization.none or (self.lora is not None and self.lora.enabled),
                "model.quantization", self.quantization, "none without model.lora.enabled=true, "
                "since quantized weights cannot be trained")  # fmt: skip
        require(self.quantization is Quantization.none or self.dtype is Dtype.bfloat16, "model.dtype", self.dtype,
                "bfloat16 with model.quantization")  # fmt: skip
        require((self.path is None) != (self.scratch is None), "model.path", self.path,
                 "a folder or hub name with model=pretrained, and null with model=tiny")  # fmt: skip
        if self.lora is not None and self.path is None:
            raise ValueError("model.lora must be null without model.path: there are no pretrained weights to keep")
