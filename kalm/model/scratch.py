"""A small Llama with random weights, and a tokenizer for it, made from the graph alone."""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from kalm.config import ScratchConfig, TemplateConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.text.template import head_segments, prompt_segments, relation_segments, tail_segments

END, PAD = "<|end|>", "<|pad|>"


def train_tokenizer(graph: KnowledgeGraph, template: TemplateConfig, vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE on all texts of the graph: any text can be encoded, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(graph, template), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def build_llama(scratch: ScratchConfig, tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype) -> PreTrainedModel:
    """Random weights from torch's current random state."""
    lm: PreTrainedModel = AutoModelForCausalLM.from_config(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=scratch.hidden_size,
            intermediate_size=scratch.intermediate_size,
            num_hidden_layers=scratch.num_layers,
            num_attention_heads=scratch.num_heads,
            num_key_value_heads=scratch.num_heads,
            max_position_embeddings=scratch.max_length,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        dtype=dtype,
    )
    return lm


def _texts(graph: KnowledgeGraph, template: TemplateConfig) -> Iterable[str]:
    kinds = [head_segments(graph, template), relation_segments(graph, template), tail_segments(graph, template)]
    if template.completion is not None:
        kinds += prompt_segments(graph, template)
    for segments in kinds:
        yield segments.start
        yield from segments.names
        yield from (text for text in segments.descriptions if text)
        yield segments.end
