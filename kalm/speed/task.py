"""A synthetic graph and a small Llama on it, and kalm's own training step over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from transformers import LlamaConfig, LlamaForCausalLM

from kalm.composition import load_config
from kalm.config import Config
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.joint import JointObjective, Losses
from kalm.objective.negatives import ContrastiveObjective
from kalm.speed.measure import seconds_of
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import TokenTable
from kalm.training.batches import BatchMaker
from kalm.training.engine import init_distributed, initialize
from kalm.training.step import train_step

ROOT = Path(__file__).resolve().parents[2]
NUM_RELATIONS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Of a synthetic task and its model."""

    vocabulary: int = 32_000
    hidden: int = 288
    layers: int = 6
    heads: int = 6
    entities: int = 4_000
    triples: int = 4_096
    name_tokens: tuple[int, int] = (3, 3)  # fewest and most
    description_tokens: tuple[int, int] = (30, 30)
    relation_tokens: tuple[int, int] = (4, 4)


LLAMA_15M = Size()
# small, so that thousands of triples take a minute on one core
LLAMA_2M = Size(vocabulary=8_000, hidden=144, layers=4, heads=3, entities=20_000, triples=8_192)
# lengths as WN18RR has them under GPT-2's tokenizer: sequences of 30 tokens on average, of 60 at most
MIXED_LENGTHS = Size(name_tokens=(1, 5), description_tokens=(4, 30), relation_tokens=(2, 7))


def synthetic_graph(size: Size) -> tuple[KnowledgeGraph, TokenTable]:
    """Random triples over random token ids: what a step costs does not depend on what the tokens say."""
    random = np.random.default_rng(0)
    limits = (size.entities, NUM_RELATIONS, size.entities)
    triples = np.stack([random.integers(limit, size=size.triples) for limit in limits], axis=1)

    def rows(count: int, *parts: tuple[int, int]) -> RaggedArray:
        lengths = np.sum([random.integers(low, high + 1, size=count) for low, high in parts], axis=0)
        # one token more closes the segment; token 0 is the padding of other systems
        return RaggedArray.from_rows([random.integers(1, size.vocabulary, size=n + 1).tolist() for n in lengths])

    heads = rows(size.entities, size.name_tokens, size.description_tokens)
    relations = rows(2 * NUM_RELATIONS, size.relation_tokens)
    table = TokenTable(
        heads=heads, relations=relations, tails=rows(size.entities, size.name_tokens), targets=heads,
        completion_heads=heads, completion_relations=relations,
    )  # fmt: skip
    labels = [str(entity) for entity in range(size.entities)]
    graph = KnowledgeGraph(
        entity_labels=labels, entity_names=labels, entity_descriptions=[""] * size.entities,
        relation_labels=labels[:NUM_RELATIONS], relation_names=labels[:NUM_RELATIONS],
        triples={"train": triples, "valid": triples[:0], "test": triples[:0]}, num_named=size.entities,
    )  # fmt: skip
    return graph, table


def llama(size: Size, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """A Llama with random weights, the same on each call."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size.vocabulary, hidden_size=size.hidden, intermediate_size=size.hidden * 8 // 3,
            num_hidden_layers=size.layers, num_attention_heads=size.heads, num_key_value_heads=size.heads,
            max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=0, bos_token_id=None,
            eos_token_id=None,
        )
    ).to(dtype)  # fmt: skip


def shipped_config(overrides: Sequence[str]) -> Config:
    """The config of `conf/`, with the model's dropout left out: no other system has one."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return load_config(compose("train", overrides=["model.dropout=0", *overrides]))


class Training:
    """Steps as kalm's trainer makes them: batch from the token table, `train_step`, DeepSpeed's engine.

    Args:
        size: of graph and model.
        overrides: of the shipped config, as on the command line.
        num_groups: of similar length, that sequences are padded in; None leaves it to the trainer's rule.
    """

    def __init__(self, size: Size, overrides: Sequence[str], num_groups: int | None = None) -> None:
        device = init_distributed()
        self.config = shipped_config(overrides)
        graph, table = synthetic_graph(size)
        contrastive = ContrastiveObjective(
            self.config.objective,
            torch.from_numpy(graph.known_tail_keys(["train"])).to(device),
            num_relations=graph.num_relations,
            num_entities=graph.num_entities,
        )
        model = self.config.model
        encoder = DualViewLM(llama(size, getattr(torch, model.dtype.value)), dropout=model.dropout)
        self.objective = JointObjective(encoder, self.config.objective, contrastive).to(device)
        grouping = {} if num_groups is None else {"num_groups": num_groups, "min_group_rows": 1}
        self.batches = BatchMaker(self.config, graph, table, rank=0, world_size=1, **grouping)
        self.engine = initialize(self.objective, self.config, world_size=1, total_steps=100_000)
        self.engine.train()
        self.num_steps = 0
        self.update_seconds: list[float] = []  # of each step, the part after the gradients
        self._update = self.engine.step
        self.engine.step = self._timed_update

    def step(self) -> Losses:
        """The next step."""
        batches = self.batches.of_step(self.num_steps, self.objective.encoder)
        self.num_steps += 1
        return train_step(self.engine, batches)

    def _timed_update(self) -> None:
        self.update_seconds.append(seconds_of(self._update))
