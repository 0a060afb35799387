"""Triple classification: true or false, by a threshold per relation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.evaluation.corruption import corrupt
from kalm.evaluation.triple_scores import SCORE, TripleScorer
from kalm.graph.knowledge_graph import RELATION, SPLITS, KnowledgeGraph, Triples

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """True and false triples with their scores."""

    relations: NDArray[np.int64]  # (n,)
    scores: Scores  # (n,)
    is_true: Labels  # (n,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """A triple is taken for true from this score on."""

    per_relation: Mapping[int, float]
    overall: float  # for relations that none was chosen for

    def of(self, relations: NDArray[np.int64]) -> Scores:
        return np.array([self.per_relation.get(relation, self.overall) for relation in relations.tolist()])


def triple_classification(
    scorer: TripleScorer,
    graph: KnowledgeGraph,
    true: Mapping[str, Triples],
    false: Mapping[str, Triples | None],
    *,
    split: str,
    seed: int,
) -> dict[str, Any]:
    """Choose thresholds on valid and judge the triples of another split with them.

    Args:
        scorer: gives each triple its score.
        graph: of the triples.
        true: triples of `valid` and of the split.
        false: given negatives of both; None makes one for each true triple (see `corrupt`).
        split: what is judged.
        seed: of the negatives that are made.
    """
    valid, judged = (_scored(scorer, graph, name, true[name], false[name], seed) for name in ("valid", split))
    thresholds = choose_thresholds(valid)
    says_true = judged.scores >= thresholds.of(judged.relations)
    per_relation = {}
    for relation in np.unique(judged.relations).tolist():
        rows = judged.relations == relation
        per_relation[graph.relation_labels[relation]] = {
            **binary_metrics(says_true[rows], judged.is_true[rows]),
            "threshold": thresholds.per_relation.get(relation, thresholds.overall),
            "threshold_from": "this relation" if relation in thresholds.per_relation else "all relations",
        }
    return {
        "protocol": {
            "score": SCORE,
            "threshold": "per relation, the best accuracy on valid; that of all relations where valid has none",
            "negatives": {
                name: "corrupted" if negatives is None else "given" for name, negatives in false.items()
            },
            "seed": seed,
        },
        "metrics": binary_metrics(says_true, judged.is_true),
        "per_relation": per_relation,
    }  # fmt: skip


def choose_thresholds(valid: Scored, beyond: float = 2.0) -> Thresholds:
    """The most accurate threshold of each relation, and of all together; `beyond` as for `best_threshold`."""
    return Thresholds(
        per_relation={
            relation: best_threshold(valid.scores[rows], valid.is_true[rows], beyond)
            for relation in np.unique(valid.relations).tolist()
            for rows in [valid.relations == relation]
        },
        overall=best_threshold(valid.scores, valid.is_true, beyond),
    )


def best_threshold(scores: Scores, is_true: Labels, beyond: float = 2.0) -> float:
    """The threshold with the best accuracy, halfway between two scores; the lowest of several equally good.

    Args:
        scores: (n,), n >= 1.
        is_true: (n,).
        beyond: larger than the size of any score, so that all or none may be taken for true; 2 is for cosines.
    """
    order = np.argsort(scores)
    ordered, true_below = scores[order], np.concatenate([[0], is_true[order].cumsum()])
    # cut i takes the i lowest for false: right are the false ones below it and the true ones above it
    cuts = np.arange(len(scores) + 1)
    right = (cuts - true_below) + (true_below[-1] - true_below)
    edges = np.concatenate([[-beyond], ordered, [beyond]])
    right[edges[:-1] == edges[1:]] = -1  # equal scores cannot be told apart
    best = int(right.argmax())
    return float(edges[best] + edges[best + 1]) / 2


def binary_metrics(says_true: Labels, is_true: Labels) -> dict[str, float]:
    """Accuracy, its mean over true and false triples, F1 of the true ones, and how many there are of each.

    F1 is 0 where nothing is true nor taken for true; a kind of triple that is absent has no part in the mean.
    """
    right = says_true == is_true
    kinds = [right[kind].mean() for kind in (is_true, ~is_true) if kind.any()]
    found = int((says_true & is_true).sum())
    claims = int(says_true.sum()) + int(is_true.sum())
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(kinds)),
        "f1": 2 * found / claims if claims else 0.0,
        "num_true": int(is_true.sum()),
        "num_false": int((~is_true).sum()),
    }


def _scored(
    scorer: TripleScorer, graph: KnowledgeGraph, split: str, true: Triples, false: Triples | None, seed: int
) -> Scored:
    if false is None:
        false = corrupt(graph, true, [seed, SPLITS.index(split)])
    triples = np.concatenate([true, false])
    return Scored(
        relations=triples[:, RELATION],
        scores=scorer.triples(triples).double().numpy(),
        is_true=np.arange(len(triples)) < len(true),
    )
