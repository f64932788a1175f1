"""Parquet, typed by what the cells are: numbers are numbers, exact ones decimal, days and times are that."""

import io
import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from lse.errors import ConfigurationError
from lse.formats import Cell, Table, plain

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as missing:
    raise ConfigurationError(
        "The format parquet needs the library pyarrow.", hint="Type: pip install 'lse[parquet]'"
    ) from missing

_DAYS = ("day", "week", "date")
_TIMES = ("start_time", "first_seen", "last_seen", "time")


def render(table: Table) -> bytes:
    """The rows as a Parquet file; what the table is about is JSON under `about` in the file's metadata.

    Integers are int64, other numbers doubles, decimal numbers decimals with all their digits, or texts beyond
    the 76 digits that Parquet knows. A column without values has the type null.
    """
    cells = [[row[n] for row in table.rows] for n in range(len(table.columns))]
    columns = [_column(name.lower(), values) for name, values in zip(table.columns, cells, strict=True)]
    written = pa.table(columns, names=list(table.columns))
    if table.about is not None:
        written = written.replace_schema_metadata({"about": json.dumps(table.about, default=str)})
    file = io.BytesIO()
    pq.write_table(written, file, compression="zstd")
    return file.getvalue()


def _column(name: str, cells: Sequence[Cell]) -> "pa.Array":
    if any(isinstance(cell, Decimal) for cell in cells):
        return _decimals(cells)
    if name in _DAYS:
        return pa.array([date.fromisoformat(str(cell)) if cell else None for cell in cells], pa.date32())
    if name in _TIMES:
        times = [datetime.fromisoformat(str(cell)) if cell else None for cell in cells]
        return pa.array(times, pa.timestamp("us", "UTC"))
    return pa.array(cells)


def _decimals(cells: Sequence[Cell]) -> "pa.Array":
    try:
        return pa.array([Decimal(plain(cell)) if cell is not None else None for cell in cells])
    except pa.ArrowInvalid:  # more digits than a decimal of Parquet has
        return pa.array([plain(cell) if cell is not None else None for cell in cells])
