"""Some entities of a graph, the same for every model, and their embeddings for the pictures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm.evaluation.kgc import Embedded
from kalm.text.ragged import Ids

Vectors = NDArray[np.float32]

NUM_DRAWN = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnEntities:
    """Unit vectors of entities in random order."""

    ids: Ids  # (n,)
    trained: Vectors  # (n, D)
    untrained: Vectors | None  # (n, D), of the LM before its first step; None: not embedded


def draw_entities(embedded: Embedded) -> DrawnEntities:
    """Entities drawn without repetition, and their vectors; all processes call it."""
    ids = np.random.default_rng(0).permutation(embedded.index.num_entities)[:NUM_DRAWN]
    return DrawnEntities(ids=ids, trained=embedded.index.vectors_of(ids).numpy(), untrained=None)
