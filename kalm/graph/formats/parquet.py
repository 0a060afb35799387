"""Parquet with a column each for head, relation and tail."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kalm.graph.account import Account
from kalm.graph.building import GraphBuilder
from kalm.graph.columns import find_columns
from kalm.graph.formats.format import FileFormat, suffix

ROWS_AT_ONCE = 2**18


def read_parquet(path: Path, split: str, builder: GraphBuilder) -> None:
    """Add the triples of a file; its account counts rows.

    Raises:
        ValueError: it is no Parquet, its columns are not those of triples, or more rows are bad than may be.
    """
    builder.start_split(split)
    account = builder.ledger.open(path, unit="rows")
    try:
        with pq.ParquetFile(path) as file:
            add = TableAdder(str(path), file.schema_arrow, split, builder, account)
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=add.names):
                add(batch)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a whole Parquet file ({error}); write it again") from None


class TableAdder:
    """Adds the rows of a table's parts.

    Args:
        place: of the table, for messages.
        schema: of the table.
        split, builder, account: that take the rows.

    Raises:
        ValueError: the columns are not those of triples.
    """

    def __init__(self, place: str, schema: pa.Schema, split: str, builder: GraphBuilder, account: Account) -> None:
        places = find_columns(schema.names, len(schema.names), builder.options, place)
        for column in places:
            if not _is_label(schema.field(column).type):
                raise ValueError(f"{place}: the column {schema.names[column]!r} holds {schema.field(column).type}, and "
                                 "labels are strings or whole numbers; convert it")  # fmt: skip
        self.names = [schema.names[column] for column in places]
        if len(set(self.names)) < 3:
            raise ValueError(f"{place}: two columns are called {self.names[0]!r}; rename one")
        self._split, self._builder, self._account = split, builder, account

    def __call__(self, batch: pa.RecordBatch) -> None:
        first = self._account.lines + 1
        self._account.lines += batch.num_rows
        columns = [batch.column(name).cast(pa.large_string()) for name in self.names]
        lines = np.arange(first, first + batch.num_rows)
        self._builder.add(self._split, *columns, account=self._account, lines=lines)


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    )


FORMAT = FileFormat(
    "parquet",
    "Parquet with columns head, relation, tail (.parquet)",
    lambda path: suffix(path) in (".parquet", ".pq"),
    read_parquet,
)
