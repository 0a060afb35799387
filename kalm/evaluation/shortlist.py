"""Each query's best entities by cosine, and filtered ranks under another order of these."""

from collections.abc import Iterator
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

FOUND_AT_ONCE = 2**22  # (query, entity) pairs in memory together
WIDE = 8  # a search for more than 1 / WIDE of the entities is none


class Shortlist(NamedTuple):
    """(query, entity) pairs: of the entities that are ranked, those whose cosine is not below the k-th best.

    All others have lower cosines, so an order of these alone leaves the ranks of the others as they are.
    """

    rows: Ids  # (n,), which query, ascending
    entity_ids: Ids  # (n,)
    cosines: Floats  # (n,)


def find_shortlist(index: EntityIndex, queries: Tensor, k: int, questions: Questions | None = None) -> Shortlist:
    """The k best entities of each query, more where several tie at the k-th place.

    Args:
        index: over the entities, flat.
        queries: unit vectors, (Q, D).
        k: entities per query; all where there are fewer.
        questions: what the queries ask, whose known answers are left out; None: nothing is left out.
    """
    parts: list[Shortlist] = []
    pending, width = np.arange(len(queries)), k
    while len(pending):
        width = 2 * width + 1
        if width > index.num_entities // WIDE:  # nothing left out can be far down; a longer search costs more than all
            parts += _of_all(index, queries, pending, k, questions)
            break
        at_once = max(1, FOUND_AT_ONCE // width)
        wider = []
        for start in range(0, len(pending), at_once):
            rows = pending[start : start + at_once]
            cosines, ids = (part.numpy() for part in index.search(queries[rows], width))
            ranked = _ranked(rows, ids, questions)
            # FAISS's cosines are rounded: the list is whole when the last one found is below the k-th for sure
            is_whole = cosines[:, -1] < _kth(cosines, ranked, k) - 2 * rounding_of(index.size)
            parts.append(_exactly(index, queries, rows[is_whole], ids[is_whole], ranked[is_whole], k))
            wider.append(rows[~is_whole])
        pending = np.concatenate(wider)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    return Shortlist(*(column[order] for column in columns))


def _of_all(
    index: EntityIndex, queries: Tensor, pending: Ids, k: int, questions: Questions | None
) -> Iterator[Shortlist]:
    """The lists of some queries out of all entities, without a search."""
    at_once = max(1, FOUND_AT_ONCE // index.num_entities)
    for start in range(0, len(pending), at_once):
        rows = pending[start : start + at_once]
        ids = np.tile(np.arange(index.num_entities), (len(rows), 1))
        yield _exactly(index, queries, rows, ids, _ranked(rows, ids, questions), k)


def _ranked(rows: Ids, ids: Ids, questions: Questions | None) -> NDArray[np.bool_]:
    """Which entities, (q, width), have a place in the ranking of their query."""
    if questions is None:
        return np.ones(ids.shape, dtype=np.bool_)
    return questions.are_ranked(np.repeat(rows, ids.shape[1]), ids.ravel()).reshape(ids.shape)


def _kth(cosines: NDArray[np.float32], ranked: NDArray[np.bool_], k: int) -> NDArray[np.float32]:
    """The k-th cosine of each row, which falls, among those that are ranked, (q,); -inf where there are fewer."""
    is_kth = ranked.cumsum(axis=1) >= k
    kth = np.take_along_axis(cosines, is_kth.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(is_kth[:, -1], kth, -np.inf)


def _exactly(index: EntityIndex, queries: Tensor, rows: Ids, ids: Ids, ranked: NDArray[np.bool_], k: int) -> Shortlist:
    """Those of the ranked entities found, (q, width), whose exact cosine is not below the k-th best."""
    of_rows, columns = ranked.nonzero()
    places, entity_ids = rows[of_rows], ids[of_rows, columns]
    cosines = exact_cosines(queries, torch.from_numpy(places), index, entity_ids).numpy()
    worst = np.full(len(rows), -np.inf)
    if k <= ids.shape[1]:
        by_query = np.full(ids.shape, -np.inf)
        by_query[of_rows, columns] = cosines
        worst = np.partition(by_query, -k, axis=1)[:, -k]
    is_in = cosines >= worst[of_rows] - TIE
    return Shortlist(places[is_in], entity_ids[is_in], cosines[is_in])


def shortlist_ranks(
    shortlist: Shortlist, scores: Floats, questions: Questions, otherwise: Ranks, *, tie: float
) -> Ranks:
    """Filtered ranks when the shortlist is ordered by `scores` and comes before all other entities.

    Args:
        shortlist: of the queries, without what these leave out.
        scores: of the pairs, (n,), higher is better.
        questions: what is asked.
        otherwise: ranks by cosine, for queries whose true entity is not on the list.
        tie: scores closer than this are equal.
    """
    rows, entity_ids, _ = shortlist
    is_true = entity_ids == questions.true_ids.numpy()[rows]
    true_scores = np.full(len(questions), np.nan)  # of none on the list: neither above nor below any
    true_scores[rows[is_true]] = scores[is_true]
    above = scores - true_scores[rows]
    better = np.bincount(rows[~is_true & (above > tie)], minlength=len(questions))
    equal = np.bincount(rows[~is_true & (np.abs(above) <= tie)], minlength=len(questions))
    is_listed = torch.from_numpy(~np.isnan(true_scores))
    return Ranks(
        torch.where(is_listed, torch.from_numpy(better + 1), otherwise.optimistic),
        torch.where(is_listed, torch.from_numpy(better + 1 + equal), otherwise.pessimistic),
        otherwise.num_candidates,
    )
