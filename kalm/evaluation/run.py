"""Evaluate a trained run on one split, beside two baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from kalm.config import KgcConfig, Quantization, Task
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
from kalm.evaluation.relation_prediction import relation_prediction
from kalm.evaluation.triple_classification import triple_classification
from kalm.evaluation.triple_scores import TripleScorer
from kalm.graph.knowledge_graph import Triples
from kalm.graph.sources import load_negatives
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
    more_tasks = _more_tasks(run, embeddings.entities, config)
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
        **more_tasks,
        "step": run.description["step"],
        "environment": environment(),
    }
    write_json(output / f"{name}.json", result)
    _print(result, run.folder)
    return result


def _more_tasks(run: LoadedRun, entities: Tensor, config: KgcConfig) -> dict[str, Any]:
    """What is asked beside entities, by its key in the result."""
    scorer = TripleScorer(
        encoder=run.encoder,
        table=run.table,
        entities=entities,
        num_relations=run.graph.num_relations,
        config=config.evaluation,
    )
    tasks: dict[str, Any] = {}
    if Task.relation in config.tasks:
        tasks["relation_prediction"] = relation_prediction(scorer, run.graph, config.split, config.filter)
    if Task.classification in config.tasks:
        data = run.config.data
        given = {
            split: load_negatives(data.source.value, data.folder, run.graph, split) for split in ("valid", config.split)
        }
        tasks["triple_classification"] = triple_classification(scorer, run.graph, config.split, given, config.seed)
    return tasks


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
    if asked := result.get("relation_prediction"):
        caption = f"{asked['protocol']['num_candidates']:,} relations; score: {asked['protocol']['score']}"
        report.print_table("relation prediction (h, ?, t)", {"trained LM": asked["metrics"]}, caption)
    if judged := result.get("triple_classification"):
        _print_classification(judged)


def _print_classification(judged: dict[str, Any]) -> None:
    metrics = judged["metrics"]
    negatives = " and ".join(f"{how} for {split}" for split, how in judged["protocol"]["negatives"].items())
    report.print_columns(
        "triple classification",
        ("", "accuracy", "balanced", "F1", "true", "false"),
        [("trained LM", *(f"{metrics[key]:.3f}" for key in ("accuracy", "balanced_accuracy", "f1")),
          f"{metrics['num_true']:,}", f"{metrics['num_false']:,}")],
        f"thresholds per relation, chosen on valid; false triples {negatives}",
    )  # fmt: skip
