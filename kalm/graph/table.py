"""Triples in the columns of an Arrow table."""

import numpy as np
import pyarrow as pa

from kalm.graph.account import Account
from kalm.graph.building import GraphBuilder
from kalm.graph.columns import find_columns


class TableAdder:
    """Adds the rows of a table, part by part, and counts them.

    Args:
        place: of the table, which messages begin with.
        schema: of the table.
        split, builder, account: that take the rows.

    Raises:
        ValueError: the columns are not those of triples.
    """

    def __init__(self, place: str, schema: pa.Schema, split: str, builder: GraphBuilder, account: Account) -> None:
        columns = find_columns(schema.names, len(schema.names), builder.options, place)
        self.names = [schema.names[column] for column in columns]
        for column, name in zip(columns, self.names, strict=True):
            if schema.names.count(name) > 1:
                raise ValueError(f"{place}several columns are called {name!r}; rename them")
            if not _is_label(schema.field(column).type):
                raise ValueError(f"{place}the column {name!r} holds {schema.field(column).type}, and labels are "
                                 "strings or whole numbers; convert it")  # fmt: skip
        self._split, self._builder, self._account = split, builder, account

    def __call__(self, part: pa.RecordBatch) -> None:
        """Add some rows.

        Raises:
            ValueError: more rows are bad than may be.
        """
        first = self._account.lines + 1
        self._account.lines += part.num_rows
        columns = [part.column(name).cast(pa.large_string()) for name in self.names]
        lines = np.arange(first, first + part.num_rows)
        self._builder.add(self._split, *columns, account=self._account, lines=lines)


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    return any(is_type(kind) for is_type in types)
