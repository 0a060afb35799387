"""What is embedded to measure a geometry: the same for every model of one graph."""

from dataclasses import dataclass

import numpy as np

from kalm.config import GeometryConfig
from kalm.evaluation.encoding import query_sequences
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, add_inverses
from kalm.text.ragged import Ids, RaggedArray
from kalm.text.token_table import TokenTable

LEAST = 3  # texts, for pairs that are left when one is left out


@dataclass(frozen=True, kw_only=True, slots=True)
class GeometrySample:
    """Entities and queries, each distinct text once.

    Args:
        entities: one entity of each distinct text, (M,).
        entities_drawn: (n,), places in `entities`, in random order.
        num_triples: of the split that were drawn, T.
        queries: token rows of both directions of each, 2 T.
        distinct_queries: rows of `queries`, one of each distinct text, in random order.
        query_of: (2 T,), places in `distinct_queries`.
        tail_of: (2 T,), places in `entities`.
    """

    entities: Ids
    entities_drawn: Ids
    num_triples: int
    queries: RaggedArray
    distinct_queries: Ids
    query_of: Ids
    tail_of: Ids


def draw_sample(graph: KnowledgeGraph, table: TokenTable, config: GeometryConfig) -> GeometrySample:
    """Draw triples of the split, and entities, without repetition.

    Raises:
        ValueError: there are too few different entities or queries.
    """
    generator = np.random.default_rng(config.seed)
    entities, text_of = table.targets.distinct(np.arange(graph.num_entities))
    triples = np.unique(graph.triples[config.split], axis=0)
    triples = generator.permutation(triples)[: config.num_triples]
    directed = add_inverses(triples, graph.num_relations)
    queries = query_sequences(table, directed[:, HEAD], directed[:, RELATION])
    distinct, query_of = queries.distinct(np.arange(len(queries)))
    for what, num in (("entities", len(entities)), (f"queries of {config.split}", len(distinct))):
        if num < LEAST:
            raise ValueError(f"{num} {what} with different texts: a geometry needs at least {LEAST}")
    order = generator.permutation(len(distinct))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return GeometrySample(
        entities=entities,
        entities_drawn=generator.permutation(len(entities))[: config.num_vectors],
        num_triples=len(triples),
        queries=queries,
        distinct_queries=distinct[order],
        query_of=place[query_of],
        tail_of=text_of[directed[:, TAIL]],
    )
