"""Relation prediction: (h, ?, t), the true relation ranked among all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kalm.config import Protocol
from kalm.evaluation.metrics import intervals, rank_metrics
from kalm.evaluation.ranking import Ranks, filtered_ranks
from kalm.evaluation.triple_scores import SCORE, TripleScorer
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples
from kalm.graph.known_tails import known_relations


def rank_relations(
    scorer: TripleScorer, graph: KnowledgeGraph, triples: Triples, filter_splits: Sequence[str]
) -> Ranks:
    """Rank of each triple's relation among all that are not known to hold between its head and tail.

    Args:
        scorer: gives each relation its score.
        graph: of the triples.
        triples: what is asked, (h, ?, t).
        filter_splits: where other relations between h and t are known from; they are left out.
    """
    heads, relations, tails = (torch.from_numpy(triples[:, column].copy()) for column in (HEAD, RELATION, TAIL))
    known_rows, known_ids = known_relations(
        torch.from_numpy(graph.known_relation_keys(filter_splits)),
        heads,
        tails,
        num_relations=graph.num_relations,
        num_entities=graph.num_entities,
    )
    return filtered_ranks(scorer.relations(heads.numpy(), tails.numpy()), relations, known_rows, known_ids)


def relation_prediction(
    scorer: TripleScorer, graph: KnowledgeGraph, triples: Triples, protocol: Protocol
) -> dict[str, Any]:
    """Protocol and metrics, over all triples and per relation."""
    ranks = rank_relations(scorer, graph, triples, protocol.filter)
    chosen, num_candidates = ranks.with_ties(protocol.ties).numpy(), ranks.num_candidates.numpy()
    relations = triples[:, RELATION]
    return {
        "protocol": {
            "filter": list(protocol.filter),
            "ties": protocol.ties.value,
            "candidates": "all relations",
            "num_candidates": graph.num_relations,
            "score": SCORE,
        },
        "metrics": rank_metrics(chosen, num_candidates),
        "intervals": intervals(chosen, num_candidates, np.arange(len(triples))),
        "per_relation": {
            graph.relation_labels[relation]: rank_metrics(chosen[rows], num_candidates[rows])
            for relation in np.unique(relations)
            for rows in [relations == relation]
        },
    }
