"""Evaluate a trained run on one split, beside two baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from kalm.config import KgcConfig, Quantization
from kalm.evaluation import report
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.kgc import (
    embed,
    metrics_by_direction,
    metrics_by_relation,
    protocol,
    rank_by_embedding,
    rank_by_frequency,
    split_queries,
)
from kalm.evaluation.loaded_run import LoadedRun, load_run
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import Triples
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import build_encoder
from kalm.provenance import environment, write_json


def evaluate(config: KgcConfig) -> dict[str, Any]:
    """Rank the split's queries, write the files of the run's `eval/` folder, print the table.

    Returns:
        The content of `kgc-SPLIT.json`.

    Raises:
        ValueError: the folder is no run, has no model, or its graph has changed since.
    """
    run = load_run(Path(config.run).expanduser())
    graph = run.graph
    queries = split_queries(graph, config.split)

    embeddings = embed(run.encoder, run.table, queries, config.evaluation)
    run.encoder.to("meta")  # gives its memory back: room for the untrained one
    index = EntityIndex(embeddings.entities, run.device)
    ranks = rank_by_embedding(embeddings, index, queries, graph, config.evaluation, config.filter)
    baselines = {}
    if config.baselines:
        baselines = {
            "relation frequency": rank_by_frequency(queries, graph, config.evaluation, config.filter),
            "untrained LM": _rank_untrained(run, config, queries),
        }

    output = run.folder / "eval"
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
        "step": run.description["step"],
        "environment": environment(),
    }
    write_json(output / f"{name}.json", result)
    _print(result, run.folder)
    return result


def _rank_untrained(run: LoadedRun, config: KgcConfig, queries: Triples) -> Ranks:
    """The run's LM as it was before the first step."""
    # like the trained one, whose adapters are put on the base as it was before quantization
    model = replace(run.config.model, quantization=Quantization.none)
    encoder: DualViewLM = build_encoder(model, run.tokenizer, run.config.training.seed).to(run.device)
    embeddings = embed(encoder, run.table, queries, config.evaluation)
    index = EntityIndex(embeddings.entities, run.device)
    return rank_by_embedding(embeddings, index, queries, run.graph, config.evaluation, config.filter)


def _print(result: dict[str, Any], folder: Path) -> None:
    rows = {system: metrics["both"] for system, metrics in result["baselines"].items()}
    rows["trained LM"] = result["metrics"]["both"]
    rows["  tail (h, r, ?)"] = result["metrics"]["tail"]
    rows["  head (?, r, t)"] = result["metrics"]["head"]
    facts = result["protocol"]
    caption = (
        f"filtered by {' + '.join(facts['filter'])}; ties {facts['ties']}; "
        f"{facts['num_candidates']:,} candidates (all entities); files in {folder / 'eval'}"
    )
    report.print_table(f"{folder.name}, {result['split']}, step {result['step']}", rows, caption)
