"""Rows put aside before a repair changes them, and put back as they were."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from lse.models import ProjectDay
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.rollups import refresh_rollups

_BY_RUN = sql.SQL("(trace_id, run_id) in (select owner, item from repaired_runs)")
_BY_FEEDBACK = sql.SQL("feedback_id in (select item from repaired_feedback)")
_BY_DAY = sql.SQL("project = {project} and run_date = {day}")
_TABLES = {
    "runs": _BY_RUN,
    "run_versions": _BY_RUN,
    "feedback": _BY_FEEDBACK,
    "quarantine": _BY_DAY,
    "daily_rollups": _BY_DAY,
    "daily_traces": _BY_DAY,
    "daily_feedback": _BY_DAY,
    "project_days": _BY_DAY,
}
"""Each table that a load writes → which of its rows a repair may change"""

_COUNTED = ("daily_rollups", "daily_traces", "daily_feedback")
"""What is counted from the other tables; an earlier version of `lse` did not put all of these aside"""

_SAVE = sql.SQL("copy (select {columns} from {table} where {condition}) to stdout (format binary)")
_REMOVE = sql.SQL("delete from {table} where {condition}")
_PUT_BACK = sql.SQL("copy {table} ({columns}) from stdin (format binary)")
_KEYS = (
    b"create temporary table repaired_runs (owner uuid, item uuid) on commit drop",
    b"create temporary table repaired_feedback (item uuid) on commit drop",
)
_COLUMNS = """
select attname from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum
"""


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The rows of a day that a repair is about."""

    day: ProjectDay
    runs: Collection[tuple[UUID, UUID]]
    """(trace id, run id)"""
    feedback: Collection[UUID]


def save_rows(url: str, keys: RowKeys, folder: Path) -> None:
    """Write the rows of `keys`, and what a load makes for their day, into files of `folder`."""
    with _keyed(url, keys) as connection, connection.cursor() as cursor:
        for table in _TABLES:
            names = [name for (name,) in connection.execute(_COLUMNS, [table])]
            (folder / f"{table}.columns").write_text("\n".join(names), encoding="utf-8")
            query = _SAVE.format(columns=_columns(names), **_rows_of(table, keys.day))
            with cursor.copy(query) as copy, (folder / f"{table}.copy").open("wb") as file:
                file.writelines(copy)


def remove_rows(url: str, keys: RowKeys) -> None:
    """Delete the runs and feedback of `keys`, and count their day again."""
    with _keyed(url, keys) as connection:
        for table in ("runs", "feedback"):
            connection.execute(_REMOVE.format(**_rows_of(table, keys.day)))
        refresh_rollups(connection, keys.day)


def put_rows_back(url: str, keys: RowKeys, folder: Path) -> None:
    """Make the rows of `keys` those that `save_rows` wrote into `folder`, in one transaction."""
    unsaved = {table for table in _COUNTED if not (folder / f"{table}.columns").exists()}
    with _keyed(url, keys) as connection, connection.cursor() as cursor:
        for table in [each for each in _TABLES if each not in unsaved]:
            names = (folder / f"{table}.columns").read_text(encoding="utf-8").split("\n")
            connection.execute(_REMOVE.format(**_rows_of(table, keys.day)))
            query = _PUT_BACK.format(columns=_columns(names), table=sql.Identifier(table))
            with cursor.copy(query) as copy:
                for block in _blocks(folder / f"{table}.copy"):
                    copy.write(block)
        if unsaved:
            refresh_rollups(connection, keys.day)


def _columns(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _rows_of(table: str, day: ProjectDay) -> dict[str, sql.Composable]:
    condition = _TABLES[table].format(project=sql.Literal(day.project), day=sql.Literal(day.day))
    return {"table": sql.Identifier(table), "condition": condition}


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(2**18):
            yield block


@contextmanager
def _keyed(url: str, keys: RowKeys) -> Iterator[Connection[Any]]:
    """A transaction in which temporary tables hold the keys."""
    with (
        translated(),
        connect(url, autocommit=False) as connection,
        deadline(connection, STATEMENT_TIMEOUT),
    ):
        for statement in _KEYS:
            connection.execute(statement)
        with connection.cursor() as cursor:
            cursor.executemany("insert into repaired_runs values (%s, %s)", list(keys.runs))
            cursor.executemany("insert into repaired_feedback values (%s)", [[f] for f in keys.feedback])
        yield connection
        connection.commit()
