"""Training facts to ask a model for, and where their answers rank as text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kalm.config import Direction, KnowledgeConfig, RankingConfig
from kalm.evaluation.breakdown import Grouping, answer_frequency, num_training_triples
from kalm.evaluation.generation import log_probabilities
from kalm.evaluation.questions import Questions
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.shortlist import Floats
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, add_inverses
from kalm.model.dual_view_lm import DualViewLM
from kalm.progress import Progress
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray, join_rows
from kalm.text.token_table import TokenTable

PAIRS_AT_ONCE = 2**20  # (query, candidate) pairs in memory together


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedFacts:
    """Facts as queries.

    Args:
        questions: Q queries with their answers.
        candidates: entities that an answer is ranked among beside itself, (C,), ascending.
    """

    questions: Questions
    candidates: Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts(AskedFacts):
    """Training triples, each asked in one direction or both.

    Args:
        questions, candidates: see `AskedFacts`.
        fact_of: which triple each query asks, (Q,).
        weights: training triples of the relation per one asked, (Q,), so that relations count by their size.
        frequencies: training triples that the answer occurs in, (Q,).
        frequency_groups: the same in bins.
    """

    fact_of: Ids
    weights: Floats
    frequencies: Ids
    frequency_groups: Grouping

    @property
    def relations(self) -> Ids:
        """The relation of each query's triple, whichever way it is asked, (Q,)."""
        return np.asarray(self.questions.directed[:, RELATION] % self.questions.graph.num_relations)


