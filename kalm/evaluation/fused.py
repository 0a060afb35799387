"""What the model embeds joined with what it writes: candidates by cosine, in the order of both."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import FusedConfig, RankingConfig
from kalm.distributed import all_reduce_sum, faults_shared, rank, world_size
from kalm.evaluation.cosine_ranks import TIE, rank_by_cosine
from kalm.evaluation.encoding import encode_queries
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.generation import check_reach, check_tree_attention, log_probabilities
from kalm.evaluation.questions import Questions, sampled_questions
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.shortlist import Floats, Shortlist, find_shortlist, shortlist_ranks
from kalm.graph.knowledge_graph import HEAD, RELATION, KnowledgeGraph
from kalm.graph.neighbours import is_neighbour
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray, join_rows, run_positions
from kalm.text.token_table import TokenTable

CHOICE_SPLIT, CHOICE_FILTER = "valid", ("train", "valid")  # test is not looked at while weights are chosen
_WITHOUT = "scores=embedding"  # what an LM that cannot read a tree is told to take


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


def choose_weights(
    tried: Mapping[tuple[float, float], Floats], embedding: Floats
) -> tuple[tuple[float, float], list[dict[str, float]]]:
    """The weights whose gain over the cosine alone, less its standard error, is largest; the first of equal ones.

    So what a few lucky queries gain does not count, and where no gain stands out the cosine stays as it is.

    Args:
        tried: (alpha, beta) -> reciprocal rank of each query, (Q,), Q > 1.
        embedding: the same by cosine alone.

    Returns:
        (alpha, beta), and for the record what was found for each.
    """
    rows = []
    for (alpha, beta), found in tried.items():
        gain = found - embedding
        rows.append({"alpha": alpha, "beta": beta, "mrr": float(found.mean()), "gain": float(gain.mean()),
                     "standard_error": float(gain.std(ddof=1) / len(gain) ** 0.5)})  # fmt: skip
    best = max(rows, key=lambda row: row["gain"] - row["standard_error"])
    return (best["alpha"], best["beta"]), rows


class Reranker:
    """Orders each query's best entities by cosine anew.

    Several processes that share the index share the reading of texts too; all of them call it.

    Args:
        encoder, table, graph: of the run.
        questions: what is asked, and among which entities.
        temperature: the run's own, by which it divides cosines.
        ranking, config: memory and choices.

    Raises:
        ValueError: the LM cannot read a tree of texts, or a query and its longest answer are longer than the reach of
            its attention.
    """

    def __init__(
        self,
        encoder: DualViewLM,
        table: TokenTable,
        graph: KnowledgeGraph,
        questions: Questions,
        temperature: float,
        ranking: RankingConfig,
        config: FusedConfig,
    ) -> None:
        check_tree_attention(encoder, "scores=fused", _WITHOUT)
        self._encoder = encoder
        self._table = table
        self._tree = PrefixTree.from_rows(table.tails)
        self._graph = graph
        self._questions = questions
        self._temperature = temperature
        self._ranking = ranking
        self._config = config
        self._valid = sampled_questions(
            graph, CHOICE_SPLIT, CHOICE_FILTER, sample=config.num_valid_queries, seed=config.seed
        )
        directed = np.concatenate([questions.directed, self._valid.directed])
        longest = table.completion_heads.lengths_of(directed[:, HEAD])
        longest += table.completion_relations.lengths_of(directed[:, RELATION])
        check_reach(encoder, int(longest.max()) + self._tree.max_length, _WITHOUT)

    def rank(self, index: EntityIndex, queries: Tensor, by_embedding: Ranks) -> Fused:
        """Ranks by generation alone and by both, each with the weights that do best on valid.

        Args:
            index: over the embeddings of all entities, flat.
            queries: unit vectors of what is asked, (Q, D).
            by_embedding: ranks by cosine, which stay where the true entity is not on the list.

        Raises:
            ValueError: the LM's log-probabilities are not finite.
        """
        config = self._config
        beta, (fused_alpha, fused_beta), choice = self._choose(index)
        shortlist, evidence = self._gather(index, self._questions, queries)
        ranks = self._ranker(shortlist, self._questions, by_embedding)
        return Fused(
            generation=ranks(generation_scores(evidence, beta)),
            fused=ranks(fused_scores(evidence, fused_alpha, fused_beta, config.neighbour_bonus)),
            protocol={
                "candidates": f"top {config.top_k} by cosine, without known answers, in the new order; then all others "
                "by cosine",
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

    def _choose(self, index: EntityIndex) -> tuple[float, tuple[float, float], dict[str, Any]]:
        """Beta for generation, (alpha, beta) for both, and the record.

        Beta by its MRR on valid; alpha and beta for both see `choose_weights`.
        """
        config, ranking, questions = self._config, self._ranking, self._valid
        queries = encode_queries(
            self._encoder,
            self._table,
            questions.directed[:, HEAD],
            questions.directed[:, RELATION],
            ranking.batch_tokens,
            sharded=index.is_sharded,
        )
        device = next(self._encoder.parameters()).device
        by_embedding = rank_by_cosine(index, queries, questions, ranking.score_memory_mib, device)
        shortlist, evidence = self._gather(index, questions, queries)
        ranks = self._ranker(shortlist, questions, by_embedding)

        def reciprocal(of: Ranks) -> Floats:
            return 1 / of.realistic.numpy()

        generation = {beta: reciprocal(ranks(generation_scores(evidence, beta))).mean() for beta in config.betas}
        tried = {
            (alpha, beta): reciprocal(ranks(fused_scores(evidence, alpha, beta, config.neighbour_bonus)))
            for alpha, beta in product(sorted(config.alphas), config.betas)
        }
        best, rows = choose_weights(tried, reciprocal(by_embedding))
        record = {
            "split": CHOICE_SPLIT,
            "filter": list(CHOICE_FILTER),
            "queries": len(questions),
            "seed": config.seed,
            "rule": "the largest gain in MRR less its standard error",
            "mrr": {
                "embedding": float(reciprocal(by_embedding).mean()),
                "generation": [{"beta": beta, "mrr": float(value)} for beta, value in generation.items()],
                "fused": rows,
            },
        }
        return max(generation, key=generation.__getitem__), best, record

    def _gather(self, index: EntityIndex, questions: Questions, queries: Tensor) -> tuple[Shortlist, Evidence]:
        config = self._config
        shortlist = find_shortlist(index, queries, config.top_k, questions)
        heads, relations = (questions.directed[shortlist.rows, column] for column in (HEAD, RELATION))
        near = np.zeros(len(heads), dtype=np.bool_)
        if config.neighbour_bonus > 0:
            near = is_neighbour(self._graph, heads, shortlist.entity_ids, config.neighbour_hops)
        return shortlist, Evidence(
            similarity=shortlist.cosines / self._temperature,
            log_probability=self._log_probabilities(heads, relations, shortlist.entity_ids, shared=index.is_sharded),
            num_tokens=self._table.tails.lengths_of(shortlist.entity_ids),
            is_near=near,
        )

    def _log_probabilities(self, heads: Ids, relations: Ids, entity_ids: Ids, *, shared: bool) -> Floats:
        """Of each entity's text after its query; a query that is asked for several triples is read once.

        Shared: each process reads its part.
        """
        pairs = np.stack([heads, relations, entity_ids], axis=1)
        distinct, distinct_of = np.unique(pairs, axis=0, return_inverse=True)
        asked, first = np.unique(distinct[:, :2], axis=0, return_index=True)
        texts = RaggedArray(distinct[:, 2].astype(np.int32), np.append(first, len(distinct)))
        own = np.arange(rank(), len(asked), world_size()) if shared else np.arange(len(asked))
        queries, _ = join_rows([
            self._table.completion_heads.take(asked[own, 0]), self._table.completion_relations.take(asked[own, 1])
        ])  # fmt: skip
        own_texts = texts.select(own)
        scores = torch.zeros(len(distinct), dtype=torch.float64)
        with faults_shared():
            found = log_probabilities(
                self._encoder,
                queries,
                self._tree,
                own_texts,
                batch_tokens=self._ranking.batch_tokens,
                logit_memory_mib=self._ranking.score_memory_mib,
            )
        scores[torch.from_numpy(run_positions(texts.offsets[own], own_texts.lengths))] = torch.from_numpy(found)
        return (all_reduce_sum(scores) if shared else scores).numpy()[distinct_of]

    def _ranker(self, shortlist: Shortlist, questions: Questions, by_embedding: Ranks) -> Callable[[Floats], Ranks]:
        """Scores of the list -> ranks of the queries; what ties by cosine ties by cosine / temperature."""
        tie = TIE / self._temperature
        return lambda scores: shortlist_ranks(shortlist, scores, questions, by_embedding, tie=tie)
