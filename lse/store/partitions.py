"""The monthly partitions of `runs`, created when the first run of a month is loaded."""

from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import sql

from lse.store.queries import QUERIES

_TOAST_TARGET = 512
"""Bytes a row may take before payloads move out of line: narrow rows make reports fast, and a lower target
would push hashes and errors out as well (measured: comparing hashes took six times as long at 128)."""


def partition_name(day: date) -> str:
    """The partition that holds the runs of `day`."""
    return f"runs_{day.year:04}_{day.month:02}"


def ensure_partition(connection: psycopg.Connection[Any], day: date) -> None:
    """Create the partition for `day` unless it is there. Readers of `runs` are not held up.

    The table is made first and attached then, since `create table ... partition of` would wait for every
    reader, and every later reader for it.
    """
    name = partition_name(day)
    if _exists(connection, name):
        return
    with connection.transaction():
        connection.execute(QUERIES["lock_partitions"])
        if _exists(connection, name):
            return
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
        connection.execute(
            sql.SQL("create table {} (like runs including all) with (toast_tuple_target = {})").format(
                sql.Identifier(name), sql.Literal(_TOAST_TARGET)
            )
        )
        connection.execute(
            sql.SQL("alter table runs attach partition {} for values from ({}) to ({})").format(
                sql.Identifier(name), sql.Literal(first), sql.Literal(following)
            )
        )


def refresh_statistics(connection: psycopg.Connection[Any], day: date) -> None:
    """Let the planner and index-only scans know what a load brought.

    Takes as long as it takes, since the load is committed by now. An embedded server seldom runs long
    enough for autovacuum; measured, a count right after a load took 6.7 ms before and 1.1 ms after.
    """
    connection.execute("set statement_timeout = 0")
    connection.execute(
        sql.SQL("vacuum (analyze, skip_locked) {}").format(sql.Identifier(partition_name(day)))
    )


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute(QUERIES["partition_exists"], {"partition": name}).fetchone()
    return bool(row and row[0])
