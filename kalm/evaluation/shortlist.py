"""Each query's best entities by cosine, and filtered ranks under another order of these."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.evaluation.cosine_ranks import TIE, exact_cosines, rounding_of
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.questions import Questions
from kalm.evaluation.ranking import Ranks
from kalm.text.ragged import Ids

Floats = NDArray[np.float64]


class Shortlist(NamedTuple):
    """(query, entity) pairs: the entities whose cosine is not below the query's k-th best.

    All other entities have lower cosines, so an order of these alone leaves the ranks of the others as they are.
    """

    rows: Ids  # (n,), which query, ascending
    entity_ids: Ids  # (n,)
    cosines: Floats  # (n,)


def find_shortlist(index: EntityIndex, queries: Tensor, k: int) -> Shortlist:
    """The k best entities of each query, more where several tie at the k-th place.

    Args:
        index: over the entities, flat.
        queries: unit vectors, (Q, D).
        k: entities per query; all where there are fewer.
    """
    k = min(k, index.num_entities)
    parts: list[Shortlist] = []
    pending, width = np.arange(len(queries)), k
    while len(pending):
        # FAISS's cosines are rounded, so a few more than k are found: until the last is below the k-th for sure
        width = min(2 * width + 1, index.num_entities)
        found, ids = index.search(queries[pending], width)
        is_whole = (found[:, -1] < found[:, k - 1] - 2 * rounding_of(index.size)).numpy()
        is_whole |= width == index.num_entities
        if is_whole.any():
            parts.append(_exactly(index, queries, pending[is_whole], ids[is_whole].numpy(), k))
        pending = pending[~is_whole]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    return Shortlist(*(column[order] for column in columns))


def _exactly(index: EntityIndex, queries: Tensor, rows: Ids, ids: Ids, k: int) -> Shortlist:
    """Those of the entities found, (q, width), whose exact cosine is not below the k-th best."""
    places = np.repeat(rows, ids.shape[1])
    cosines = exact_cosines(queries, torch.from_numpy(places), index, ids.ravel()).numpy()
    by_query = cosines.reshape(ids.shape)
    worst = np.partition(by_query, -k, axis=1)[:, -k]
    is_in = (by_query >= worst[:, None] - TIE).ravel()
    return Shortlist(places[is_in], ids.ravel()[is_in], cosines[is_in])


def shortlist_ranks(
    shortlist: Shortlist, scores: Floats, questions: Questions, otherwise: Ranks, *, tie: float
) -> Ranks:
    """Filtered ranks when the shortlist is ordered by `scores` and comes before all other entities.

    Args:
        shortlist: of the queries.
        scores: of the pairs, (n,), higher is better.
        questions: what is asked.
        otherwise: ranks by cosine, for queries whose true entity is not on the list.
        tie: scores closer than this are equal.
    """
    rows, entity_ids, _ = shortlist
    is_true = entity_ids == questions.true_ids.numpy()[rows]
    true_scores = np.full(len(questions), np.nan)  # of none on the list: neither above nor below any
    true_scores[rows[is_true]] = scores[is_true]
    is_rival = ~is_true & ~questions.is_left_out(rows, entity_ids)
    above = scores - true_scores[rows]
    better = np.bincount(rows[is_rival & (above > tie)], minlength=len(questions))
    equal = np.bincount(rows[is_rival & (np.abs(above) <= tie)], minlength=len(questions))
    is_listed = torch.from_numpy(~np.isnan(true_scores))
    return Ranks(
        torch.where(is_listed, torch.from_numpy(better + 1), otherwise.optimistic),
        torch.where(is_listed, torch.from_numpy(better + 1 + equal), otherwise.pessimistic),
        otherwise.num_candidates,
    )
