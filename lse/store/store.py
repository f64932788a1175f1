"""The runs store as the rest of `lse` sees it."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import Connection, ServerCursor
from psycopg.rows import class_row, dict_row

from lse.errors import BusyError
from lse.models import Entries, ProjectDay, Trace
from lse.store import revisions
from lse.store.checking import DifferingRow, differing_rows
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, hang_up, translated
from lse.store.events import write_event, write_ledger_events
from lse.store.ledger import LedgerEntry, write_entry
from lse.store.loading import BATCH_RUNS, LoadResult, Progress, day_digest, load
from lse.store.partitions import ensure_partition, refresh_statistics
from lse.store.queries import QUERIES
from lse.store.row_backup import RowKeys, put_rows_back, remove_rows, save_rows

_GRACE = 30.0
"""The server's own timeout comes first; the client hangs up when nothing is heard for this much longer."""

_LOCK_PATIENCE = 2.0
"""Seconds to wait for a held day: the server notices within moments that a process was killed."""

_WORTH_VACUUMING = 1_000
_VACUUM_DEADLINE = 3600.0
"""Seconds for the vacuum after a load, which has no timeout of the server's."""


@dataclass(frozen=True)
class Quarantined:
    """A run or feedback record that could not be loaded. `content_hash` is that of its exact text."""

    run_id: UUID | None
    trace_id: UUID | None
    content_hash: UUID
    reason: str
    quarantined_at: datetime


