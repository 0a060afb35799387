"""What a split asks: queries, their answers, and the entities that each is ranked among."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import Candidates, Protocol
from kalm.graph.knowledge_graph import (
    HEAD,
    RELATION,
    TAIL,
    KnowledgeGraph,
    Triples,
    add_inverses,
    contains,
    triple_keys,
)
from kalm.graph.known_tails import known_tails
from kalm.text.ragged import Ids

DIRECTIONS = ("tail", "head")  # of rows 2i and 2i + 1: (h, r, ?) and (?, r, t)


class Questions:
    """Queries (head, relation, ?) with the true entity, in one order.

    Args:
        graph: that is asked about.
        directed: (Q, 3), directed triples: the answer is the last column.
        filter_splits: other answers known from these are left out of a query's ranking.
        is_candidate: (N,), bool: entities that are ranked; None: all.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        directed: Triples,
        filter_splits: Sequence[str],
        is_candidate: Tensor | None = None,
    ) -> None:
        self.graph = graph
        self.directed = directed
        self.is_candidate = is_candidate
        self.true_ids = torch.from_numpy(directed[:, TAIL].copy())
        self.is_head = directed[:, RELATION] >= graph.num_relations  # (Q,): direction is `head`
        self.triple_of = np.arange(len(directed)) // 2  # (Q,), where rows 2i and 2i + 1 are the directions of triple i
        self._head_ids = torch.from_numpy(directed[:, HEAD].copy())
        self._relation_ids = torch.from_numpy(directed[:, RELATION].copy())
        self._filter_keys = torch.from_numpy(graph.known_tail_keys(filter_splits))

    def __len__(self) -> int:
        return len(self.directed)

    @property
    def triples(self) -> Triples:
        """The triples as they stand in the graph, where both directions of each are asked, (Q / 2, 3)."""
        return self.directed[::2]

    def known(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Known answers of a range of queries as distinct pairs (row within the range, entity), (M,), int64 each."""
        return known_tails(
            self._filter_keys,
            self._head_ids[rows],
            self._relation_ids[rows],
            num_relations=self.graph.num_relations,
            num_entities=self.graph.num_entities,
        )

    def are_ranked(self, rows: Ids, entity_ids: Ids) -> NDArray[np.bool_]:
        """Whether each entity has a place in the ranking of its query: the true one, or a rival; (n,).

        Other known answers have none, nor have entities that are no candidates.
        """
        asked = self.directed[rows]
        is_true = asked[:, TAIL] == entity_ids
        asked[:, TAIL] = entity_ids
        keys = triple_keys(asked, self.graph.num_relations, self.graph.num_entities)
        is_rival = ~contains(self._filter_keys.numpy(), keys)
        if self.is_candidate is not None:
            is_rival &= self.is_candidate.numpy()[entity_ids]
        return np.asarray(is_true | is_rival)


def split_questions(graph: KnowledgeGraph, split: str, protocol: Protocol) -> Questions:
    """Both directions of each triple of a split: row 2i is (h, r, ?) of triple i, row 2i + 1 (?, r, t).

    Raises:
        ValueError: no triple is left to ask.
    """
    triples = graph.triples[split]
    if not protocol.repeat_duplicates:
        _, first = np.unique(triples, axis=0, return_index=True)
        triples = triples[np.sort(first)]
    seen = in_training(graph)
    if not protocol.ask_unseen:
        triples = triples[seen[triples[:, [HEAD, TAIL]]].all(axis=1)]
    if len(triples) == 0:
        raise ValueError(f"protocol.ask_unseen=false leaves no triple of {split} to ask: each has an entity that no "
                         "training triple holds; set it to true")  # fmt: skip
    is_candidate = torch.from_numpy(seen) if protocol.candidates is Candidates.train else None
    return Questions(graph, add_inverses(triples, graph.num_relations), protocol.filter, is_candidate)


def sampled_questions(
    graph: KnowledgeGraph, split: str, filter_splits: Sequence[str], *, sample: int, seed: int
) -> Questions:
    """At most `sample` queries of a split, drawn without repetition."""
    directed = graph.directed(split)
    if sample < len(directed):
        directed = directed[np.sort(np.random.default_rng(seed).choice(len(directed), sample, replace=False))]
    return Questions(graph, directed, filter_splits)


def in_training(graph: KnowledgeGraph) -> NDArray[np.bool_]:
    """Which entities some training triple holds, (N,)."""
    seen = np.zeros(graph.num_entities, dtype=bool)
    seen[graph.triples["train"][:, [HEAD, TAIL]]] = True
    return seen
