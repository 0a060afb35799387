"""Splits of a graph that has none."""

from dataclasses import dataclass, replace

import numpy as np

from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How to split.

    Args:
        shares: of train, valid and test; they sum to 1.
        seed: of the draw.
        inductive: whether valid and test may hold entities that train lacks.
    """

    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    inductive: bool = False


def split_graph(graph: KnowledgeGraph, options: SplitOptions) -> KnowledgeGraph:
    """The graph with train, valid and test in place of train alone."""
    raise NotImplementedError
