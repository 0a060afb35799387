"""Exact filtered ranks by cosine over any number of entities, in bounded memory and on any number of processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kalm.distributed import all_reduce_sum
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.questions import Questions
from kalm.evaluation.ranking import Ranks
from kalm.text.ragged import Ids

# cosines closer than this are a tie: over a thousand times what rounding in float64 adds up to at D = 768, and far less
# than what one bit of one float32 component changes
TIE = 1e-11
QUERIES_AT_ONCE = 1024
CACHED_SCORES = 2**20  # scores of a tile on a CPU: 4 MiB stay in its cache (a third of the time of larger tiles)
BYTES_PER_SCORE = 12  # of a tile: float32, whether it is better, whether it is close
# pairs of vectors in float64: those in a CPU's cache take a tenth of the time of more, a GPU wants many
PAIRS_AT_ONCE = {"cpu": 128, "cuda": 2**15}


class _Block(NamedTuple):
    """Queries that are ranked at once, and what is left out of their ranking."""

    queries: Tensor  # (q, D)
    true_scores: Tensor  # (q,), float64
    left_out_rows: Tensor  # (M,), ascending places
    left_out_places: Tensor  # (M,): columns of this process that are known answers, or the true entity itself


def rank_by_cosine(
    index: EntityIndex, queries: Tensor, questions: Questions, memory_mib: int, device: torch.device
) -> Ranks:
    """Filtered ranks by the cosine in float64, which no block size, device or number of processes changes.

    A tile of cosines is a matrix product in float32. Rounding moves such a cosine by less than (D + 4) / 2^24, so an
    entity further than that from the true one is better or worse for sure; the few that are closer are computed again
    in float64. The true entity and other known answers are taken out of the tile.

    Args:
        index: of the entities, this process's share of them if it is sharded; then all processes call this.
        queries: (Q, D), float32, unit length, all of them on every process.
        questions: in the order of `queries`.
        memory_mib: MiB for a tile of scores and its masks.
        device: where tiles are computed.

    Returns:
        Ranks on the CPU, in the order of the queries.
    """
    columns = _columns(index, questions)
    column_of = np.full(index.num_entities, -1)
    column_of[index.ids[columns]] = np.arange(len(columns))
    better, equal, left_out = (torch.zeros(len(questions), dtype=torch.int64) for _ in range(3))
    width = tile_width(memory_mib, device, min(QUERIES_AT_ONCE, len(questions)))
    with _without_tf32():
        for start in range(0, len(questions), QUERIES_AT_ONCE):
            rows = slice(start, start + QUERIES_AT_ONCE)
            block = _block(index, queries[rows], questions, rows, column_of, device)
            better[rows], equal[rows] = _count(block, index, columns, width)
            left_out[rows] = torch.bincount(block.left_out_rows.cpu(), minlength=len(block.queries))
    counts = torch.stack([better, equal, len(columns) - left_out])
    better, equal, rivals = all_reduce_sum(counts) if index.is_sharded else counts
    return Ranks(better + 1, better + equal + 1, rivals + 1)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Its products are rounded far more coarsely; the setting is the process's own, so training gets it back."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _columns(index: EntityIndex, questions: Questions) -> Ids:
    """Rows of the index's vectors that are candidates."""
    if questions.is_candidate is None:
        return np.arange(len(index.ids))
    return np.flatnonzero(questions.is_candidate.numpy()[index.ids])


def tile_width(memory_mib: int, device: torch.device, num_queries: int) -> int:
    num_scores = memory_mib * 2**20 // BYTES_PER_SCORE
    if device.type == "cpu":
        num_scores = min(num_scores, CACHED_SCORES)
    return max(1, num_scores // num_queries)


def _block(
    index: EntityIndex, queries: Tensor, questions: Questions, rows: slice, column_of: Ids, device: torch.device
) -> _Block:
    true_ids = questions.true_ids[rows]
    true_vectors = index.vectors_of(true_ids.numpy())
    known_rows, known_ids = questions.known(rows)
    is_other = known_ids != true_ids[known_rows]
    left_out_rows = torch.cat([known_rows[is_other], torch.arange(len(true_ids))])
    places = torch.from_numpy(column_of[torch.cat([known_ids[is_other], true_ids]).numpy()])
    left_out_rows, places = left_out_rows[places >= 0], places[places >= 0]
    order = places.argsort()
    return _Block(
        queries.to(device),
        _pairs(queries, true_vectors).to(device),
        left_out_rows[order].to(device),
        places[order].to(device),
    )


def _count(block: _Block, index: EntityIndex, columns: Ids, width: int) -> tuple[Tensor, Tensor]:
    """How many candidates are better than each query's true entity, and how many as good; (q,), int64, on the CPU."""
    device = block.queries.device
    better, equal = (torch.zeros(len(block.queries), dtype=torch.int64, device=device) for _ in range(2))
    true_scores = block.true_scores.float()[:, None]
    rounding = rounding_of(index.size)
    is_better = torch.empty(len(block.queries), width, device=device)
    pairs_at_once = PAIRS_AT_ONCE[device.type]
    for start, tile_vectors in _tiles(index.vectors, columns, width):
        vectors = tile_vectors.to(device)
        # distance from the true score
        tile = (block.queries @ vectors.T).sub_(true_scores)
        first, last = torch.searchsorted(
            block.left_out_places, torch.tensor([start, start + len(vectors)], device=device)
        )
        tile[block.left_out_rows[first:last], block.left_out_places[first:last] - start] = -torch.inf
        # counted as float32, exact below 2^24: a fifth of the time of booleans
        better += torch.gt(tile, rounding, out=is_better[:, : len(vectors)]).sum(dim=1).long()
        rows, places = (tile.abs_() <= rounding).nonzero(as_tuple=True)
        for at in range(0, len(rows), pairs_at_once):
            close = rows[at : at + pairs_at_once]
            above = _pairs(block.queries[close], vectors[places[at : at + pairs_at_once]]) - block.true_scores[close]
            better.index_add_(0, close, (above > TIE).long())
            equal.index_add_(0, close, (above.abs() <= TIE).long())
    return better.cpu(), equal.cpu()


def _tiles(vectors: Tensor, columns: Ids, width: int) -> Iterator[tuple[int, Tensor]]:
    """The candidates' vectors in blocks, with the first column of each; no copy where all are candidates."""
    all_of_them = len(columns) == len(vectors)
    for start in range(0, len(columns), width):
        yield start, vectors[start : start + width] if all_of_them else vectors[columns[start : start + width]]


def rounding_of(size: int) -> float:
    """How far the difference of two cosines in float32 is from the true one at most, for unit vectors of D = size."""
    # a matrix product, the other score in float32, and their difference
    return (size + 4) / 2**24


def exact_cosines(queries: Tensor, rows: Tensor, index: EntityIndex, entity_ids: Ids) -> Tensor:
    """Cosine of query rows[i] with entity entity_ids[i], (n,), float64; all processes of a sharded index call it."""
    cosines = torch.empty(len(rows), dtype=torch.float64)
    at_once = PAIRS_AT_ONCE["cuda"] if index.is_sharded else PAIRS_AT_ONCE["cpu"]  # few messages between processes
    for at in range(0, len(rows), at_once):
        part = slice(at, at + at_once)
        cosines[part] = _pairs(queries[rows[part]], index.vectors_of(entity_ids[part]))
    return cosines


def _pairs(queries: Tensor, vectors: Tensor) -> Tensor:
    """Cosine of each pair of rows, (m, D) and (m, D) -> (m,), float64."""
    return queries.double().mul_(vectors).sum(dim=1)