def draw_facts(graph: KnowledgeGraph, config: KnowledgeConfig) -> Facts:
    """At most `num_facts` distinct training triples of each relation, drawn without repetition, and the candidates."""
    generator = np.random.default_rng(config.seed)
    triples = np.unique(graph.triples["train"], axis=0)
    num_of_relation = np.bincount(triples[:, RELATION], minlength=graph.num_relations)
    triples = generator.permutation(triples)
    triples = triples[np.argsort(triples[:, RELATION], kind="stable")]
    place = np.arange(len(triples)) - (num_of_relation.cumsum() - num_of_relation)[triples[:, RELATION]]
    chosen = triples if config.num_facts is None else triples[place < config.num_facts]
    weight = num_of_relation / np.bincount(chosen[:, RELATION], minlength=graph.num_relations).clip(min=1)
    rows = np.flatnonzero(
        np.isin(np.arange(2 * len(chosen)) % 2, [list(Direction).index(direction) for direction in config.directions])
    )
    directed = add_inverses(chosen, graph.num_relations)[rows]
    asked = ask_facts(graph, directed, config.filter, config.candidates, generator)
    return Facts(
        questions=asked.questions,
        candidates=asked.candidates,
        fact_of=rows // 2,
        weights=weight[chosen[:, RELATION]][rows // 2],
        frequencies=num_training_triples(graph)[directed[:, TAIL]],
        frequency_groups=answer_frequency(asked.questions),
    )


def ask_facts(
    graph: KnowledgeGraph,
    directed: Ids,
    filter_splits: Sequence[str],
    num_candidates: int | None,
    generator: np.random.Generator,
) -> AskedFacts:
    """Directed triples, (Q, 3), whose tails are to be ranked among all entities, or among so many that are drawn."""
    candidates = np.arange(graph.num_entities)
    if num_candidates is not None and num_candidates < graph.num_entities:
        candidates = np.sort(generator.choice(graph.num_entities, num_candidates, replace=False))
    is_candidate = torch.zeros(graph.num_entities, dtype=torch.bool)
    is_candidate[torch.from_numpy(candidates)] = True
    questions = Questions(graph, directed, filter_splits, None if is_candidate.all() else is_candidate)
    return AskedFacts(questions=questions, candidates=candidates)


def rank_as_text(
    encoder: DualViewLM,
    table: TokenTable,
    tree: PrefixTree,
    asked: AskedFacts,
    label: str,
    *,
    beta: float,
    ranking: RankingConfig,
) -> Ranks:
    """Filtered ranks of the answers by log p(text | query) / length^beta, among the candidates.

    A query that several facts ask is read once. Entities of one text tie.

    Args:
        encoder, table: the LM and the segments; the query is the completion's, the text is the tail's.
        tree: of the table's tails.
        asked: the queries and the candidates.
        label: says what goes on.
        beta: of the score.
        ranking: how much is done at once.

    Raises:
        ValueError: the LM's attention does not reach over query and text, or a result is not finite.
    """
    questions, candidates = asked.questions, asked.candidates
    pairs, pair_of = np.unique(questions.directed[:, [HEAD, RELATION]], axis=0, return_inverse=True)
    order = np.argsort(pair_of, kind="stable")
    counts = np.empty((3, len(questions)), dtype=np.int64)
    at_once = max(1, PAIRS_AT_ONCE // (len(candidates) + 1))
    with Progress(label, len(pairs)) as progress:
        for start in range(0, len(pairs), at_once):
            block = pairs[start : start + at_once]
            rows = order[slice(*np.searchsorted(pair_of[order], [start, start + len(block)]))]
            places, true_ids = pair_of[rows] - start, questions.directed[rows, TAIL]
            of_candidates, of_true = _scores(encoder, table, tree, block, candidates, places, true_ids, beta, ranking)
            for part in np.array_split(np.arange(len(rows)), -(-len(rows) // at_once)):
                scores = of_candidates[places[part]]
                counts[:, rows[part]] = _count(asked, rows[part], scores, of_true[part])
            progress.advance(len(block))
    better, equal, rivals = torch.from_numpy(counts)
    return Ranks(better + 1, better + equal + 1, rivals + 1)


def _count(asked: AskedFacts, rows: Ids, scores: Floats, true_scores: Floats) -> Ids:
    """Rivals of some queries' answers that are better, as good, and all of them, (3, q).

    Args:
        asked: what is asked.
        rows: which queries, (q,).
        scores, true_scores: of the candidates, (q, C), and of the answers, (q,).
    """
    num_candidates = len(asked.candidates)
    owners, ids = np.repeat(rows, num_candidates), np.tile(asked.candidates, len(rows))
    is_rival = asked.questions.are_ranked(owners, ids) & (ids != asked.questions.directed[owners, TAIL])
    is_rival = is_rival.reshape(scores.shape)
    true_scores = true_scores[:, None]
    masks = ((scores > true_scores) & is_rival, (scores == true_scores) & is_rival, is_rival)
    return np.stack([mask.sum(axis=1) for mask in masks])


def _scores(
    encoder: DualViewLM,
    table: TokenTable,
    tree: PrefixTree,
    asked: Ids,
    candidates: Ids,
    asked_of: Ids,
    true_ids: Ids,
    beta: float,
    ranking: RankingConfig,
) -> tuple[Floats, Floats]:
    """Scores of all candidates for each query asked, (a, C), and of the true answer of each fact, (q,)."""
    num_entities = len(table.tails)
    keys = np.arange(len(asked))[:, None] * num_entities + candidates
    pairs, place = np.unique(np.concatenate([keys.ravel(), asked_of * num_entities + true_ids]), return_inverse=True)
    owners, ids = np.divmod(pairs, num_entities)
    queries, _ = join_rows([
        table.completion_heads.take(asked[:, 0]), table.completion_relations.take(asked[:, 1])
    ])  # fmt: skip
    found = log_probabilities(
        encoder,
        queries,
        tree,
        RaggedArray.from_lengths(ids.astype(np.int32), np.bincount(owners, minlength=len(asked))),
        batch_tokens=ranking.batch_tokens,
        logit_memory_mib=ranking.score_memory_mib,
    )
    scores = (found / table.tails.lengths_of(ids) ** beta)[place]
    return scores[: keys.size].reshape(keys.shape), scores[keys.size :]
