"""Whether an LM knows the facts that answer a question: it ranks them first as triples."""

from collections.abc import Sequence

import numpy as np

from kalm.config import KnownConfig, RankingConfig
from kalm.evaluation.facts import ask_facts, rank_as_text
from kalm.evaluation.knowledge_summary import is_first
from kalm.evaluation.loaded_run import LoadedRun
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.kgqa.asked import SCORED
from kalm.model.dual_view_lm import DualViewLM
from kalm.qa.questions import Item
from kalm.rationale.chains import Chain, find_chains
from kalm.rationale.tails import Tails
from kalm.text.prefix_tree import PrefixTree


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
        tails = Tails(graph, SPLITS)
        self.chains = [_chains(tails, item, config.max_hops) for item in items]
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


def _chains(tails: Tails, item: Item, max_hops: int) -> list[Chain]:
    """The shortest; none of a question that is not asked, or that has answers beyond the graph."""
    if item.asked.status == SCORED and not item.asked.num_lost:
        for hops in range(1, max_hops + 1):
            if chains := find_chains(tails, item.asked.topics, set(item.asked.known), hops):
                return chains
    return []
