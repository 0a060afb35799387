"""Evaluate a trained run on one split, beside two baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.config import IndexKind, KgcConfig, Scores, Task, Ties
from kalm.data import read_negatives
from kalm.distributed import rank, world_size
from kalm.evaluation import report
from kalm.evaluation.breakdown import breakdown
from kalm.evaluation.drawn import DrawnEntities, Vectors, draw_entities
from kalm.evaluation.fused import Fused, Reranker
from kalm.evaluation.kgc import (
    Embedded,
    by_direction,
    by_relation,
    describe_protocol,
    differences,
    embed,
    intervals_by_direction,
    rank_by_frequency,
)
from kalm.evaluation.loaded_run import LoadedRun, load_run, load_untrained
from kalm.evaluation.questions import Questions, split_questions
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.relation_prediction import relation_prediction
from kalm.evaluation.triple_classification import triple_classification
from kalm.evaluation.triple_scores import TripleScorer
from kalm.graph.knowledge_graph import Triples
from kalm.logged import read_logged
from kalm.model.dual_view_lm import DualViewLM
from kalm.provenance import environment, write_json


def evaluate(config: KgcConfig) -> None:
    """Rank the split's queries, write the files of the run's `eval/` folder, print the table.

    Several processes share the entities and the queries; the first writes.

    Raises:
        ValueError: the folder is no run, has no model, or its graph has changed since; the split is empty.
    """
    assert config.run is not None, "compare has its own function"
    run = load_run(Path(config.run).expanduser())
    questions = split_questions(run.graph, config.split, config.protocol)
    # what may be refused comes before what takes long
    reranker = _reranker(run, questions, config) if config.scores is Scores.fused else None
    negatives = _negatives(run, config)
    embedded = _embed(run.encoder, run, questions, config, config.index)
    ranks = embedded.ranks(questions, config.ranking, run.device)
    result = _measured(run, questions, embedded, ranks, config)
    fused = None if reranker is None else reranker.rank(embedded.index, embedded.queries, ranks)
    if fused is not None:
        _add_fused(result, fused, ranks, questions, config.protocol.ties)
    result |= _more_tasks(run, questions, embedded, negatives, config)
    result |= _write_queries(run.folder / "eval", questions, embedded, ranks, fused, config)

    drawn = draw_entities(embedded)
    del embedded  # room for the untrained LM
    run.encoder.to("meta")
    result["baselines"] = {}
    if config.baselines:
        result["baselines"], vectors = _baselines(run, questions, drawn, config)
        drawn = replace(drawn, untrained=vectors)
    result |= {"step": run.description["step"], "environment": environment()}
    if rank() == 0:
        write_json(run.folder / "eval" / f"kgc-{config.split}.json", result)
        _print(result, run.folder)
        if config.page:
            _publish(run.folder, result, questions, ranks.with_ties(config.protocol.ties).numpy(), drawn, config)


def _measured(
    run: LoadedRun, questions: Questions, embedded: Embedded, ranks: Ranks, config: KgcConfig
) -> dict[str, Any]:
    """What follows from the ranks by cosine."""
    protocol = config.protocol
    result: dict[str, Any] = {
        "split": config.split,
        "protocol": describe_protocol(questions, config.split, protocol),
        "metrics": by_direction(ranks, questions, protocol.ties),
        "intervals": intervals_by_direction(ranks, questions, protocol.ties),
        "metrics_by_ties": {ties.value: by_direction(ranks, questions, ties) for ties in Ties},
        "per_relation": by_relation(ranks, questions, protocol.ties),
        "breakdown": breakdown(ranks, questions, run.table.targets.lengths, protocol.ties),
    }
    if config.raw:
        unfiltered = Questions(run.graph, questions.directed, [], questions.is_candidate)
        raw = embedded.ranks(unfiltered, config.ranking, run.device)
        result["raw"] = by_direction(raw, unfiltered, protocol.ties)
    return result


def _write_queries(
    output: Path, questions: Questions, embedded: Embedded, ranks: Ranks, fused: Fused | None, config: KgcConfig
) -> dict[str, Any]:
    """Write the files with a line per query; what of it belongs into the result."""
    output.mkdir(exist_ok=True)
    name = f"kgc-{config.split}"
    if rank() == 0:
        # nothing of an earlier evaluation stays beside what is new; the JSON comes last, so that ranks without it are
        # known to be of an evaluation that was broken off
        for path in (output / f"{name}.json", *output.glob(f"{name}.*")):
            path.unlink(missing_ok=True)
        report.write_ranks(output / f"{name}.ranks.tsv", questions, ranks)
        if fused is not None:
            report.write_ranks(output / f"{name}.fused.ranks.tsv", questions, fused.fused)
    found: dict[str, Any] = {}
    if config.index is not IndexKind.flat:
        found["index"] = {"kind": config.index.value, "recall@10": embedded.index.tune()}
    report.write_predictions(
        output / _predictions_file(config),
        questions,
        embedded,
        num_predictions=config.num_predictions,
        filter_splits=config.protocol.filter,
    )
    if config.save_embeddings:
        found["embeddings"] = report.write_embeddings(output, questions, embedded)
    return found


def _predictions_file(config: KgcConfig) -> str:
    approximate = "" if config.index is IndexKind.flat else f".{config.index.value}"
    return f"kgc-{config.split}.predictions{approximate}.jsonl"


def _baselines(
    run: LoadedRun, questions: Questions, drawn: DrawnEntities, config: KgcConfig
) -> tuple[dict[str, Any], Vectors]:
    """Metrics of relation frequencies and of the untrained LM, and its vectors of the entities drawn."""
    untrained = _embed(load_untrained(run), run, questions, config)
    ranks = {
        "relation frequency": rank_by_frequency(questions, config.ranking),
        "untrained LM": untrained.ranks(questions, config.ranking, run.device),
    }
    metrics = {system: by_direction(theirs, questions, config.protocol.ties) for system, theirs in ranks.items()}
    return metrics, untrained.index.vectors_of(drawn.ids).numpy()


def _reranker(run: LoadedRun, questions: Questions, config: KgcConfig) -> Reranker:
    temperature = run.description["temperature"]
    return Reranker(run.encoder, run.table, run.graph, questions, temperature, config.ranking, config.fused)


def _negatives(run: LoadedRun, config: KgcConfig) -> dict[str, Triples | None]:
    """Split -> the false triples that the data set gives, of the two splits that classification looks at."""
    if Task.classification not in config.tasks:
        return {}
    data = run.config.data
    splits = ("valid", config.split)
    return {split: read_negatives(data, run.graph, split) for split in splits}


def _more_tasks(
    run: LoadedRun, questions: Questions, embedded: Embedded, negatives: dict[str, Triples | None], config: KgcConfig
) -> dict[str, Any]:
    """What is asked beside entities, by its key in the result."""
    scorer = TripleScorer(
        encoder=run.encoder,
        table=run.table,
        vectors_of=embedded.index.vectors_of,
        num_relations=run.graph.num_relations,
        config=config.ranking,
        sharded=embedded.index.is_sharded,
    )
    tasks: dict[str, Any] = {}
    if Task.relation in config.tasks:
        tasks["relation_prediction"] = relation_prediction(scorer, run.graph, questions.triples, config.protocol)
    if Task.classification in config.tasks:
        true = {"valid": run.graph.triples["valid"], config.split: questions.triples}
        tasks["triple_classification"] = triple_classification(
            scorer, run.graph, true, negatives, split=config.split, seed=config.seed
        )
    return tasks


def _add_fused(result: dict[str, Any], fused: Fused, ranks: Ranks, questions: Questions, ties: Ties) -> None:
    result["protocol"]["fused"] = fused.protocol
    result["generation"] = by_direction(fused.generation, questions, ties)
    result["fused"] = by_direction(fused.fused, questions, ties)
    result["fused_less_embedding"] = differences(ranks, fused.fused, questions, ties)


def _embed(
    encoder: DualViewLM, run: LoadedRun, questions: Questions, config: KgcConfig, kind: IndexKind = IndexKind.flat
) -> Embedded:
    return embed(encoder, run.table, questions, config.ranking, kind=kind, sharded=world_size() > 1)


def _side_by_side(result: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics by system, the run's own by direction too, and the intervals of their MRR where there are any."""
    rows = {system: metrics["both"] for system, metrics in result["baselines"].items()}
    own = "embedding" if "fused" in result else "trained LM"
    of_model = {own: "both", "  tail (h, r, ?)": "tail", "  head (?, r, t)": "head"}
    rows |= {name: result["metrics"][group] for name, group in of_model.items()}
    if "raw" in result:
        rows["trained LM, raw"] = result["raw"]["both"]
    for score in ("generation", "fused"):
        if score in result:
            rows[f"{score}, top {result['protocol']['fused']['top_k']}"] = result[score]["both"]
    return rows, {name: result["intervals"][group]["mrr"] for name, group in of_model.items()}