class Store:
    """The Postgres database of runs, feedback, quarantine and ledger.

    Holds an address and nothing open: each method connects for itself, so a store may be shared between
    threads. Every method raises `TemporaryError` when the database does not answer and `ConfigurationError`
    when address, password or tables are missing; no message quotes data or password.
    """

    def __init__(self, url: str, origin: UUID | None = None) -> None:
        """`origin` names the flow run or the command in the events that it causes."""
        self._url = url
        self._origin = origin

    def __repr__(self) -> str:
        return "Store(...)"

    def check(self) -> None:
        """Raise `ConfigurationError` unless the database answers and its schema is the current one."""
        revisions.check(self._url)

    @contextlib.contextmanager
    def lock(self, day: ProjectDay) -> Iterator[None]:
        """Hold the project day: nobody else's `lock` on it succeeds meanwhile. A crash frees it.

        Raises `BusyError` when another holds it for some seconds, and `TemporaryError` at the end when the
        lock was lost on the way.
        """
        with contextlib.closing(connect(self._url)) as connection:
            _take_lock(connection, day)
            yield
            _ask(connection, QUERIES["unlock_day"], day)

    def load(
        self,
        day: ProjectDay,
        traces: Iterable[Trace],
        *,
        unplaced: Iterable[bytes] = (),
        progress: Progress | None = None,
        batch_runs: int = BATCH_RUNS,
        overwrite: bool = False,
        dry_run: bool = False,
        content: str | None = None,
    ) -> LoadResult:
        """Load the traces of `day`: all of it or nothing, and the same again when repeated.

        `progress` is called with how many more runs are done. Rows of the day that are not in `traces`
        stay. A run that cannot be typed or that Postgres refuses is quarantined alone, and so is each text
        of `unplaced`, which are runs that name no trace. In `data`, an escaped NUL stands as U+FFFD and
        `sanitized` is true; the archive has the exact text.

        `overwrite` writes unchanged rows anew as well; a finished run gives way to an unfinished one in no
        case. `dry_run` does everything and takes it back, so its figures are those of a load. `content`, a
        hash of all that is loaded, lets `loaded` recognise it.
        """
        with translated(), connect(self._url, autocommit=False) as connection:
            with deadline(connection, STATEMENT_TIMEOUT + _GRACE):
                ensure_partition(connection, day.day)
                if not dry_run:
                    connection.commit()
            result = load(
                connection,
                day,
                traces,
                unplaced,
                progress,
                batch_runs=batch_runs,
                overwrite=overwrite,
                content=content,
            )
            with deadline(connection, STATEMENT_TIMEOUT + _GRACE):
                if dry_run:
                    connection.rollback()
                    return result
                connection.commit()
            connection.autocommit = True
            if (written := result.inserted + result.updated) >= _WORTH_VACUUMING:
                with deadline(connection, _VACUUM_DEADLINE):
                    refresh_statistics(connection, day.day, written)
        return result

    def loaded(self, day: ProjectDay, content: str) -> LoadResult | None:
        """What a load of `content` would find unchanged; None when it has something to do.

        That is so when the last load of `day` was of another content, or its rows are not those any more.
        """
        entry = self.ledger(day)
        if entry is None or entry.loaded_digest is None or entry.loaded_content != content:
            return None
        with self._reading() as connection:
            digest, feedback = day_digest(connection, day)
        if digest != entry.loaded_digest:
            return None
        return LoadResult(
            unchanged=entry.loaded_runs or 0, quarantined=entry.quarantined or 0, feedback=feedback
        )

    def row_digest(self, day: ProjectDay) -> int:
        """A number that stands for the ids and hashes of the runs and feedback of `day`."""
        with self._reading() as connection:
            return day_digest(connection, day)[0]

    def run_hashes(self, day: ProjectDay) -> Iterator[tuple[UUID, UUID, UUID]]:
        """(trace_id, run_id, content_hash) of each run of `day`, in order of the ids; streamed."""
        return self._stream(QUERIES["run_hashes"], day)

    def run_entries(self, day: ProjectDay) -> AbstractContextManager[Iterator[tuple[str, Entries]]]:
        """(trace_id, entries of its runs) of each trace of `day`, in order of the ids; streamed.

        The server begins at once, and goes on while the caller works on the rows that came.
        """
        return self._answer(QUERIES["run_entries"], day, 1_000)

    def feedback_entries(self, day: ProjectDay) -> Entries:
        """The entries of the feedback of `day`."""
        with self._reading() as connection:
            row = connection.execute(QUERIES["feedback_entries"], _key(day), binary=True).fetchone()
        return bytes(row[0]) if row and row[0] else b""

    def count_rows(self, day: ProjectDay) -> dict[str, int]:
        """How many `runs`, `feedback` records and `quarantined` texts of `day` there are."""
        return self.query(QUERIES["count_rows"].decode(), _key(day))[0]

    def differing_rows(self, day: ProjectDay, traces: Iterable[Trace]) -> Iterator[DifferingRow]:
        """The rows of `day` that are not what a load makes of their texts; see `checking.differing_rows`."""
        return differing_rows(self._url, day, traces)

    def save_rows(self, keys: RowKeys, folder: Path) -> None:
        """Write the rows of `keys` into files of `folder`; see `row_backup`."""
        save_rows(self._url, keys, folder)

    def remove_rows(self, keys: RowKeys) -> None:
        """Delete the runs and feedback of `keys`."""
        remove_rows(self._url, keys)

    def put_rows_back(self, keys: RowKeys, folder: Path) -> None:
        """Make the rows of `keys` again those that `save_rows` wrote into `folder`."""
        put_rows_back(self._url, keys, folder)

    def quarantined(self, day: ProjectDay) -> list[Quarantined]:
        """What of `day` could not be loaded, and why."""
        with self._reading() as connection, connection.cursor(row_factory=class_row(Quarantined)) as cursor:
            return cursor.execute(QUERIES["quarantined"], _key(day)).fetchall()

    def ledger(self, day: ProjectDay) -> LedgerEntry | None:
        """The ledger's entry for `day`, or None when nothing was ever done for it."""
        with self._reading() as connection, connection.cursor(row_factory=class_row(LedgerEntry)) as cursor:
            return cursor.execute(QUERIES["ledger"], _key(day)).fetchone()

    def ledgers(
        self, project: str | None = None, start: date | None = None, end: date | None = None
    ) -> list[LedgerEntry]:
        """The ledger's entries by project and day; `start` and `end` are inclusive, None does not limit."""
        parameters = {"project": project, "start": start, "end": end}
        with self._reading() as connection, connection.cursor(row_factory=class_row(LedgerEntry)) as cursor:
            return cursor.execute(QUERIES["ledgers"], parameters).fetchall()

    def record(self, day: ProjectDay, **columns: Any) -> None:
        """Write `columns`, named as in `LedgerEntry`, into the ledger's entry for `day`; the others stay.

        The events that follow from them are written in the same transaction.
        """
        with self._writing() as connection:
            write_ledger_events(connection, day, columns, self._origin)
            write_entry(connection, day, columns)

    def recovered(self, day: ProjectDay, step: str) -> None:
        """Take back that `step` of `day` failed."""
        with self._writing() as connection:
            write_entry(connection, day, {"failed_step": None, "failure": None})
            write_event(connection, "step.recovered", day, step=step, origin=self._origin)

    def happened(self, kind: str, day: ProjectDay, **figures: Any) -> None:
        """Write an event about `day`; `kind` is one of `lse.store.events.KINDS`."""
        with self._writing() as connection:
            write_event(connection, kind, day, origin=self._origin, **figures)

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a report's query, as dicts, read in a transaction that cannot write."""
        with self._reading() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql.encode(), parameters).fetchall()

    def projects(self) -> list[str]:
        """The names of the projects in the ledger, sorted."""
        with self._reading() as connection:
            return [name for (name,) in connection.execute(QUERIES["projects"])]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection[Any]]:
        with (
            translated(),
            connect(self._url) as connection,
            deadline(connection, STATEMENT_TIMEOUT + _GRACE),
            connection.transaction(),
        ):
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection[Any]]:
        with translated(), connect(self._url) as connection:
            connection.read_only = True
            with deadline(connection, STATEMENT_TIMEOUT + _GRACE), connection.transaction():
                yield connection

    def _stream(self, statement: bytes, day: ProjectDay) -> Iterator[Any]:
        with self._answer(statement, day, 10_000) as rows:
            yield from rows

    @contextlib.contextmanager
    def _answer(self, statement: bytes, day: ProjectDay, rows_at_once: int) -> Iterator[Iterator[Any]]:
        with (
            translated(),
            connect(self._url, autocommit=False) as connection,
            connection.cursor(name="hashes") as cursor,
        ):
            connection.read_only = True
            thread = ThreadPoolExecutor(1)
            try:
                first = thread.submit(_first_rows, connection, cursor, rows_at_once, statement, day)
                yield _ahead(first, lambda: thread.submit(_next_rows, connection, cursor, rows_at_once))
            finally:
                hang_up(connection)  # there is nothing to commit, and no answer to wait for
                thread.shutdown()
                connection.close()


