"""What every reader of a format gives: triples of labels, texts of labels, and an account of each line."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kalm.graph.account import Account

Codes = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """How a graph's files are to be read, where they do not say it themselves.

    Args:
        columns: names in the header, or numbers from 1, of the columns of head, relation and tail; None finds them.
        header: whether the first line names the columns; None finds out.
        max_bad_lines: how many lines may be left out and counted; one more stops the reading.
        language: tag of the language that texts are wanted in, where a file has them in several.
    """

    columns: tuple[str, ...] | None = None
    header: bool | None = None
    max_bad_lines: int = 0
    language: str = "en"


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """A text for some labels.

    Args:
        labels: (n,) large_string; where one comes twice the later text counts.
        texts: (n,) large_string, none empty.
    """

    labels: pa.Array
    texts: pa.Array

    def of(self, labels: pa.Array) -> pa.Array:
        """The text of each label, empty where it has none; large_string."""
        # index_in finds the first
        places = pc.index_in(labels, value_set=self.labels[::-1])
        return pc.fill_null(self.texts[::-1].take(places), "")


NO_TEXTS = LabelledTexts(pa.array([], pa.large_string()), pa.array([], pa.large_string()))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledGraph:
    """A graph as its files have it.

    Args:
        format: what was found, in words.
        entities: labels of all entities, each once, in any order; large_string.
        relations: the same of all relations.
        triples: split -> (n, 3) int32: places in `entities`, `relations`, `entities`. A graph that is not split
            has the split `train` alone. Equal rows are kept.
        entity_names, entity_descriptions: texts of entities; labels of no entity do no harm.
        relation_names: the relations in words.
        inverse_names: the relations' inverses in words.
        accounts: one for each file.
        notes: what else a user should know of how it was read, each a line.
    """

    format: str
    entities: pa.Array
    relations: pa.Array
    triples: dict[str, Codes]
    entity_names: LabelledTexts = NO_TEXTS
    entity_descriptions: LabelledTexts = NO_TEXTS
    relation_names: LabelledTexts = NO_TEXTS
    inverse_names: LabelledTexts = NO_TEXTS
    accounts: tuple[Account, ...] = ()
    notes: tuple[str, ...] = ()
