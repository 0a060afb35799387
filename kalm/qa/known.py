"""Whether an LM knows the facts that answer a question: it ranks them first as triples."""

from collections.abc import Iterator, Sequence

import numpy as np

from kalm.config import KnownConfig, RankingConfig
from kalm.evaluation.facts import ask_facts, rank_as_text
from kalm.evaluation.knowledge_summary import is_first
from kalm.evaluation.loaded_run import LoadedRun
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.kgqa.asked import SCORED
from kalm.model.dual_view_lm import DualViewLM
from kalm.qa.questions import Item
from kalm.rationale.question_maker import Tails
from kalm.text.prefix_tree import PrefixTree

MAX_MIDDLE = 100  # entities after the first of two relations; from more, nobody asks on

Fact = tuple[int, int, int]  # a directed triple, as it is walked
Chain = tuple[Fact, ...]  # from a topic to an answer


def find_chains(graph: KnowledgeGraph, items: Sequence[Item], max_hops: int) -> list[list[Chain]]:
    """The facts that lead from the topic of each question to its answers, found from the graph.

    A question asks for what its topic leads to by a relation, or by two, directed each: the relations are those whose
    entities are exactly the question's answers; they may lead to the topic itself where that is no answer. Several may
    be; shorter ones count alone. A question without such relations has no chain: it asks for something else, or its
    answers are not all those of the graph.

    Args:
        graph: all splits count.
        items: questions with their topics and answers.
        max_hops: 1 or 2.
    """
    tails = Tails(graph, SPLITS)
    return [_chains(tails, item, max_hops) if item.asked.status == SCORED else [] for item in items]


def _chains(tails: Tails, item: Item, max_hops: int) -> list[Chain]:
    answers = set(item.asked.known)
    if item.asked.num_lost or not answers:
        return []
    for walk in (_one_hop, _two_hops)[:max_hops]:
        if chains := [chain for topic in item.asked.topics for chain in walk(tails, topic, answers)]:
            return chains
    return []


def _one_hop(tails: Tails, topic: int, answers: set[int]) -> Iterator[Chain]:
    for relation in tails.relations_of(topic):
        if _are_exactly(set(tails.of(topic, relation).tolist()), answers, topic):
            yield from (((topic, relation, answer),) for answer in sorted(answers))


def _two_hops(tails: Tails, topic: int, answers: set[int]) -> Iterator[Chain]:
    for first in tails.relations_of(topic):
        middle = tails.of(topic, first).tolist()
        if len(middle) > MAX_MIDDLE:
            continue
        for second in sorted({relation for entity in middle for relation in tails.relations_of(entity)}):
            ends = {entity: set(tails.of(entity, second).tolist()) for entity in middle}
            if _are_exactly(set().union(*ends.values()), answers, topic):
                yield from (
                    ((topic, first, entity), (entity, second, answer))
                    for answer in sorted(answers) for entity in middle if answer in ends[entity]
                )  # fmt: skip


def _are_exactly(ends: set[int], answers: set[int], topic: int) -> bool:
    return ends in (answers, answers | {topic})


class KnownFacts:
    """The facts of all questions, ready to be ranked by one LM after the other.

    Args:
        graph: of the facts.
        items: the questions.
        config: how they are ranked.
        seed: of the candidates.
    """

    def __init__(self, graph: KnowledgeGraph, items: Sequence[Item], config: KnownConfig, seed: int) -> None:
        self._config = config
        self.chains = find_chains(graph, items, config.max_hops)
        facts = sorted({fact for chains in self.chains for chain in chains for fact in chain})
        self._place_of = {fact: place for place, fact in enumerate(facts)}
        directed = np.array(facts, dtype=np.int64).reshape(-1, 3)
        self._asked = ask_facts(graph, directed, SPLITS, config.candidates, np.random.default_rng(seed))

    @property
    def num_facts(self) -> int:
        return len(self._place_of)

    @property
    def num_candidates(self) -> int:
        return len(self._asked.candidates)

    def known_by(self, run: LoadedRun, encoder: DualViewLM, ranking: RankingConfig, label: str) -> list[bool | None]:
        """Whether all facts of some chain are ranked first, per question; None where there is no chain."""
        if not self._place_of:
            return [None] * len(self.chains)
        ranks = rank_as_text(
            encoder, run.table, PrefixTree.from_rows(run.table.tails), self._asked, f"{label}: facts",
            beta=self._config.beta, ranking=ranking,
        )  # fmt: skip
        first = is_first(ranks)
        return [
            any(all(first[self._place_of[fact]] for fact in chain) for chain in chains) if chains else None
            for chains in self.chains
        ]
