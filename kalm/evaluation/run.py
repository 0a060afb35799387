"""Evaluate a trained run on one split, beside two baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from transformers import PreTrainedTokenizerFast

from kalm.composition import of_this_version, read_config
from kalm.config import Config, KgcConfig, Quantization, Scores, TemplateConfig
from kalm.evaluation import report
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.fused import Reranker
from kalm.evaluation.kgc import (
    embed,
    metrics_by_direction,
    metrics_by_relation,
    protocol,
    rank_by_embedding,
    rank_by_frequency,
    split_queries,
)
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import KnowledgeGraph, Triples
from kalm.graph.sources import load_graph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import KALM_FILE, build_encoder, load_trained
from kalm.provenance import environment, write_json
from kalm.text.token_table import TokenTable, cached_token_table, data_digests


def evaluate(config: KgcConfig) -> dict[str, Any]:
    """Rank the split's queries, write the files of the run's `eval/` folder, print the table.

    Returns:
        The content of `kgc-SPLIT.json`.

    Raises:
        ValueError: the folder is no run, has no model, or its graph has changed since.
    """
    folder = Path(config.run).expanduser()
    run_config = read_config(folder / "config.yaml")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder, tokenizer, description = load_trained(folder / "model", run_config.model.dtype)
    graph = load_graph(run_config.data.source.value, run_config.data.folder)
    check_graph(graph, description, folder)
    template = of_this_version(folder / "model" / KALM_FILE, OmegaConf.create(description["template"]), TemplateConfig)
    table = cached_token_table(graph, tokenizer, template, run_config.data.cache_folder)
    queries = split_queries(graph, config.split)

    embeddings = embed(encoder.to(device), table, queries, config.evaluation)
    index = EntityIndex(embeddings.entities, device)
    ranks = rank_by_embedding(embeddings, index, queries, graph, config.evaluation, config.filter)
    fused = None
    if config.scores is Scores.fused:
        reranker = Reranker(encoder, table, graph, index, description["temperature"], config.evaluation, config.fused)
        fused = reranker.rank(queries, embeddings, ranks, config.filter)
        del reranker
    del encoder  # room for the untrained one
    baselines = {}
    if config.baselines:
        baselines = {
            "relation frequency": rank_by_frequency(queries, graph, config.evaluation, config.filter),
            "untrained LM": _rank_untrained(run_config, config, tokenizer, table, queries, graph, device),
        }

    output = folder / "eval"
    output.mkdir(exist_ok=True)
    name = f"kgc-{config.split}"
    report.write_ranks(output / f"{name}.ranks.tsv", queries, ranks, graph)
    report.write_predictions(
        output / f"{name}.predictions.jsonl",
        queries,
        embeddings,
        index,
        graph,
        num_predictions=config.evaluation.num_predictions,
        filter_splits=config.filter,
    )
    if config.save_embeddings:
        report.write_embeddings(output, queries, embeddings, graph)
    result = {
        "split": config.split,
        "protocol": protocol(graph, config.filter),
        "metrics": metrics_by_direction(ranks, queries, graph),
        "per_relation": metrics_by_relation(ranks, queries, graph),
        "baselines": {system: metrics_by_direction(theirs, queries, graph) for system, theirs in baselines.items()},
        "step": description["step"],
        "environment": environment(),
    }
    fused_ranks = output / f"{name}.fused.ranks.tsv"
    fused_ranks.unlink(missing_ok=True)  # of an earlier evaluation, beside which the other files are new
    if fused is not None:
        result["protocol"]["fused"] = fused.protocol
        for score in ("generation", "fused"):
            result[score] = metrics_by_direction(getattr(fused, score), queries, graph)
        report.write_ranks(fused_ranks, queries, fused.fused, graph)
    write_json(output / f"{name}.json", result)
    _print(result, folder)
    return result


def check_graph(graph: KnowledgeGraph, description: dict[str, Any], folder: Path) -> None:
    """Refuse a graph that is not the one the model was trained on.

    Raises:
        ValueError: triples or texts have another digest.
    """
    changed = [part for part, digest in data_digests(graph).items() if description["data"][part] != digest]
    if changed:
        raise ValueError(f"{folder}: the graph's {' and '.join(changed)} changed since the run was trained; "
                         "restore the files, or train again")  # fmt: skip


def _rank_untrained(
    run_config: Config,
    config: KgcConfig,
    tokenizer: PreTrainedTokenizerFast,
    table: TokenTable,
    queries: Triples,
    graph: KnowledgeGraph,
    device: torch.device,
) -> Ranks:
    """The run's LM as it was before the first step."""
    # like the trained one, whose adapters are put on the base as it was before quantization
    model = replace(run_config.model, quantization=Quantization.none)
    encoder: DualViewLM = build_encoder(model, tokenizer, run_config.training.seed).to(device)
    embeddings = embed(encoder, table, queries, config.evaluation)
    index = EntityIndex(embeddings.entities, device)
    return rank_by_embedding(embeddings, index, queries, graph, config.evaluation, config.filter)


def _print(result: dict[str, Any], folder: Path) -> None:
    rows = {system: metrics["both"] for system, metrics in result["baselines"].items()}
    rows["embedding" if "fused" in result else "trained LM"] = result["metrics"]["both"]
    rows["  tail (h, r, ?)"] = result["metrics"]["tail"]
    rows["  head (?, r, t)"] = result["metrics"]["head"]
    for score in ("generation", "fused"):
        if score in result:
            rows[f"{score}, top {result['protocol']['fused']['top_k']}"] = result[score]["both"]
    facts = result["protocol"]
    caption = (
        f"filtered by {' + '.join(facts['filter'])}; ties {facts['ties']}; "
        f"{facts['num_candidates']:,} candidates (all entities); files in {folder / 'eval'}"
    )
    report.print_table(f"{folder.name}, {result['split']}, step {result['step']}", rows, caption)
