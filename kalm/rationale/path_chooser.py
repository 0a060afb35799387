"""Which paths a rationale tells, of those that lead to its answers."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kalm.config import PathsConfig
from kalm.graph.path import Path
from kalm.graph.path_choice import ChoiceWeights, choose_paths, question_cosines
from kalm.rationale.embeddings import RunEmbeddings


class Told(NamedTuple):
    """A path that is told, and the answer that it was searched for."""

    answer: int  # place among the answers
    path: Path


class PathChooser:
    """Per answer the shortest paths, of these the most telling; then the best of each answer, the second best, ...

    Args:
        config: how many, and what counts.
        rarity: of each relation, (R,).
        embeddings: of the run whose cosines count; None where they do not.
    """

    def __init__(self, config: PathsConfig, rarity: NDArray[np.float64], embeddings: RunEmbeddings | None) -> None:
        self._config, self._rarity = config, rarity
        self._weights = ChoiceWeights(**asdict(config.choice))
        self._embeddings = embeddings if config.choice.cosine > 0 else None

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """What `choose` compares paths with, of each question; None where cosines do not count."""
        return [None] * len(texts) if self._embeddings is None else list(self._embeddings.encode(texts).numpy())

    def choose(self, by_answer: Sequence[Sequence[Path]], question: NDArray[np.float32] | None) -> list[Told]:
        """Of each answer's paths, which stand in their order, those that are told; at most `max_paths`."""
        chosen = [
            [Told(answer, path) for path in self._of_answer(paths, question)]
            for answer, paths in enumerate(by_answer) if paths
        ]  # fmt: skip
        in_turn = [told for row in zip_longest(*chosen) for told in row if told is not None]
        return in_turn[: self._config.max_paths]

    def _of_answer(self, paths: Sequence[Path], question: NDArray[np.float32] | None) -> Sequence[Path]:
        near = [path for path in paths if path.hops <= paths[0].hops + self._config.max_detour]
        if len(near) == 1:
            return near
        cosines = None
        if question is not None:
            assert self._embeddings is not None
            cosines = question_cosines(near, question, self._embeddings.entities.numpy())
        return choose_paths(near, self._config.per_answer, rarity=self._rarity, weights=self._weights, cosines=cosines)
