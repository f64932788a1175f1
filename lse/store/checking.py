"""Whether rows still say what the texts that they were made from say, column by column."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection, sql

from lse.models import ProjectDay, RawFeedback, RawRun, Trace, UnreadableRun, content_digest
from lse.store.binary import HEADER, RUN_COLUMNS, TRAILER
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.queries import QUERIES
from lse.store.rows import feedback_values, run_row

_BATCH_RUNS = 2_000
_KEY = ("run_date", "trace_id", "run_id")
_COPY = sql.SQL("copy incoming ({}) from stdin (format binary)").format(
    sql.SQL(", ").join(map(sql.Identifier, RUN_COLUMNS))
)
_FEEDBACK_COLUMNS = ("key", "score", "value", "comment", "created_at", "modified_at", "data")


def _columns(table: str, names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, name) for name in names)


# A row of another hash is of another text, which is for the comparison by hash to say.
_DIFFERING = sql.SQL("""
    select trace_id, run_id from runs join incoming using (run_date, trace_id, run_id)
    where runs.content_hash = incoming.content_hash and ({stored}) is distinct from ({made})
    order by trace_id, run_id
""").format(
    stored=_columns("runs", (name for name in RUN_COLUMNS if name not in _KEY)),
    made=_columns("incoming", (name for name in RUN_COLUMNS if name not in _KEY)),
)
_FEEDBACK_DIFFERS = sql.SQL("""
    select 1 from feedback
    where run_date = %(run_date)s and run_id = %(run_id)s and feedback_id = %(feedback_id)s
      and content_hash = %(content_hash)s and ({stored}) is distinct from
          (%(key)s::text, %(score)s::numeric, %(value)s::jsonb, %(comment)s::text,
           %(created_at)s::timestamptz, %(modified_at)s::timestamptz, %(data)s::jsonb)
""").format(stored=sql.SQL(", ").join(map(sql.Identifier, _FEEDBACK_COLUMNS)))


class DifferingRow(NamedTuple):
    """A row that is not what a load makes of its text."""

    table: Literal["runs", "feedback"]
    owner: UUID
    """The trace of a run, the run of a feedback record"""
    item: UUID


def differing_rows(url: str, day: ProjectDay, traces: Iterable[Trace]) -> Iterator[DifferingRow]:
    """Each row of `day` that is not the one that a load would make of its text.

    The texts go into a temporary table, so that Postgres compares values as it keeps them; nothing else is
    written.
    """
    # Closing it drops the table, and waits for no answer.
    with translated(), closing(connect(url, autocommit=False)) as connection:
        for trace in traces:
            for begin in range(0, len(trace.runs), _BATCH_RUNS):
                for pair in _differing(connection, day, trace.runs[begin : begin + _BATCH_RUNS]):
                    yield DifferingRow("runs", *pair)
            for raw in trace.feedback:
                if _feedback_differs(connection, day, raw):
                    yield DifferingRow("feedback", raw.run_id, raw.id)


def _differing(
    connection: Connection[Any], day: ProjectDay, runs: Sequence[RawRun]
) -> list[tuple[UUID, UUID]]:
    with deadline(connection, STATEMENT_TIMEOUT):
        connection.execute(QUERIES["create_incoming"])
        connection.execute(QUERIES["empty_incoming"])
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.write(HEADER)
            for raw in runs:
                try:
                    copy.write(b"".join(run_row(day, raw, content_digest(raw.text))))
                except UnreadableRun:
                    continue  # a load quarantines it
            copy.write(TRAILER)
        return connection.execute(_DIFFERING).fetchall()


def _feedback_differs(connection: Connection[Any], day: ProjectDay, raw: RawFeedback) -> bool:
    try:
        values = feedback_values(day, raw)
    except UnreadableRun:
        return False
    with deadline(connection, STATEMENT_TIMEOUT):
        return connection.execute(_FEEDBACK_DIFFERS, values).fetchone() is not None
