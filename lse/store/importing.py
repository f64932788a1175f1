"""What an import needs of a database: the earlier tool's table, read only, and the way back."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from psycopg import Connection, conninfo

from lse.errors import ConfigurationError, UsageError
from lse.models import ProjectDay
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.queries import QUERIES, read_queries
from lse.store.rollups import refresh_rollups

Version = tuple[UUID, UUID, UUID]
"""(trace id, run id, content hash) of a run, or (run id, feedback id, content hash) of a feedback record."""

_SQL = read_queries("importing.sql")
_COLUMNS = {"run_id", "trace_id", "project", "run_date", "data"}
_OURS = "content_hash"
_ROWS = 200
"""Rows in memory at a time; a run may have some megabytes."""

_IDS = 10_000
_DEADLINE = STATEMENT_TIMEOUT + 30.0
_REMOVAL_DEADLINE = 10 * STATEMENT_TIMEOUT
"""Seconds for all rows of one day"""


class EarlierTable:
    """The earlier tool's table `runs`. Nothing is written, and nothing is locked against its users."""

    def __init__(self, url: str) -> None:
        """Connect to the database at `url`; a driver named in it, as SQLAlchemy has it, is ignored.

        Raises `ConfigurationError` for a wrong address or password, `UsageError` where there is no such
        table, `TemporaryError` when the server does not answer.
        """
        scheme, colon, rest = url.partition(":")
        address = scheme.partition("+")[0] + colon + rest
        try:
            self._connection = connect(address)
        except ConfigurationError as error:
            raise ConfigurationError(error.message, hint="Check the address to import from.") from None
        self.name = _place(address)
        self._connection.read_only = True
        self._require_table()

    def rows(self) -> Iterator[tuple[str, str, bytes]]:
        """(run id, project, run as JSON) of every row, through a server-side cursor."""
        with translated(), self._connection.transaction(), self._connection.cursor(name="earlier") as cursor:
            with deadline(self._connection, _DEADLINE):
                cursor.execute(_SQL["earlier_runs"])
            while rows := self._next(cursor):
                yield from (_encoded(row) for row in rows)

    def rows_by_id(self, run_ids: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
        """The same of the rows with these ids."""
        for ids in _chunks(run_ids, _ROWS):
            with translated(), deadline(self._connection, _DEADLINE), self._connection.transaction():
                rows = self._connection.execute(_SQL["earlier_runs_by_id"], {"run_ids": ids}).fetchall()
            yield from (_encoded(row) for row in rows)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _next(self, cursor: Any) -> list[Any]:
        with deadline(self._connection, _DEADLINE):
            return list(cursor.fetchmany(_ROWS))

    def _require_table(self) -> None:
        with translated(), deadline(self._connection, _DEADLINE):
            row = self._connection.execute(_SQL["earlier_columns"]).fetchone()
        found = set(row[0]) if row else set()
        if not found >= _COLUMNS or _OURS in found:
            self._connection.close()
            raise UsageError(
                f"{self.name} has no table `runs` of the earlier tool.",
                hint=f"It has the columns {', '.join(sorted(_COLUMNS))}.",
            )


def remove_imported(
    url: str,
    day: ProjectDay,
    runs: Iterable[Version],
    feedback: Iterable[Version],
    replaced: Iterable[Version],
) -> int:
    """Remove exactly these runs and feedback from store and quarantine, all or nothing; how many rows went.

    `replaced` are the versions of runs that stood there before, and are about to be loaded again.
    """
    removed = 0
    with (
        translated(),
        connect(url) as connection,
        deadline(connection, _REMOVAL_DEADLINE),
        connection.transaction(),
    ):
        connection.execute(QUERIES["lock_load"], {"day": str(day)})
        for statement, versions in (("remove_runs", runs), ("remove_feedback", feedback)):
            for some in _chunks(versions, _IDS):
                removed += _remove(connection, statement, day, some)
                _remove(connection, "remove_quarantined", day, some)
        for some in _chunks(replaced, _IDS):
            _remove(connection, "remove_kept_versions", day, some)
        refresh_rollups(connection, day)
    return removed


def forget_day(url: str, day: ProjectDay) -> None:
    """Take the day out of the ledger."""
    with translated(), connect(url) as connection, deadline(connection, _DEADLINE):
        connection.execute(_SQL["remove_ledger_entry"], _key(day))


def _remove(connection: Connection[Any], statement: str, day: ProjectDay, versions: list[Version]) -> int:
    owners, ids, hashes = (list(column) for column in zip(*versions, strict=True))
    parameters = {**_key(day), "owners": owners, "ids": ids, "hashes": hashes}
    return connection.execute(_SQL[statement], parameters).rowcount


def _key(day: ProjectDay) -> dict[str, Any]:
    return {"project": day.project, "run_date": day.day}


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _encoded(row: tuple[str, str, str]) -> tuple[str, str, bytes]:
    return row[0], row[1], row[2].encode()


def _place(url: str) -> str:
    """The address without user and password."""
    parts = conninfo.conninfo_to_dict(url)
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{parts.get('host') or ''}{port}/{parts.get('dbname') or ''}"
