"""Which of the paths found for a question are told."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kalm.graph.adjacency import Adjacency
from kalm.graph.path import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceWeights:
    """What counts how much; each part but the hops lies between -1 and 1.

    Args:
        hops: taken off for each step; >= 0. Above diversity + rarity + 2 cosine, a shorter path always comes first.
        diversity: taken off times the share of a path's triples that the paths chosen before have too; >= 0.
        rarity: added times the mean rarity of a path's relations; >= 0.
        cosine: added times the path's cosine with the question; >= 0.
    """

    hops: float = 1.0
    diversity: float = 0.5
    rarity: float = 0.2
    cosine: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < float("inf"):
                raise ValueError(f"the weight {field.name} must be a number >= 0, got {getattr(self, field.name)}")


def choose_paths(
    paths: Sequence[Path],
    num_paths: int,
    *,
    rarity: NDArray[np.float64],
    weights: ChoiceWeights | None = None,
    cosines: NDArray[np.floating] | None = None,
) -> tuple[Path, ...]:
    """Choose one path after the other, always the best that is left; of equals, the one that stands first.

    This is maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with shared triples for similarity between
    paths, since two paths that share their triples tell the same facts.

    Args:
        paths: P candidates, best first.
        num_paths: how many are wanted; fewer where there are fewer.
        rarity: of each relation, (R,), see `relation_rarity`.
        weights: what counts how much.
        cosines: of each path with the question, (P,), see `question_cosines`; None leaves that part out.

    Returns:
        The paths in the order in which they were chosen.

    Raises:
        ValueError: not one cosine for each path.
    """
    weights = weights or ChoiceWeights()
    if cosines is not None and cosines.shape != (len(paths),):
        raise ValueError(f"cosines must be one for each of the {len(paths)} paths, got {cosines.shape}")
    triples = [path.triples for path in paths]
    scores = np.array([
        -weights.hops * path.hops + weights.rarity * np.mean([rarity[relation] for _, relation, _ in steps])
        for path, steps in zip(paths, triples, strict=True)
    ])  # fmt: skip
    if cosines is not None:
        scores += weights.cosine * cosines
    told: set[tuple[int, int, int]] = set()
    chosen: list[int] = []
    while len(chosen) < min(num_paths, len(paths)):
        shares = np.array([np.mean([triple in told for triple in steps]) for steps in triples])
        marginal = scores - weights.diversity * shares
        marginal[chosen] = -np.inf
        chosen.append(int(marginal.argmax()))
        told.update(triples[chosen[-1]])
    return tuple(paths[place] for place in chosen)


def relation_rarity(adjacency: Adjacency) -> NDArray[np.float64]:
    """How rare each relation is among the graph's n triples, (R,): log(n / its triples) / log n.

    0 for the only relation, 1 for one that has a single triple or none.
    """
    counts = np.bincount(adjacency.relations % adjacency.num_relations, minlength=adjacency.num_relations) / 2
    total = max(counts.sum(), 2.0)
    return np.asarray(np.log(total / counts.clip(min=1)) / np.log(total))


def question_cosines(
    paths: Sequence[Path], question_embedding: NDArray[np.float32], entity_embeddings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The cosine of a question with each path: with the mean of the unit embeddings of all its entities but the start.

    The start is in the question itself, and would make all paths alike.

    Args:
        paths: P paths.
        question_embedding: (D,), not all 0.
        entity_embeddings: (N, D), one for each entity.

    Returns:
        (P,), float32; 0 for a path whose entities cancel out.
    """
    question = question_embedding / np.linalg.norm(question_embedding)
    cosines = np.zeros(len(paths), np.float32)
    for place, path in enumerate(paths):
        vectors = entity_embeddings[list(path.entities[1:])]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        mean = (vectors / np.where(lengths > 0, lengths, 1)).mean(0)
        length = np.linalg.norm(mean)
        cosines[place] = mean @ question / length if length > 0 else 0
    return cosines
