"""What the model embeds joined with what it writes: candidates by cosine, in the order of both."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import EvaluationConfig, FusedConfig
from kalm.evaluation.candidates import Candidates, Floats, candidate_ranks, find_candidates
from kalm.evaluation.encoding import encode_queries
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.generation import check_tree_attention, log_probabilities
from kalm.evaluation.kgc import Embeddings, rank_by_embedding, split_queries
from kalm.evaluation.ranking import Ranks, rank_metrics
from kalm.graph.knowledge_graph import HEAD, RELATION, KnowledgeGraph, Triples
from kalm.graph.neighbours import is_neighbour
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray, join_rows
from kalm.text.token_table import TokenTable

CHOICE_SPLIT, CHOICE_FILTER = "valid", ("train", "valid")  # test is not looked at while weights are chosen


class Evidence(NamedTuple):
    """What is known of each candidate, (n,) each."""

    similarity: Floats  # cosine / temperature
    log_probability: Floats  # of its text after the query
    num_tokens: Ids  # of that text, its end included
    is_near: NDArray[np.bool_]  # to the query's head in the training graph


class Fused(NamedTuple):
    """Ranks under two orders of the same candidates, and how those came about."""

    generation: Ranks
    fused: Ranks
    protocol: dict[str, Any]


def generation_scores(evidence: Evidence, beta: float) -> Floats:
    """What the LM thinks of the texts alone, log p(text | query) / length^beta, (n,)."""
    return evidence.log_probability / evidence.num_tokens**beta


def fused_scores(evidence: Evidence, alpha: float, beta: float, neighbour_bonus: float) -> Floats:
    """Both views joined, cosine / temperature + alpha * log p(text | query) / length^beta, and the bonus, (n,)."""
    return evidence.similarity + alpha * generation_scores(evidence, beta) + neighbour_bonus * evidence.is_near


class Reranker:
    """Orders each query's best entities by cosine anew.

    Args:
        encoder, table, graph: of the run.
        index: over the embeddings of all entities.
        temperature: the run's own, by which it divides cosines.
        evaluation, config: memory and choices.

    Raises:
        ValueError: the LM cannot read a tree of texts, or valid has no triples.
    """

    def __init__(
        self,
        encoder: DualViewLM,
        table: TokenTable,
        graph: KnowledgeGraph,
        index: EntityIndex,
        temperature: float,
        evaluation: EvaluationConfig,
        config: FusedConfig,
    ) -> None:
        if len(graph.triples[CHOICE_SPLIT]) == 0:
            raise ValueError(f"scores=fused chooses its weights on {CHOICE_SPLIT}, which has no triples; "
                             "rank with scores=embedding")  # fmt: skip
        check_tree_attention(encoder)
        self._encoder = encoder
        self._table = table
        self._tree = PrefixTree.from_rows(table.tails)
        self._graph = graph
        self._index = index
        self._temperature = temperature
        self._evaluation = evaluation
        self._config = config

    def rank(
        self, queries: Triples, embeddings: Embeddings, by_embedding: Ranks, filter_splits: Sequence[str]
    ) -> Fused:
        """Ranks by generation alone and by both, each with the weights that do best on valid.

        Args:
            queries: directed triples, the true entity last, (Q, 3).
            embeddings: of entities and queries.
            by_embedding: ranks by cosine, which stay where the true entity is no candidate.
            filter_splits: whose triples are left out.

        Raises:
            ValueError: a query and its longest answer are longer than the reach of the LM's attention.
        """
        config = self._config
        beta, (fused_alpha, fused_beta), choice = self._choose(embeddings)
        candidates, evidence = self._gather(queries, embeddings.queries)
        rank = self._ranker(candidates, queries, by_embedding, filter_splits)
        return Fused(
            generation=rank(generation_scores(evidence, beta)),
            fused=rank(fused_scores(evidence, fused_alpha, fused_beta, config.neighbour_bonus)),
            protocol={
                "candidates": f"top {config.top_k} by cosine in the new order, then all others by cosine",
                "top_k": config.top_k,
                "generation": {"score": "log p(text) / length^beta", "beta": beta},
                "fused": {
                    "score": "cosine / temperature + alpha * log p(text) / length^beta + bonus of neighbours",
                    "temperature": self._temperature,
                    "alpha": fused_alpha,
                    "beta": fused_beta,
                    "neighbour_bonus": config.neighbour_bonus,
                    "neighbour_hops": config.neighbour_hops,
                },
                "choice": choice,
            },
        )

    def _choose(self, embeddings: Embeddings) -> tuple[float, tuple[float, float], dict[str, Any]]:
        """Beta for generation, (alpha, beta) for both, and the record: the best MRR, the smaller alpha at a tie."""
        config = self._config
        queries = split_queries(self._graph, CHOICE_SPLIT, config.num_valid_queries, config.seed)
        asked = encode_queries(
            self._encoder, self._table, queries[:, HEAD], queries[:, RELATION], self._evaluation.batch_tokens
        )
        embeddings = Embeddings(entities=embeddings.entities, queries=asked)
        by_embedding = rank_by_embedding(embeddings, self._index, queries, self._graph, self._evaluation, CHOICE_FILTER)
        candidates, evidence = self._gather(queries, asked)
        rank = self._ranker(candidates, queries, by_embedding, CHOICE_FILTER)

        def mrr(scores: Floats) -> float:
            return rank_metrics(rank(scores).realistic.numpy())["mrr"]

        generation = {beta: mrr(generation_scores(evidence, beta)) for beta in config.betas}
        fused = {
            (alpha, beta): mrr(fused_scores(evidence, alpha, beta, config.neighbour_bonus))
            for alpha, beta in product(sorted(config.alphas), config.betas)
        }
        record = {
            "split": CHOICE_SPLIT,
            "filter": list(CHOICE_FILTER),
            "queries": len(queries),
            "seed": config.seed,
            "mrr": {
                "embedding": rank_metrics(by_embedding.realistic.numpy())["mrr"],
                "generation": [{"beta": beta, "mrr": value} for beta, value in generation.items()],
                "fused": [{"alpha": alpha, "beta": beta, "mrr": value} for (alpha, beta), value in fused.items()],
            },
        }
        return max(generation, key=generation.__getitem__), max(fused, key=fused.__getitem__), record

    def _gather(self, queries: Triples, query_embeddings: Tensor) -> tuple[Candidates, Evidence]:
        config, evaluation = self._config, self._evaluation
        candidates = find_candidates(self._index, query_embeddings, config.top_k, evaluation.score_memory_mib)
        heads, relations = queries[candidates.rows, HEAD], queries[candidates.rows, RELATION]
        near = np.zeros(len(heads), dtype=np.bool_)
        if config.neighbour_bonus > 0:
            near = is_neighbour(self._graph, heads, candidates.entity_ids, config.neighbour_hops)
        return candidates, Evidence(
            similarity=candidates.cosines / self._temperature,
            log_probability=self._log_probabilities(heads, relations, candidates.entity_ids),
            num_tokens=self._table.tails.lengths_of(candidates.entity_ids),
            is_near=near,
        )

    def _log_probabilities(self, heads: Ids, relations: Ids, entity_ids: Ids) -> Floats:
        """Of each entity's text after its query; a query that is asked for several triples is read once."""
        pairs = np.stack([heads, relations, entity_ids], axis=1)
        distinct, distinct_of = np.unique(pairs, axis=0, return_inverse=True)
        asked, first = np.unique(distinct[:, :2], axis=0, return_index=True)
        queries, _ = join_rows([
            self._table.completion_heads.take(asked[:, 0]), self._table.completion_relations.take(asked[:, 1])
        ])  # fmt: skip
        return log_probabilities(
            self._encoder,
            queries,
            self._tree,
            RaggedArray(distinct[:, 2].astype(np.int32), np.append(first, len(distinct))),
            batch_tokens=self._evaluation.batch_tokens,
            logit_memory_mib=self._evaluation.score_memory_mib,
        )[distinct_of]

    def _ranker(
        self, candidates: Candidates, queries: Triples, by_embedding: Ranks, filter_splits: Sequence[str]
    ) -> Callable[[Floats], Ranks]:
        """Scores of the candidates -> ranks of the queries."""
        graph = self._graph
        filter_keys = graph.known_tail_keys(filter_splits)
        sizes = {"num_relations": graph.num_relations, "num_entities": graph.num_entities}
        return lambda scores: candidate_ranks(candidates, scores, queries, filter_keys, by_embedding, **sizes)
