"""Graphs that Python already holds: data frames and pykeen's triples factories."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kalm.graph.building import GraphBuilder, TextKind
from kalm.graph.columns import check_columns
from kalm.graph.knowledge_graph import SPLITS
from kalm.graph.labelled import LabelledGraph, ReadOptions
from kalm.graph.table import TableAdder

if TYPE_CHECKING:
    import pandas as pd
    from pykeen.triples import TriplesFactory

Texts = Mapping[TextKind, Mapping[str, str]]  # kind -> label -> text


def from_frames(
    frames: "Mapping[str, pd.DataFrame]", *, options: ReadOptions | None = None, texts: Texts | None = None
) -> LabelledGraph:
    """A graph from data frames with a column each for head, relation and tail.

    Args:
        frames: split -> its triples; `train` alone is a graph that is not split.
        options: may tell the columns, and how many bad rows may be left out.
        texts: of entities and relations.

    Raises:
        ValueError: the splits or columns are not those of a graph, or more rows are bad than may be.
    """
    _check_splits(frames)
    builder = _builder(options, texts)
    for split, frame in frames.items():
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except pa.ArrowException as error:
            raise ValueError(f"data frame {split}: a column holds values of several kinds ({error}); convert them to "
                             "strings") from None  # fmt: skip
        builder.start_split(split)
        account = builder.ledger.open(f"data frame {split}", unit="rows")
        add = TableAdder(f"data frame {split}: ", table.schema, split, builder, account)
        for part in table.to_batches():
            add(part)
    return builder.finish("data frames")


def from_triples_factories(factories: "Mapping[str, TriplesFactory]", *, texts: Texts | None = None) -> LabelledGraph:
    """A graph from pykeen's triples factories, one for each split, each with its own labels.

    Raises:
        ValueError: the splits are not those of a graph, or a label is empty.
    """
    _check_splits(factories)
    builder = _builder(None, texts)
    for split, factory in factories.items():
        triples = factory.mapped_triples.numpy()
        account = builder.ledger.open(f"triples factory {split}", unit="triples")
        account.lines = len(triples)
        entities, relations = (_by_id(ids) for ids in (factory.entity_to_id, factory.relation_to_id))
        head, relation, tail = (pa.array(column) for column in triples.T)
        builder.start_split(split)
        builder.add(
            split, entities.take(head), relations.take(relation), entities.take(tail), account=account,
            lines=np.arange(1, len(triples) + 1),
        )  # fmt: skip
    return builder.finish("pykeen triples factories")


def _check_splits(splits: Collection[str]) -> None:
    if set(splits) not in ({"train"}, set(SPLITS)):
        raise ValueError(f"the splits of a graph are {', '.join(SPLITS)}, or train alone, got {', '.join(splits)}")


def _builder(options: ReadOptions | None, texts: Texts | None) -> GraphBuilder:
    options = options or ReadOptions()
    check_columns(options)
    builder = GraphBuilder(options)
    for kind, text_of in (texts or {}).items():
        builder.add_texts(kind, list(text_of), list(text_of.values()))
    return builder


def _by_id(ids: Mapping[str, int]) -> Any:
    labels = [""] * (max(ids.values(), default=-1) + 1)
    for label, place in ids.items():
        labels[place] = label
    return pa.array(labels, pa.large_string())
