"""Answers to questions: the best entities or relations, ranked, and where each is known from."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kalm.config import RankingConfig
from kalm.evaluation.cosine_ranks import rounding_of
from kalm.evaluation.encoding import encode_queries
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.loaded_run import LoadedRun
from kalm.evaluation.triple_scores import TripleScorer
from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph, Triples, first_split_with
from kalm.serving.questions import UNKNOWN


class Answers(NamedTuple):
    """The best of each question, best first."""

    ids: Tensor  # (Q, k), int64: of entities or relations
    scores: Tensor  # (Q, k)
    ranks: Tensor  # (Q, k), float64, realistic: equal scores share the mean of their places


def best_answers(scores: Tensor, ids: Tensor, k: int) -> Answers:
    """The k highest scores of each row, equal ones in the order of their ids; ranks count the whole row.

    Args:
        scores, ids: (q, m).
        k: more than m gives m.
    """
    ids, order = ids.sort(dim=1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    falling = -scores
    best = falling[:, :k].contiguous()
    num_better = torch.searchsorted(falling, best)
    num_not_worse = torch.searchsorted(falling, best, right=True)
    return Answers(ids.gather(1, order)[:, :k], scores[:, :k], (num_better + 1 + num_not_worse).double() / 2)


def best_entities(
    run: LoadedRun, entities: Tensor, asked: Triples, *, num_candidates: int, k: int, config: RankingConfig
) -> Answers:
    """Answers to (h, r, ?) and, by the inverse relation, (?, r, t); the score is a cosine.

    Args:
        run: its table has a row per entity.
        entities: unit vectors, in the order of the table.
        asked: (Q, 3), UNKNOWN for head or tail.
        num_candidates: how many of the entities, the first, may be answers.
        k: answers per question.
        config: batch size and memory.
    """
    is_head = asked[:, HEAD] == UNKNOWN
    anchors = np.where(is_head, asked[:, TAIL], asked[:, HEAD])
    relations = asked[:, RELATION] + is_head * run.graph.num_relations
    queries = encode_queries(run.encoder, run.table, anchors, relations, config.batch_tokens)
    candidates = entities[:num_candidates]
    index = EntityIndex(candidates)
    rounding = 2 * rounding_of(index.size)  # of the search's products in float32, at most
    num_found = k
    while True:
        num_found = min(2 * num_found, num_candidates)
        _, ids = index.search(queries, num_found)
        # again in float64 and row by row: entities with the same text, which the search may round differently, tie
        scores = torch.stack(
            [(candidates[row].double() * query.double()).sum(dim=1) for row, query in zip(ids, queries, strict=True)]
        )
        worst_answer = scores.topk(min(k, num_found)).values[:, -1]
        # nothing that was not found can be an answer, nor tie with one
        if num_found == num_candidates or bool((scores.amin(dim=1) < worst_answer - rounding).all()):
            return best_answers(scores, ids, k)


def best_relations(run: LoadedRun, entities: Tensor, asked: Triples, *, k: int, config: RankingConfig) -> Answers:
    """Answers to (h, ?, t), (Q, 3); the score is that of `TripleScorer`. Arguments as for `best_entities`."""
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
