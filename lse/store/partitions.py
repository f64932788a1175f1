"""The monthly partitions of `runs`, created when the first run of a month is loaded."""

from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from lse.store.queries import QUERIES

_CONDITIONS = (
    "project", "run_date", "trace_id", "parent_run_id", "name", "run_type", "status", "model", "start_time"
)  # fmt: skip
"""The columns that conditions are about. Statistics of all would take three times as long (measured)."""

_WORTH_ANALYZING = 0.1
"""The share of a month's rows from which on its statistics are worth making again, as for autovacuum."""


def partition_name(day: date) -> str:
    """The partition that holds the runs of `day`."""
    return f"runs_{day.year:04}_{day.month:02}"


def ensure_partition(connection: psycopg.Connection[Any], day: date) -> None:
    """Create the partition for `day` unless it is there. Readers of `runs` are not held up."""
    if not _exists(connection, partition_name(day)):
        connection.execute(QUERIES["make_month"], {"day": day})


def refresh_statistics(connection: psycopg.Connection[Any], day: date, written: int) -> None:
    """Let the planner and index-only scans know that a load wrote `written` rows of `day`.

    Takes as long as it takes, since the load is committed by now. An embedded server seldom runs long
    enough for autovacuum; measured, a count right after a load took 6.7 ms before and 1.1 ms after. Payloads
    out of line, statistics of other columns and of a month that hardly grew are left to autovacuum.
    """
    name = partition_name(day)
    row = connection.execute(QUERIES["partition_size"], {"partition": name}).fetchone()
    analyze = row is None or written >= row[0] * _WORTH_ANALYZING
    columns = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Identifier, _CONDITIONS)))
    connection.execute("set statement_timeout = 0")
    connection.execute(
        sql.SQL("vacuum (analyze {}, skip_locked, process_toast false) {} {}").format(
            sql.SQL("true" if analyze else "false"), sql.Identifier(name), columns if analyze else sql.SQL("")
        )
    )


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute(QUERIES["partition_exists"], {"partition": name}).fetchone()
    return bool(row and row[0])
