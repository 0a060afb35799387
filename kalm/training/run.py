"""One training run, from a checked config to a model folder."""

import os

import torch
from transformers import PreTrainedTokenizerFast

from kalm.config import Config, TemplateConfig
from kalm.distributed import barrier, rank, world_size
from kalm.graph.inspect import coverage
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.sources import load_graph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import build_encoder, load_saved_tokenizer, load_tokenizer, max_positions
from kalm.objective.joint import JointObjective
from kalm.text.token_table import TokenTable, cached_token_table
from kalm.training.engine import init_distributed
from kalm.training.run_folder import describe_run, lock_folder, prepare_folder
from kalm.training.trainer import Trainer


def train(config: Config) -> None:
    """Train, and leave the run's folder as DESIGN describes it.

    Raises:
        ValueError: data, model or run folder are not usable.
    """
    lock = None
    if int(os.environ.get("RANK", "0")) == 0:
        lock = lock_folder(config.run.folder)
        prepare_folder(config)
    device = init_distributed()
    graph = load_graph(config.data.source.value, config.data.folder)
    _say(coverage(graph))
    tokenizer = _shared_tokenizer(config, graph)
    encoder = build_encoder(config.model, tokenizer, config.training.seed)
    table = _shared_table(config, graph, tokenizer)
    check_lengths(table, encoder, config.template)
    objective = JointObjective(
        encoder,
        config.objective,
        torch.from_numpy(graph.known_tail_keys(["train"])),
        num_relations=graph.num_relations,
        num_entities=graph.num_entities,
    ).to(device)
    if rank() == 0:
        describe_run(config, graph, world_size())
    trainer = Trainer(config, graph, table, tokenizer, objective)
    trained = sum(parameter.numel() for parameter in objective.parameters() if parameter.requires_grad)
    _say(f"{type(encoder.causal_lm).__name__}, {trained:,} trained parameters; {trainer.total_steps:,} steps of "
         f"{config.training.batch_size} triples on {world_size()} x {device.type}; {config.run.folder}")  # fmt: skip
    trainer.fit()
    if lock is not None:
        lock.close()


def check_lengths(table: TokenTable, encoder: DualViewLM, template: TemplateConfig) -> None:
    """Refuse sequences that the LM cannot take, before the first step.

    Raises:
        ValueError: the longest sequence has more tokens than the LM has positions.
    """
    limit = max_positions(encoder)
    if limit is not None and table.max_length > limit:
        raise ValueError(
            f"template.max_description_tokens={template.max_description_tokens}: the longest sequence has "
            f"{table.max_length} tokens and the LM takes {limit}; lower it, or template.max_name_tokens"
        )


def _shared_tokenizer(config: Config, graph: KnowledgeGraph) -> PreTrainedTokenizerFast:
    """Made once by rank 0 and read by all, so that no two ranks, and no resumed run, differ in it."""
    folder = config.run.folder / "checkpoints" / "tokenizer"
    if rank() == 0 and not folder.is_dir():
        load_tokenizer(config.model, config.template, graph).save_pretrained(folder)
    barrier()
    return load_saved_tokenizer(str(folder))


def _shared_table(config: Config, graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast) -> TokenTable:
    """Tokenised by one process; the others find it in the cache."""
    if rank() == 0:
        cached_token_table(graph, tokenizer, config.template, config.data.cache_folder)
    barrier()
    return cached_token_table(graph, tokenizer, config.template, config.data.cache_folder)


def _say(text: str) -> None:
    if rank() == 0:
        print(text, flush=True)
