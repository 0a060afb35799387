"""Knowledge-graph completion: questions ranked by what a model embeds, and by nothing but frequency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import IndexKind, Protocol, RankingConfig, Ties
from kalm.distributed import faults_shared
from kalm.evaluation.cosine_ranks import rank_by_cosine
from kalm.evaluation.encoding import encode_entities, encode_queries, own_rows
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.metrics import intervals, paired_differences, rank_metrics
from kalm.evaluation.questions import DIRECTIONS, Questions, in_training, sampled_questions
from kalm.evaluation.ranking import Ranks, rank_by_scores
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.token_table import TokenTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """What a model makes of a graph and of questions about it."""

    index: EntityIndex  # unit vectors of the entities
    queries: Tensor  # (Q, D), unit vectors, float32, on the CPU

    def ranks(self, questions: Questions, config: RankingConfig, device: torch.device) -> Ranks:
        """Filtered ranks by cosine."""
        return rank_by_cosine(self.index, self.queries, questions, config.score_memory_mib, device)


def embed(
    encoder: DualViewLM,
    table: TokenTable,
    questions: Questions,
    config: RankingConfig,
    *,
    kind: IndexKind = IndexKind.flat,
    sharded: bool = False,
) -> Embedded:
    """Encode all entities and queries; each distinct text once.

    Args:
        encoder, table: the model and the segments.
        questions: whose queries.
        config: how much is encoded at once.
        kind: of FAISS index.
        sharded: each process encodes and keeps its share of the entities.

    Raises:
        ValueError: the model gives embeddings that are not finite, or zero; there are too few for an index of the kind.
    """
    ids = own_rows(table.targets) if sharded else None
    heads, relations = questions.directed[:, HEAD], questions.directed[:, RELATION]
    with faults_shared():
        vectors = encode_entities(encoder, table, config.batch_tokens, ids)
    with faults_shared():
        index = EntityIndex(vectors, kind, ids)
    return Embedded(
        index=index,
        queries=encode_queries(encoder, table, heads, relations, config.batch_tokens, sharded=sharded),
    )


def rank_by_frequency(questions: Questions, config: RankingConfig) -> Ranks:
    """Ranks by how often an entity is the tail of the query's directed relation in training; no model at all."""
    graph = questions.graph
    train = graph.directed("train")
    places, counts = np.unique(train[:, RELATION] * graph.num_entities + train[:, TAIL], return_counts=True)
    relations = questions.directed[:, RELATION]
    first, last = (np.searchsorted(places, (relations + more) * graph.num_entities) for more in (0, 1))

    def score_rows(rows: slice) -> Tensor:
        scores = torch.zeros(len(relations[rows]), graph.num_entities)
        for row, (start, stop) in enumerate(zip(first[rows], last[rows], strict=True)):
            scores[row, torch.from_numpy(places[start:stop] % graph.num_entities)] = torch.from_numpy(
                counts[start:stop].astype(np.float32)
            )
        return scores

    return rank_by_scores(score_rows, questions, config.score_memory_mib)


def by_direction(ranks: Ranks, questions: Questions, ties: Ties = Ties.realistic) -> dict[str, Any]:
    """`both`, `tail` and `head` -> metrics."""
    chosen, num_candidates = ranks.with_ties(ties).numpy(), ranks.num_candidates.numpy()
    return {
        name: rank_metrics(chosen[mask], num_candidates[mask])
        for name, mask in direction_masks(questions.is_head).items()
    }


def intervals_by_direction(ranks: Ranks, questions: Questions, ties: Ties) -> dict[str, Any]:
    """`both`, `tail` and `head` -> bootstrap 95 % interval of each metric; a direction without queries has none."""
    chosen, num_candidates = ranks.with_ties(ties).numpy(), ranks.num_candidates.numpy()
    return {
        name: intervals(chosen[mask], num_candidates[mask], questions.triple_of[mask])
        for name, mask in direction_masks(questions.is_head).items()
    }


def by_relation(ranks: Ranks, questions: Questions, ties: Ties) -> dict[str, Any]:
    """Relation label -> the same three groups, for relations that are asked."""
    graph = questions.graph
    return by_group(
        ranks, questions, ties, graph.relation_labels, questions.directed[:, RELATION] % graph.num_relations
    )


def by_group(
    ranks: Ranks, questions: Questions, ties: Ties, names: Sequence[str], group_of: NDArray[np.int64]
) -> dict[str, Any]:
    """Name of a group -> direction -> metrics; groups and directions that nothing is asked of are left out.

    Args:
        ranks, questions: of the same Q queries.
        ties: policy for ties.
        names: of the groups.
        group_of: the group of each query, (Q,), places in `names`.
    """
    chosen, num_candidates = ranks.with_ties(ties).numpy(), ranks.num_candidates.numpy()
    directions = direction_masks(questions.is_head)
    metrics: dict[str, Any] = {}
    for group in np.unique(group_of):
        masks = {direction: mask & (group_of == group) for direction, mask in directions.items()}
        metrics[names[group]] = {
            direction: rank_metrics(chosen[mask], num_candidates[mask])
            for direction, mask in masks.items()
            if mask.any()
        }
    return metrics


def differences(first: Ranks, second: Ranks, questions: Questions, ties: Ties) -> dict[str, Any]:
    """Each metric of the second ranks less that of the first, both directions, with its interval."""
    return paired_differences(
        [ranks.with_ties(ties).numpy() for ranks in (first, second)],
        [ranks.num_candidates.numpy() for ranks in (first, second)],
        questions.triple_of,
    )


def direction_masks(is_head: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Which queries are meant by `both`, `tail` and `head`."""
    return {"both": np.ones_like(is_head), "tail": ~is_head, "head": is_head}


def describe_protocol(questions: Questions, split: str, protocol: Protocol) -> dict[str, Any]:
    """How the ranks came about, so that nobody has to guess."""
    graph = questions.graph
    triples, seen = graph.triples[split], in_training(graph)
    is_unseen = ~seen[triples[:, [HEAD, TAIL]]].all(axis=1)
    return {
        "filter": list(protocol.filter),
        "ties": protocol.ties.value,
        "directions": list(DIRECTIONS),
        "candidates": {"all": "all entities", "train": "entities of training triples"}[protocol.candidates.value],
        "num_candidates": graph.num_entities if questions.is_candidate is None else int(questions.is_candidate.sum()),
        "score": "cosine",
        "rounding": "float64 products of float32 unit vectors; closer than 1e-11 is a tie",
        "num_triples": len(triples),
        "num_asked": len(questions) // 2,
        "num_duplicates": len(triples) - len(np.unique(triples, axis=0)),
        "duplicates": "asked as often as they stand in the split" if protocol.repeat_duplicates else "asked once",
        "num_unseen": int(is_unseen.sum()),
        "unseen": "asked" if protocol.ask_unseen else "left out",
    }


def validation_metrics(
    encoder: DualViewLM,
    table: TokenTable,
    graph: KnowledgeGraph,
    config: RankingConfig,
    *,
    filter_splits: Sequence[str] = ("train", "valid"),
    sample: int,
    seed: int,
) -> dict[str, float]:
    """Filtered metrics of a fixed sample of valid queries, both directions, against all entities.

    The filter leaves out what train and valid know; test is not looked at while a model is being chosen.

    Raises:
        ValueError: the model gives embeddings that are not finite, or zero.
    """
    questions = sampled_questions(graph, "valid", filter_splits, sample=sample, seed=seed)
    ranks = embed(encoder, table, questions, config).ranks(questions, config, next(encoder.parameters()).device)
    return by_direction(ranks, questions)["both"]  # type: ignore[no-any-return]
