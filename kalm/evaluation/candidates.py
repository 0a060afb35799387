"""Each query's best entities by cosine, and filtered ranks under another order of these."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import TAIL, Triples, triple_keys
from kalm.text.ragged import Ids

Floats = NDArray[np.float64]


class Candidates(NamedTuple):
    """(query, entity) pairs: the entities whose cosine is not below the query's k-th best.

    All other entities have lower cosines, so an order of these alone leaves the ranks of the others as they are.
    """

    rows: Ids  # (n,), which query, ascending
    entity_ids: Ids  # (n,)
    cosines: Floats  # (n,)


def find_candidates(index: EntityIndex, query_embeddings: Tensor, k: int, memory_mib: int) -> Candidates:
    """The k best entities of each query, more where several tie at the k-th place.

    Args:
        index: over the entities.
        query_embeddings: unit vectors, (Q, D).
        k: candidates per query; all entities where there are fewer.
        memory_mib: MiB for the scores of a block of queries.
    """
    # the blocks of `rank_queries`: a matrix product of another shape may round differently
    block = max(1, memory_mib * 2**20 // (4 * index.num_entities))
    parts = []
    for start in range(0, len(query_embeddings), block):
        scores = index.scores(query_embeddings[start : start + block])
        worst = scores.topk(min(k, index.num_entities), dim=1).values[:, -1:]
        rows, entity_ids = (scores >= worst).nonzero(as_tuple=True)
        parts.append([column.cpu().numpy() for column in (rows + start, entity_ids, scores[rows, entity_ids].double())])
    return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def candidate_ranks(
    candidates: Candidates,
    scores: Floats,
    queries: Triples,
    filter_keys: Ids,
    otherwise: Ranks,
    *,
    num_relations: int,
    num_entities: int,
) -> Ranks:
    """Filtered ranks when candidates are ordered by `scores` and come before all other entities.

    Args:
        candidates: of the queries.
        scores: of the candidates, (n,), higher is better.
        queries: directed triples, the true entity last, (Q, 3).
        filter_keys: known triples to leave out, from `KnowledgeGraph.known_tail_keys`, (K,), int64.
        otherwise: ranks by cosine, for queries whose true entity is no candidate.
        num_relations, num_entities: of the graph.
    """
    rows, entity_ids, _ = candidates
    is_true = entity_ids == queries[rows, TAIL]
    true_scores = np.full(len(queries), np.nan)  # of no candidate: neither above nor below any
    true_scores[rows[is_true]] = scores[is_true]
    asked = queries[rows]
    asked[:, TAIL] = entity_ids
    is_rival = ~is_true & ~np.isin(triple_keys(asked, num_relations, num_entities), filter_keys)
    better = np.bincount(rows[is_rival & (scores > true_scores[rows])], minlength=len(queries))
    equal = np.bincount(rows[is_rival & (scores == true_scores[rows])], minlength=len(queries))
    is_candidate = torch.from_numpy(~np.isnan(true_scores))
    return Ranks(
        torch.where(is_candidate, torch.from_numpy(better + 1), otherwise.optimistic),
        torch.where(is_candidate, torch.from_numpy(better + 1 + equal), otherwise.pessimistic),
    )
