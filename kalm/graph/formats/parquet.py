"""Parquet with a column each for head, relation and tail."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kalm.graph.building import GraphBuilder
from kalm.graph.formats.format import FileFormat, suffix
from kalm.graph.table import TableAdder

ROWS_AT_ONCE = 2**18


def read_parquet(path: Path, split: str, builder: GraphBuilder) -> None:
    """Add the triples of a file; its account counts rows.

    Raises:
        ValueError: it is no Parquet, its columns are not those of triples, or more rows are bad than may be.
    """
    builder.start_split(split)
    account = builder.ledger.open(path, unit="rows")
    if path.suffix == ".gz":
        raise ValueError(f"{path}: Parquet packs itself; unpack the file (gunzip)")
    try:
        with pq.ParquetFile(path) as file:
            add = TableAdder(f"{path}: ", file.schema_arrow, split, builder, account)
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=add.names):
                add(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole Parquet file ({error}); write it again") from None


FORMAT = FileFormat(
    "parquet", "Parquet with columns head, relation, tail (.parquet, .pq)",
    lambda path: suffix(path) in (".parquet", ".pq"), read_parquet,
)  # fmt: skip
