"""Knowledge-graph completion: queries of a split, ranked over all entities in both directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import EvaluationConfig
from kalm.evaluation.encoding import encode_entities, encode_queries
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.ranking import Ranks, rank_metrics, rank_queries
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.token_table import TokenTable

DIRECTIONS = ("tail", "head")  # of rows 2i and 2i + 1: (h, r, ?) and (?, r, t)


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """Unit vectors, float32, on the CPU."""

    entities: Tensor  # (N, D)
    queries: Tensor  # (Q, D)


def split_queries(graph: KnowledgeGraph, split: str, sample: int | None = None, seed: int = 0) -> Triples:
    """Directed triples to ask, (Q, 3): the answer is the last column.

    Args:
        graph: what to ask about.
        split: whose triples.
        sample: at most so many queries, drawn without repetition; None takes all.
        seed: of the sample.
    """
    queries = graph.directed(split)
    if sample is None or sample >= len(queries):
        return queries
    return queries[np.sort(np.random.default_rng(seed).choice(len(queries), sample, replace=False))]


def embed(encoder: DualViewLM, table: TokenTable, queries: Triples, config: EvaluationConfig) -> Embeddings:
    """Encode all entities and queries; each distinct text once.

    Raises:
        ValueError: the model gives embeddings that are not finite.
    """
    return Embeddings(
        entities=encode_entities(encoder, table, config.batch_tokens),
        queries=encode_queries(encoder, table, queries[:, HEAD], queries[:, RELATION], config.batch_tokens),
    )


def rank_by_embedding(
    embeddings: Embeddings,
    index: EntityIndex,
    queries: Triples,
    graph: KnowledgeGraph,
    config: EvaluationConfig,
    filter_splits: Sequence[str],
) -> Ranks:
    """Ranks by cosine; other answers known from `filter_splits` are left out."""
    return _rank(lambda rows: index.scores(embeddings.queries[rows]), queries, graph, config, filter_splits)


def rank_by_frequency(
    queries: Triples, graph: KnowledgeGraph, config: EvaluationConfig, filter_splits: Sequence[str]
) -> Ranks:
    """Ranks by how often an entity is the tail of the query's directed relation in training; no model at all."""
    train = graph.directed("train")
    counts = torch.zeros(2 * graph.num_relations, graph.num_entities)
    relations, tails = torch.from_numpy(train[:, RELATION].copy()), torch.from_numpy(train[:, TAIL].copy())
    counts.index_put_((relations, tails), torch.ones(len(train)), accumulate=True)
    asked = torch.from_numpy(queries[:, RELATION].copy())
    return _rank(lambda rows: counts[asked[rows]], queries, graph, config, filter_splits)


def metrics_by_direction(ranks: Ranks, queries: Triples, graph: KnowledgeGraph) -> dict[str, Any]:
    """`both`, `tail` and `head` -> metrics of the realistic ranks."""
    return _by_direction(ranks.realistic.numpy(), queries[:, RELATION] >= graph.num_relations)


def metrics_by_relation(ranks: Ranks, queries: Triples, graph: KnowledgeGraph) -> dict[str, Any]:
    """Relation label -> the same three groups, for relations that are asked."""
    realistic = ranks.realistic.numpy()
    is_head = queries[:, RELATION] >= graph.num_relations
    relations = queries[:, RELATION] % graph.num_relations
    return {
        graph.relation_labels[relation]: _by_direction(realistic[relations == relation], is_head[relations == relation])
        for relation in np.unique(relations)
    }


def protocol(graph: KnowledgeGraph, filter_splits: Sequence[str]) -> dict[str, Any]:
    """How the ranks came about, so that nobody has to guess."""
    return {
        "filter": list(filter_splits),
        "ties": "realistic",
        "directions": list(DIRECTIONS),
        "candidates": "all entities",
        "num_candidates": graph.num_entities,
        "score": "cosine",
        "index": "flat",
    }


def validation_mrr(
    encoder: DualViewLM, table: TokenTable, graph: KnowledgeGraph, config: EvaluationConfig, *, sample: int, seed: int
) -> float:
    """Filtered MRR of a fixed sample of valid queries, both directions, against all entities.

    The filter leaves out what train and valid know; test is not looked at while a model is being chosen.
    """
    queries = split_queries(graph, "valid", sample, seed)
    embeddings = embed(encoder, table, queries, config)
    index = EntityIndex(embeddings.entities, next(encoder.parameters()).device)
    ranks = rank_by_embedding(embeddings, index, queries, graph, config, ("train", "valid"))
    return rank_metrics(ranks.realistic.numpy())["mrr"]


def _rank(
    score_rows: Any,
    queries: Triples,
    graph: KnowledgeGraph,
    config: EvaluationConfig,
    filter_splits: Sequence[str],
) -> Ranks:
    heads, relations, tails = (torch.from_numpy(queries[:, column].copy()) for column in (HEAD, RELATION, TAIL))
    return rank_queries(
        score_rows,
        heads,
        relations,
        tails,
        torch.from_numpy(graph.known_tail_keys(filter_splits)),
        num_relations=graph.num_relations,
        num_entities=graph.num_entities,
        memory_mib=config.score_memory_mib,
    )


def _by_direction(realistic: NDArray[np.float64], is_head: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "both": rank_metrics(realistic),
        "tail": rank_metrics(realistic[~is_head]),
        "head": rank_metrics(realistic[is_head]),
    }
