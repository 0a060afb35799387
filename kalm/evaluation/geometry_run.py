"""How a run's embeddings lie, before and after training: measured, printed, written, drawn."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from kalm.config import GeometryConfig
from kalm.evaluation.drawn import Vectors
from kalm.evaluation.encoding import encode, encode_entities
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.geometry import (
    alignment,
    all_pairs,
    effective_rank,
    mean_cosine,
    singular_values,
    uniformity,
)
from kalm.evaluation.geometry_sample import GeometrySample, draw_sample
from kalm.evaluation.hubness import hubness, k_occurrences
from kalm.evaluation.jackknife import Estimate, Floats, difference, interval
from kalm.evaluation.loaded_run import LoadedRun, load_run, load_untrained
from kalm.evaluation.report import print_columns
from kalm.model.dual_view_lm import DualViewLM
from kalm.provenance import environment, write_json
from kalm.text.ragged import Ids

NUM_IN_MATRIX = 32
SIDES = ("entities", "queries")
COLUMNS = ("", "base", "tuned", "difference", "what it is")
MEANINGS = {
    "anisotropy": "mean cosine of two different ones",
    "uniformity": "log of the mean of exp(-2 distance²)",
    "alignment": "mean distance² of a query and its answer",
    "effective rank": "directions in use",
    "effective rank, centred": "the same without the mean",
    "hubness, skewness": "of N_k, the queries that an entity is near to",
    "hubness, never": "share of entities that are near to no query",
    "hubness, largest": "queries that the largest hub is near to",
}
# KaLM (arXiv 2412.04948) says of tuned models: less anisotropic, more uniform; both are better when lower
CLAIMS = {"less anisotropic": "anisotropy", "more uniform": "uniformity"}


class Shown(NamedTuple):
    """What the pictures of one model need."""

    cosines: dict[str, Ids]  # entities, queries -> pairs by cosine
    spectrum: dict[str, Floats]  # entities, queries -> singular values
    occurrences: Floats  # N_k of each entity
    matrix: Vectors  # of a few entities, (n, D)


def evaluate_geometry(config: GeometryConfig) -> None:
    """Measure base and tuned model on the same sample; write eval/geometry.json and the page's section; print.

    Raises:
        ValueError: the folder is no run, has no model, or its graph has changed since; there is too little to compare.
    """
    run = load_run(Path(config.run).expanduser())
    sample = draw_sample(run.graph, run.table, config)
    print(f"embedding {len(sample.entities):,} entities and {len(sample.distinct_queries):,} queries", flush=True)
    tuned, tuned_shown = measure(run.encoder, run, sample, config)
    run.encoder.to("meta")  # room for the untrained LM
    print("the same by the untrained LM", flush=True)
    base, base_shown = measure(load_untrained(run), run, sample, config)
    estimates = {
        name: {"base": base[name], "tuned": tuned[name], "difference": difference(base[name], tuned[name])}
        for name in tuned
    }
    measures: dict[str, dict[str, Any]] = {
        name: {of: {"value": found.value, "interval": interval(found)} for of, found in by_model.items()}
        for name, by_model in estimates.items()
    }
    result = {
        "split": config.split,
        "protocol": describe(sample, run, config),
        "measures": measures,
        "claims": {f"{claim}, {side}": verdict(measures[f"{measure}, {side}"]["difference"]["interval"])
                   for claim, measure in CLAIMS.items() for side in SIDES},
        "step": run.description["step"],
        "environment": environment(),
    }  # fmt: skip
    output = run.folder / "eval"
    output.mkdir(exist_ok=True)
    write_json(output / "geometry.json", result)
    print_geometry(result, run.folder)
    if config.page:
        # heavy: loads matplotlib
        from kalm.evaluation.geometry_section import geometry_section
        from kalm.evaluation.sections import publish

        drawn = sample.entities[sample.entities_drawn[:NUM_IN_MATRIX]]
        names = [run.graph.entity_names[entity] for entity in drawn]
        publish(run.folder, geometry_section(result, base_shown, tuned_shown, names))


def measure(
    encoder: DualViewLM, run: LoadedRun, sample: GeometrySample, config: GeometryConfig
) -> tuple[dict[str, Estimate], Shown]:
    """All measures of one model, by name, and what is drawn of it."""
    device, ranking = run.device, config.ranking
    entities = encode_entities(encoder, run.table, ranking.batch_tokens, sample.entities)
    queries = encode(encoder, sample.queries, ranking.batch_tokens, sample.distinct_queries)
    drawn = {"entities": entities[torch.from_numpy(sample.entities_drawn)], "queries": queries[: config.num_vectors]}
    measures: dict[str, Estimate] = {}
    cosines, spectrum = {}, {}
    for side, vectors in drawn.items():
        pairs = all_pairs(vectors, ranking.score_memory_mib, device)
        measures[f"anisotropy, {side}"] = mean_cosine(vectors)
        measures[f"uniformity, {side}"] = uniformity(pairs)
        num_parts = min(config.num_parts, len(vectors))
        for name, centred in (("effective rank", False), ("effective rank, centred", True)):
            measures[f"{name}, {side}"] = effective_rank(vectors, num_parts, device, centred=centred)
        cosines[side], spectrum[side] = pairs.histogram, singular_values(vectors, device, centred=False)
    places = torch.from_numpy(sample.query_of), torch.from_numpy(sample.tail_of)
    measures["alignment"] = alignment(queries[places[0]], entities[places[1]])
    neighbours = EntityIndex(entities).search(queries, config.k)[1].numpy()
    found = hubness(neighbours, len(entities), min(config.num_parts, len(queries)))
    measures |= {f"hubness, {name}": estimate for name, estimate in found.items()}
    shown = Shown(cosines, spectrum, k_occurrences(neighbours, len(entities)),
                  drawn["entities"][:NUM_IN_MATRIX].numpy())  # fmt: skip
    return dict(sorted(measures.items(), key=lambda item: _place(item[0]))), shown


def describe(sample: GeometrySample, run: LoadedRun, config: GeometryConfig) -> dict[str, Any]:
    """What was measured on, so that nobody has to guess."""
    num_queries, num_entities = len(sample.distinct_queries), len(sample.entities)
    k = min(config.k, num_entities)
    return {
        "num_entities": run.graph.num_entities,
        "num_distinct_entities": num_entities,
        "num_entities_in_pairs": len(sample.entities_drawn),
        "num_triples": sample.num_triples,
        "num_queries": num_queries,
        "num_queries_in_pairs": min(num_queries, config.num_vectors),
        "embedding_size": run.encoder.embedding_size,
        "k": k,
        # so many places are there among the nearest of all queries
        "least_never": max(0.0, 1 - num_queries * k / num_entities),
        "texts": "equal texts count once",
        "intervals": "95 %, jackknife over entities, queries or triples; differences are paired",
        "num_parts": config.num_parts,
        "seed": config.seed,
    }


def verdict(difference_interval: list[float]) -> str:
    """Whether tuned is below base, where below is what is claimed."""
    low, high = difference_interval
    return "yes" if high < 0 else "no, the other way round" if low > 0 else "not settled"


def print_geometry(result: dict[str, Any], folder: Path) -> None:
    title = f"{folder.name}, geometry of {result['split']}, step {result['step']}"
    print_columns(title, COLUMNS, rows_of(result), f"{in_words(result['protocol'])}; {folder / 'eval/geometry.json'}")
    for claim, answer in result["claims"].items():
        print(f"{claim}: {answer}")


def rows_of(result: dict[str, Any]) -> list[list[str]]:
    """Base, tuned and difference of each measure, each with half its interval's width, and what it means."""
    rows = []
    for name, found in result["measures"].items():
        places = 1 if max(abs(of["value"]) for of in found.values()) >= 100 else 3
        row = [name]
        for of, estimate in found.items():
            sign = "+" if of == "difference" else ""
            reach = estimate["interval"][1] - estimate["value"]
            row.append(f"{estimate['value']:{sign}.{places}f} ± {reach:.{places}f}")
        rows.append([*row, MEANINGS[_measure(name)]])
    return rows


def in_words(protocol: dict[str, Any]) -> str:
    """What was measured on, for the line under a table."""
    never = protocol["least_never"]
    return (
        f"{protocol['num_distinct_entities']:,} entities with different texts ({protocol['num_entities_in_pairs']:,} "
        f"in pairs), {protocol['num_queries']:,} different queries ({protocol['num_queries_in_pairs']:,} in pairs) of "
        f"{protocol['num_triples']:,} triples, k = {protocol['k']}, {protocol['embedding_size']:,} dimensions; "
        f"intervals: {protocol['intervals']}"
        + (f"; so few queries leave at least {never:.1%} of the entities near to none" if never > 0 else "")
    )


def _measure(name: str) -> str:
    """The name without the side."""
    return name.removesuffix(", entities").removesuffix(", queries")


def _place(name: str) -> int:
    return list(MEANINGS).index(_measure(name))