def _take_lock(connection: Connection[Any], day: ProjectDay) -> None:
    """Hold `day`, if need be when the server has noticed that a killed holder is gone."""
    until = time.monotonic() + _LOCK_PATIENCE
    while not _ask(connection, QUERIES["try_lock_day"], day):
        if time.monotonic() > until:
            raise BusyError(f"{day} is being worked on by another process.", hint="Try again later.")
        time.sleep(0.1)


def _ask(connection: Connection[Any], statement: bytes, day: ProjectDay) -> bool:
    with translated(), deadline(connection, STATEMENT_TIMEOUT + _GRACE):
        row = connection.execute(statement, {"day": str(day)}).fetchone()
    return bool(row and row[0])


def _ahead(first: Future[list[Any]], ask: Callable[[], Future[list[Any]]]) -> Iterator[Any]:
    awaited = first
    while rows := awaited.result():
        awaited = ask()
        yield from rows


def _first_rows(
    connection: Connection[Any], cursor: ServerCursor[Any], number: int, statement: bytes, day: ProjectDay
) -> list[Any]:
    with translated(), deadline(connection, STATEMENT_TIMEOUT + _GRACE):
        cursor.execute(statement, _key(day), binary=True)
        return cursor.fetchmany(number)


def _next_rows(connection: Connection[Any], cursor: ServerCursor[Any], number: int) -> list[Any]:
    with translated(), deadline(connection, STATEMENT_TIMEOUT + _GRACE):
        return cursor.fetchmany(number)


def _key(day: ProjectDay) -> dict[str, Any]:
    return {"project": day.project, "run_date": day.day}
