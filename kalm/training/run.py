"""One training run, from a checked config to a model folder."""

import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from kalm.config import Config, Scope, Teacher
from kalm.data import read_graph
from kalm.distributed import barrier, broadcast, rank, world_size
from kalm.graph.coverage import coverage, shown
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import build_encoder, check_tokens, load_saved_tokenizer, load_tokenizer, max_positions
from kalm.objective.joint import JointObjective
from kalm.objective.negatives import ContrastiveObjective
from kalm.text.token_table import TokenTable, cached_token_table
from kalm.training.dry_run import dry_run
from kalm.training.engine import check_device, init_distributed
from kalm.training.lock import lock_folder
from kalm.training.memory import parameter_sizes
from kalm.training.questions import load_questions
from kalm.training.raw_texts import load_text_windows, start_adapters
from kalm.training.run_folder import check_data, check_folder, remove_if_empty, start_folder
from kalm.training.trainer import Trainer


def train(config: Config) -> None:
    """Train, and leave the run's folder as DESIGN describes it; with `training.dry_run` estimate that, and leave none.

    Raises:
        ValueError: data, model or run folder are not usable.
    """
    if config.training.dry_run:
        if config.training.resume:
            check_folder(config)
        dry_run(_set_up(config))
        return
    if int(os.environ.get("RANK", "0")) > 0:
        _set_up(config).fit()
        return
    with lock_folder(config.run.folder, "run.name"):
        try:
            check_folder(config)
            trainer = _set_up(config)
        except BaseException:
            remove_if_empty(config.run.folder)
            raise
        trainer.fit()


def _set_up(config: Config) -> Trainer:
    device = init_distributed()
    check_device(config, device)
    graph = read_graph(config.data)
    wanted = config.training.batch_size
    fit_batch(config, graph, world_size())
    for line in [*shown(graph), coverage(graph)]:
        _say(line)
    if config.training.batch_size < wanted and config.step_size == config.training.batch_size:
        _say(f"note: training.batch_size={wanted} is more than the graph's training triples; a step takes "
             f"{config.training.batch_size}")  # fmt: skip
    if config.objective.negatives.scope is Scope.rank and world_size() == 1:
        _say("note: objective.negatives.scope=rank changes nothing here: one process has the whole batch")
    tokenizer = _shared_tokenizer(config, graph)
    encoder = build_encoder(config.model, tokenizer, config.training.seed).to(device)
    table = _shared_table(config, graph, tokenizer)
    check_table(table, encoder, config)
    texts = load_text_windows(config, tokenizer, encoder)
    first_factors = start_adapters(config, tokenizer, encoder, _first_factors_file(config))
    questions = load_questions(config, graph, tokenizer, encoder)
    base = encoder.frozen_copy() if _needs_copy(config, encoder) else None
    objective = _objective(config, graph, encoder, base).to(device)
    if rank() == 0:
        check_data(config, graph)
        if not config.training.dry_run:
            start_folder(config, graph, world_size())
            tokenizer.save_pretrained(_tokenizer_folder(config))
            if first_factors is not None:
                save_file(first_factors, _first_factors_file(config))
    barrier()
    trainer = Trainer(config, graph, table, tokenizer, objective, texts, questions)
    trained = sum(size.numel for size in parameter_sizes(objective) if size.is_trained)
    _say(f"{type(encoder.causal_lm).__name__}, {trained:,} trained parameters; {trainer.total_steps:,} steps of "
         f"{_step_in_words(config)} on {world_size()} x {device.type}; {config.run.folder}")  # fmt: skip
    return trainer