def _print(result: dict[str, Any], folder: Path) -> None:
    rows, mrr_intervals = _side_by_side(result)
    if "index" in result:
        print(f"predictions by index={result['index']['kind']}, recall@10 {result['index']['recall@10']:.3f}")
    title = f"{folder.name}, {result['split']}, step {result['step']}"
    report.print_table(title, rows, f"{report.in_words(result['protocol'])}; files in {folder / 'eval'}", mrr_intervals)
    if joined := result.get("fused_less_embedding"):
        low, high = joined["mrr"]["interval"]
        chosen = result["protocol"]["fused"]["fused"]
        print(f"fused less embedding, MRR: {joined['mrr']['difference']:+.4f}, 95 % {low:+.4f} to {high:+.4f}; "
              f"chosen on valid: alpha {chosen['alpha']:g}, beta {chosen['beta']:g}")  # fmt: skip
    if asked := result.get("relation_prediction"):
        caption = f"{asked['protocol']['num_candidates']:,} relations; score: {asked['protocol']['score']}"
        interval = {"trained LM": asked["intervals"]["mrr"]}
        report.print_table("relation prediction (h, ?, t)", {"trained LM": asked["metrics"]}, caption, interval)
    if judged := result.get("triple_classification"):
        report.print_classification(judged)


def _publish(
    folder: Path,
    result: dict[str, Any],
    questions: Questions,
    ranks: NDArray[np.float64],
    drawn: DrawnEntities,
    config: KgcConfig,
) -> None:
    # heavy: loads matplotlib
    from kalm.evaluation.kgc_section import kgc_section, worst_queries
    from kalm.evaluation.sections import publish

    rows, mrr_intervals = _side_by_side(result)
    section = kgc_section(
        result,
        rows,
        mrr_intervals,
        questions=questions,
        ranks=ranks,
        logged=read_logged(folder / "metrics.jsonl"),
        worst=worst_queries(folder / "eval" / _predictions_file(config), ranks),
        drawn=drawn,
    )
    publish(folder, section)
