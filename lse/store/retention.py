"""Old months leave the store: what each holds, what the ledger proves of it, and how it is taken out."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from psycopg import Connection, sql
from psycopg.rows import dict_row

from lse.models import ProjectDay
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.queries import read_queries

Fate = Literal["detach", "drop"]

_SQL = read_queries("retention.sql")
_DEADLINE = 10 * STATEMENT_TIMEOUT
_DROPPED_WITH = ("remove_feedback", "remove_versions", "remove_quarantine")


@dataclass(frozen=True)
class MonthDay:
    """One project day of a month, and why it may not leave the store; None when it may."""

    day: ProjectDay
    runs: int
    obstacle: str | None


@dataclass(frozen=True)
class Month:
    """The table of one month of runs."""

    name: str
    first: date
    attached: bool
    """Whether it is a part of `runs`; False for one that was detached."""
    pending: bool
    """Whether a detach broke off half-way"""
    size: int
    """Bytes, with indexes and payloads"""
    days: tuple[MonthDay, ...]

    @property
    def runs(self) -> int:
        """How many runs it holds."""
        return sum(day.runs for day in self.days)


def months_before(url: str, before: date) -> list[Month]:
    """The months that begin before `before`, the oldest first, also those detached earlier."""
    with translated(), connect(url) as connection, deadline(connection, _DEADLINE):
        connection.read_only = True
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(_SQL["months"], {"before": before}).fetchall()
            return [_month(connection, row) for row in found]


def take_out(url: str, month: Month, fate: Fate) -> None:
    """Detach the table of `month` from `runs`, under its name, or drop it with what belongs to its runs.

    Readers and loads go on meanwhile. Repeated after a break, it goes on. The ledger says then that nothing
    of the month is loaded. Raises `BusyError` or `TemporaryError` when somebody uses the table for too long.
    """
    table = sql.Identifier(month.name)
    with translated(), connect(url) as connection, deadline(connection, _DEADLINE):
        if month.pending:
            connection.execute(sql.SQL("alter table runs detach partition {} finalize").format(table))
        elif month.attached:
            connection.execute(sql.SQL("alter table runs detach partition {} concurrently").format(table))
        with connection.transaction():
            if fate == "drop":
                connection.execute(sql.SQL("drop table {}").format(table))
                for name in _DROPPED_WITH:
                    connection.execute(_SQL[name], {"first": month.first})
            connection.execute(_SQL["forget_loads"], {"first": month.first})


def _month(connection: Connection[Any], row: dict[str, Any]) -> Month:
    statement = sql.SQL(_SQL["days_of_month"].decode()).format(month=sql.Identifier(row["name"]))
    with connection.cursor(row_factory=dict_row) as cursor:
        days = tuple(
            MonthDay(
                ProjectDay(held["project"], held["run_date"]), held["runs"], _obstacle(held, row["attached"])
            )
            for held in cursor.execute(statement)
        )
    year, month = row["name"].removeprefix("runs_").split("_")
    return Month(days=days, first=date(int(year), int(month), 1), **row)


def _obstacle(day: dict[str, Any], attached: bool) -> str | None:
    """What the ledger lacks for a proof that the archive holds what the store does."""
    archived = [day[name] for name in ("fetched_at", "packed_at", "uploaded_at") if day[name] is not None]
    loaded: datetime | None = day["loaded_at"]
    if not archived:
        return "nothing of it is in the archive"
    if day["verified_at"] is None:
        return "its copies were never compared"
    if day["differences"]:
        return f"its copies differed in {day['differences']} items when they were last compared"
    if attached and loaded is None:
        return "it is not in the ledger as loaded"
    if loaded is not None and day["verified_at"] < loaded:
        return "it was loaded after its copies were last compared"
    return None