def fit_batch(config: Config, graph: KnowledgeGraph, world_size: int) -> None:
    """Lower a batch size that the graph cannot fill, so that a small graph trains with what is shipped.

    Raises:
        ValueError: there are micro-batches to be kept, fewer triples than processes, or too few entities for the hard
            negatives that a step wants.
    """
    batch_size, num_triples = config.training.batch_size, len(graph.triples["train"])
    if batch_size > num_triples:
        largest = num_triples // world_size * world_size
        if config.training.micro_batch_size is not None or largest == 0:
            raise ValueError(
                f"training.batch_size={batch_size}: the graph has {num_triples} training triples; set it to {largest} "
                f"or less{', and training.micro_batch_size to match' if largest else ' with fewer processes'}"
            )
        batch_size = config.training.batch_size = largest
    hard_per_triple = config.objective.negatives.hard_per_triple
    num_directed = batch_size // world_size * (2 if config.objective.inverse_view else 1)
    if num_directed * hard_per_triple > graph.num_entities:
        raise ValueError(
            f"objective.negatives.hard_per_triple={hard_per_triple}: {num_directed} directed triples of each process "
            f"want {num_directed * hard_per_triple} entities a step and the graph has {graph.num_entities}; set it to "
            f"{graph.num_entities // num_directed} or less, or lower training.batch_size"
        )


def check_table(table: TokenTable, encoder: DualViewLM, config: Config) -> None:
    """Refuse sequences that the LM cannot take, before the first step.

    Raises:
        ValueError: the longest sequence has more tokens than the LM has positions, or a token has no embedding.
    """
    limit = max_positions(encoder)
    if limit is not None and table.max_length > limit:
        is_scratch = config.model.scratch is not None
        raise ValueError(
            f"template.max_description_tokens={config.template.max_description_tokens}: the longest sequence has "
            f"{table.max_length} tokens and the LM takes {limit}; lower it, or template.max_name_tokens"
            + (f", or set model.scratch.max_length={table.max_length} or more" if is_scratch else "")
        )
    check_tokens(table.max_token, encoder)


def _needs_copy(config: Config, encoder: DualViewLM) -> bool:
    """Whether a term reads the LM of before the first step, which adapters alone would leave as it is."""
    kale = config.objective.kale
    is_teacher = kale is not None and kale.kl_weight > 0 and kale.teacher is Teacher.base
    return (config.objective.retention_weight > 0 or is_teacher) and not encoder.has_adapters


def _step_in_words(config: Config) -> str:
    triples, kale = f"{config.training.batch_size} triples", config.objective.kale
    if kale is None:
        return triples
    questions = f"{kale.batch_size} questions"
    return questions if kale.is_alone else f"{triples}, a share of {kale.share:g} of {questions}"


def _objective(config: Config, graph: KnowledgeGraph, encoder: DualViewLM, base: DualViewLM | None) -> JointObjective:
    known_tail_keys = torch.from_numpy(graph.known_tail_keys(["train"])).to(next(encoder.parameters()).device)
    contrastive = ContrastiveObjective(
        config.objective, known_tail_keys, num_relations=graph.num_relations, num_entities=graph.num_entities
    )
    return JointObjective(encoder, config.objective, contrastive, base)


def _shared_tokenizer(config: Config, graph: KnowledgeGraph) -> PreTrainedTokenizerFast:
    """One and the same on all ranks, and in a resumed run."""
    if config.training.resume:
        return load_saved_tokenizer(str(_tokenizer_folder(config)))
    return broadcast(load_tokenizer(config.model, config.template, graph) if rank() == 0 else None)


def _tokenizer_folder(config: Config) -> Path:
    return config.run.folder / "checkpoints" / "tokenizer"


def _first_factors_file(config: Config) -> Path:
    return config.run.folder / "checkpoints" / "first-factors.safetensors"


def _shared_table(config: Config, graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast) -> TokenTable:
    """Tokenised by one process; the others find it in the cache."""
    if rank() == 0:
        cached_token_table(graph, tokenizer, config.template, config.data.cache_folder)
    barrier()
    return cached_token_table(graph, tokenizer, config.template, config.data.cache_folder)


def _say(text: str) -> None:
    if rank() == 0:
        print(text, flush=True)
