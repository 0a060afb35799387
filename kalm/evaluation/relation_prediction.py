"""Relation prediction: (h, ?, t), the true relation ranked among all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kalm.evaluation.ranking import Ranks, filtered_ranks, rank_metrics
from kalm.evaluation.triple_scores import TripleScorer
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph
from kalm.graph.known_tails import known_relations


def rank_relations(scorer: TripleScorer, graph: KnowledgeGraph, split: str, filter_splits: Sequence[str]) -> Ranks:
    """Rank of each triple's relation among all that are not known to hold between its head and tail.

    Args:
        scorer: gives each relation its score.
        graph, split: whose triples are asked, (h, ?, t).
        filter_splits: where other relations between h and t are known from; they are left out.
    """
    heads, relations, tails = (
        torch.from_numpy(graph.triples[split][:, column].copy()) for column in (HEAD, RELATION, TAIL)
    )
    known_rows, known_ids = known_relations(
        torch.from_numpy(graph.known_relation_keys(filter_splits)),
        heads,
        tails,
        num_relations=graph.num_relations,
        num_entities=graph.num_entities,
    )
    return filtered_ranks(scorer.relations(heads.numpy(), tails.numpy()), relations, known_rows, known_ids)


def relation_prediction(
    scorer: TripleScorer, graph: KnowledgeGraph, split: str, filter_splits: Sequence[str]
) -> dict[str, Any]:
    """Protocol and metrics, over all triples of the split and per relation."""
    realistic = rank_relations(scorer, graph, split, filter_splits).realistic.numpy()
    relations = graph.triples[split][:, RELATION]
    return {
        "protocol": {
            "filter": list(filter_splits),
            "ties": "realistic",
            "candidates": "all relations",
            "num_candidates": graph.num_relations,
            "score": "mean of cos((h, r), t) and cos((t, inverse r), h)",
        },
        "metrics": rank_metrics(realistic),
        "per_relation": {
            graph.relation_labels[relation]: rank_metrics(realistic[relations == relation])
            for relation in np.unique(relations)
        },
    }
