"""The section of a run's page about one evaluation by `eval/kgc.py`: tables and pictures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from kalm.evaluation.breakdown import MEANINGS, num_training_triples
from kalm.evaluation.drawn import DrawnEntities
from kalm.evaluation.embedding_pictures import embedding_map, similarity_matrices
from kalm.evaluation.metrics import HITS_AT
from kalm.evaluation.pictures import (
    CURVES,
    MAX_RELATIONS,
    frequency_against_rank,
    mrr_by_relation,
    rank_histogram,
    training_curves,
)
from kalm.evaluation.questions import Questions
from kalm.evaluation.report import in_words
from kalm.evaluation.sections import Rendered, Section, templates
from kalm.graph.knowledge_graph import TAIL

NUM_WORST, NUM_INSTEAD = 25, 3
NUM_IN_MATRIX = 32


class _Drawing(NamedTuple):
    """A picture under a heading of its own."""

    id: str
    title: str
    svg: Markup
    caption: str


def kgc_section(
    result: Mapping[str, Any],
    rows: Mapping[str, Mapping[str, float]],
    mrr_intervals: Mapping[str, Sequence[float]],
    *,
    questions: Questions,
    ranks: NDArray[np.float64],
    logged: Sequence[Mapping[str, Any]],
    worst: Sequence[tuple[float, Mapping[str, Any]]],
    drawn: DrawnEntities,
) -> Section:
    """All tables and pictures of one evaluation. Every text is escaped.

    Args:
        result: the content of kgc-SPLIT.json.
        rows, mrr_intervals: systems side by side, as in the printed table.
        questions: Q queries.
        ranks: (Q,), under the protocol's policy for ties.
        logged: lines of metrics.jsonl.
        worst: from `worst_queries`.
        drawn: the entities in the pictures of embeddings.
    """
    name = f"kgc-{result['split']}"
    html = templates().get_template("kgc.html").render(
        id=name,
        result=result,
        rows=rows,
        mrr_intervals=mrr_intervals,
        protocol=in_words(dict(result["protocol"])),
        hits_at=HITS_AT,
        meanings=MEANINGS,
        worst=worst,
        pictures=list(_pictures(result, questions, ranks, logged, drawn)),
    )  # fmt: skip
    title = f"Completion of the graph, {result['split']}"
    return Section(name=name, title=title, step=result["step"], parts=[Rendered(html)])


def worst_queries(path: Path, ranks: NDArray[np.float64]) -> list[tuple[float, dict[str, Any]]]:
    """Rank and prediction of the queries with the highest ranks, worst first; `instead`: the best that are not known.

    Args:
        path: kgc-SPLIT.predictions.jsonl, one line per query.
        ranks: (Q,).
    """
    rows = np.argsort(-ranks, kind="stable")[:NUM_WORST].tolist()
    found = {}
    with path.open(encoding="utf-8") as lines:  # of many queries a few are kept
        for row, line in enumerate(lines):
            if row in rows:
                found[row] = json.loads(line)
                unknown = [prediction for prediction in found[row]["predictions"] if not prediction["known"]]
                found[row]["instead"] = unknown[:NUM_INSTEAD]
    return [(float(ranks[row]), found[row]) for row in rows]


def _pictures(
    result: Mapping[str, Any],
    questions: Questions,
    ranks: NDArray[np.float64],
    logged: Sequence[Mapping[str, Any]],
    drawn: DrawnEntities,
) -> Iterator[_Drawing]:
    """The sections with pictures; one that would have nothing to show is left out."""
    graph = questions.graph
    if any(name in line for line in logged for name in CURVES):
        yield _Drawing(
            "training",
            "Training",
            Markup(training_curves(logged)),
            "What metrics.jsonl holds, by optimizer step. MRR of valid is there if the run was validated "
            "(evaluation.every_steps).",
        )
    yield _Drawing(
        "ranks",
        "Ranks",
        Markup(rank_histogram(ranks, questions.is_head)),
        "Share of the queries in ranges of ranks: 1, above 1 up to 3, above 3 up to 10 and so on. The first three bars "
        "of a direction add up to its Hits@10.",
    )
    num_relations = len(result["per_relation"])
    which = "" if num_relations <= MAX_RELATIONS else f" The {MAX_RELATIONS} that are asked most of {num_relations}."
    yield _Drawing(
        "relations",
        "Relations",
        Markup(mrr_by_relation(result["per_relation"])),
        f"MRR of each relation in both directions, with the number of its queries; best on top.{which}",
    )
    frequencies = num_training_triples(graph)[questions.directed[:, TAIL]]
    yield _Drawing(
        "frequency",
        "Frequency and rank",
        Markup(frequency_against_rank(frequencies, ranks)),
        "Rank of each query's answer by the number of training triples that the answer occurs in. Line and band: "
        "median and middle 80 % of the queries in bins that double in width.",
    )
    if len(drawn.ids) < 3:  # no plane to draw them in
        return
    is_all = len(drawn.ids) == graph.num_entities
    which = "all entities" if is_all else f"{len(drawn.ids):,} of {graph.num_entities:,} entities, drawn at random,"
    yield _Drawing(
        "map",
        "Map of the entities",
        Markup(embedding_map(drawn.trained, drawn.ids, graph)),
        f"Embeddings of {which} in the plane in which they differ most. Colour: the relation that an entity is most "
        "often the head of in training.",
    )
    in_matrix = slice(NUM_IN_MATRIX)
    yield _Drawing(
        "similarity",
        "Similarity of entities",
        Markup(
            similarity_matrices(
                None if drawn.untrained is None else drawn.untrained[in_matrix],
                drawn.trained[in_matrix],
                [graph.entity_names[entity] for entity in drawn.ids[in_matrix]],
            )
        ),
        "Cosine of entities drawn at random with one another, in an order that puts those side by side which are near "
        "after training. Above it mean and standard deviation off the diagonal: entities that are all alike, with "
        "cosines near 1, cannot be told apart by a query.",
    )
