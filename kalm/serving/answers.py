"""Answers to questions: the best entities or relations, ranked, and where each is known from."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kalm.config import RankingConfig
from kalm.evaluation.cosine_ranks import TIE
from kalm.evaluation.encoding import encode_queries
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.loaded_run import LoadedRun
from kalm.evaluation.shortlist import find_shortlist
from kalm.evaluation.triple_scores import TripleScorer
from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples, first_split_with
from kalm.serving.questions import UNKNOWN


class Answers(NamedTuple):
    """The best of each question, best first."""

    ids: Tensor  # (Q, k), int64: of entities or relations
    scores: Tensor  # (Q, k)
    ranks: Tensor  # (Q, k), float64, realistic: equal scores share the mean of their places


def best_answers(scores: Tensor, ids: Tensor, k: int, tie: float = 0.0) -> Answers:
    """The k highest scores of each row, equal ones in the order of their ids; ranks count the whole row.

    Args:
        scores, ids: (q, m).
        k: more than m gives m.
        tie: scores closer than this are equal.
    """
    ids, order = ids.sort(dim=1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    ids = ids.gather(1, order)
    falling = -scores
    num_better = torch.searchsorted(falling, falling - tie)
    num_not_worse = torch.searchsorted(falling, falling + tie, right=True)
    # what ties is in the order of ids, whatever its last bits
    by_id = ids.argsort(dim=1)
    order = by_id.gather(1, num_better.gather(1, by_id).argsort(dim=1, stable=True))[:, :k]
    ranks = (num_better + 1 + num_not_worse).double() / 2
    return Answers(ids.gather(1, order), scores.gather(1, order), ranks.gather(1, order))


def best_entities(run: LoadedRun, candidates: EntityIndex, asked: Triples, *, k: int, config: RankingConfig) -> Answers:
    """Answers to (h, r, ?) and, by the inverse relation, (?, r, t); the score is a cosine.

    Args:
        run: its table has a row per entity.
        candidates: the entities that may be answers, flat.
        asked: (Q, 3), UNKNOWN for head or tail.
        k: answers per question.
        config: batch size and memory.
    """
    is_head = asked[:, HEAD] == UNKNOWN
    anchors = np.where(is_head, asked[:, TAIL], asked[:, HEAD])
    relations = asked[:, RELATION] + is_head * run.graph.num_relations
    queries = encode_queries(run.encoder, run.table, anchors, relations, config.batch_tokens)
    shortlist = find_shortlist(candidates, queries, k)
    ends = np.searchsorted(shortlist.rows, np.arange(len(asked)), side="right")
    # k entities each, or a few more where several tie
    lists = (np.split(column, ends[:-1]) for column in (shortlist.cosines, shortlist.entity_ids))
    best = [
        best_answers(torch.from_numpy(cosines)[None], torch.from_numpy(ids)[None], k, tie=TIE)
        for cosines, ids in zip(*lists, strict=True)
    ]
    return Answers(*(torch.cat(column) for column in zip(*best, strict=True)))


def best_relations(run: LoadedRun, entities: Tensor, asked: Triples, *, k: int, config: RankingConfig) -> Answers:
    """Answers to (h, ?, t), (Q, 3); the score is that of `TripleScorer`.

    Args:
        run, asked, k, config: as for `best_entities`.
        entities: unit vectors, in the order of the table.
    """
    scorer = TripleScorer(
        encoder=run.encoder,
        table=run.table,
        vectors_of=lambda ids: entities[torch.from_numpy(ids)],
        num_relations=run.graph.num_relations,
        config=config,
        sharded=False,
    )
    scores = scorer.relations(asked[:, HEAD], asked[:, TAIL])
    return best_answers(scores, torch.arange(run.graph.num_relations).expand_as(scores), k)


def known_in(graph: KnowledgeGraph, asked: Triples, answer_ids: Tensor) -> list[list[str | None]]:
    """The split that holds each question with each of its answers, the first if several do; None for a new triple.

    Args:
        graph: whose splits are looked at.
        asked: (Q, 3), each with one UNKNOWN.
        answer_ids: (Q, k).
    """
    triples = np.repeat(asked, answer_ids.shape[1], axis=0)
    triples[triples == UNKNOWN] = answer_ids.flatten().numpy()  # one per row, so in the rows' order
    return first_split_with(graph, triples, SPLITS).reshape(answer_ids.shape).tolist()  # type: ignore[no-any-return]
