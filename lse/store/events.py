"""What happens to project days, as rows that stay when the process is gone.

An event is written in the transaction of the ledger's entry that it follows from, so there is never one
without the other.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lse.models import ProjectDay
from lse.models.fingerprint import fingerprint
from lse.store.connection import connect, deadline, translated
from lse.store.ledger import IMPORTED
from lse.store.queries import read_queries

Severity = Literal["info", "warning", "error"]

KINDS: Mapping[str, tuple[Severity, str]] = {
    "sweep.started": ("info", "A sweep of the day began."),
    "sweep.finished": ("info", "A sweep of the day ended; the seconds and the outcome of each step."),
    "day.fetched": ("info", "A fetch proved that no run is missing."),
    "day.partial": ("warning", "A fetch ended without that proof."),
    "day.imported": ("info", "What an earlier tool left of the day was brought in; nothing proves it whole."),
    "day.packed": ("info", "The day's zip was written or found unchanged."),
    "day.uploaded": ("info", "The zip was proved to be in the target."),
    "day.loaded": ("info", "The day was loaded into the store."),
    "day.quarantined": ("warning", "Runs could not be loaded and were set aside."),
    "day.verified": ("info", "The copies were compared and agree."),
    "day.differs": ("error", "The copies were compared and differ."),
    "step.failed": ("error", "A step failed."),
    "step.recovered": ("info", "A step that had failed succeeded."),
    "source.resting": ("warning", "LangSmith did not answer for long and is left alone for a while."),
    "alert.raised": ("warning", "Something needs a person, and was told once."),
    "alert.cleared": ("info", "What an alert was about is over."),
}
"""Every kind of event: how serious it is, and what it says."""

KEEP_DAYS = 90
"""Events older than this go when alerts are told."""

_SQL = read_queries("events.sql")
_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event that was written. `cursor` continues after it."""

    id: int
    xid: str
    at: datetime
    kind: str
    severity: Severity
    project: str | None
    run_date: date | None
    step: str | None
    origin: UUID | None
    fingerprint: str | None
    data: dict[str, Any]

    @property
    def cursor(self) -> tuple[str, int]:
        """Its place in the order in which events are followed."""
        return self.xid, self.id


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures of steps that say the same."""

    fingerprint: str
    step: str
    count: int
    days: int
    """Of how many project days"""
    first: datetime
    last: datetime
    last_day: str
    """The project day of the last one"""
    last_origin: UUID | None
    """The flow run, or the command, of the last one"""
    origins: int
    """In how many flow runs or commands"""
    message: str
    """The last one's"""
    solved: bool
    """Whether each of these days had the step succeed since"""


def write_event(
    connection: Connection[Any],
    kind: str,
    day: ProjectDay | None = None,
    *,
    step: str | None = None,
    origin: UUID | None = None,
    message: str | None = None,
    **figures: Any,
) -> None:
    """Write an event of one of `KINDS` in the connection's transaction; a `message` is fingerprinted."""
    data = {name: value for name, value in figures.items() if value is not None}
    parameters = {
        "kind": kind,
        "severity": KINDS[kind][0],
        "project": day.project if day else None,
        "run_date": day.day if day else None,
        "step": step,
        "origin": origin,
        "fingerprint": fingerprint(message) if message else None,
        "data": Jsonb(data | ({"message": message[:1000]} if message else {})),
    }
    connection.execute(_SQL["write_event"], parameters)


def write_ledger_events(
    connection: Connection[Any], day: ProjectDay, columns: Mapping[str, Any], origin: UUID | None = None
) -> None:
    """Write the events that follow from what the ledger's entry for `day` is about to be set to.

    A load writes the day's fetch once more, for a database that did not know of it; that is told once.
    """
    key = {"project": day.project, "run_date": day.day, "fetched_at": columns.get("fetched_at")}
    if connection.execute(_SQL["known_fetch"], key).rowcount:
        columns = {name: value for name, value in columns.items() if name != "fetched_at"}
    for kind, step, figures in _told(columns):
        write_event(connection, kind, day, step=step, origin=origin, **figures)


def _told(columns: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, step and figures of what `columns` of the ledger say."""

    def of(*names: str) -> dict[str, Any]:
        return {name: columns.get(name) for name in names}

    if columns.get("fetched_at") and "complete" in columns:
        if columns["complete"]:
            yield "day.fetched", "fetch", of("runs", "traces", "feedback", "walks", "api")
        elif columns.get("api") == IMPORTED:
            yield "day.imported", "import", of("runs", "traces", "feedback")
        else:
            yield "day.partial", "fetch", {**of("runs", "server_runs"), "message": columns.get("failure")}
    elif columns.get("failed_step"):
        yield "step.failed", columns["failed_step"], {"message": columns.get("failure")}
    if columns.get("packed_at"):
        yield "day.packed", "pack", of("zip_size", "content_sha256")
    if columns.get("uploaded_at"):
        yield "day.uploaded", "upload", of("target", "zip_size")
    if columns.get("loaded_at"):
        yield "day.loaded", "load", of("loaded_runs", "quarantined")
    if columns.get("quarantined"):
        yield "day.quarantined", "load", of("quarantined")
    if columns.get("verified_at"):
        kind = "day.differs" if columns.get("differences") else "day.verified"
        yield kind, "verify", of("differences")


class Events:
    """The events of the store. Like `Store` it holds an address and nothing open."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(
        self,
        after: tuple[str, int] | None = None,
        *,
        since: datetime | None = None,
        kind: str | None = None,
        project: str | None = None,
        limit: int = 1000,
    ) -> list[Event]:
        """At most `limit` events after the cursor `after`, or the last ones; in the order to follow them.

        Only those that no running transaction can come before. `kind` may end in `*`.
        """
        xid, number = after or ("0", 0)
        parameters = {
            "xid": xid,
            "id": number,
            "since": since,
            "kind": kind.replace("*", "%") if kind else None,
            "project": project,
            "limit": limit,
        }
        statement = _SQL["next_events" if after else "last_events"]
        with self._connected() as connection, connection.cursor(row_factory=class_row(Event)) as cursor:
            return cursor.execute(statement, parameters).fetchall()

    def failures(self, since: datetime, project: str | None = None) -> list[Failures]:
        """The failures of steps since then, those that say the same together; the most frequent first."""
        parameters = {"since": since, "project": project}
        with self._connected() as connection, connection.cursor(row_factory=class_row(Failures)) as cursor:
            return cursor.execute(_SQL["failures"], parameters).fetchall()

    def write(self, kind: str, day: ProjectDay | None = None, **more: Any) -> None:
        """Write one event; see `write_event`."""
        with self._connected() as connection:
            write_event(connection, kind, day, **more)

    def forget(self, keep_days: int = KEEP_DAYS) -> int:
        """Remove what is older; how many that were. Alerts that still stand are kept."""
        with self._connected() as connection:
            return connection.execute(_SQL["forget"], {"days": keep_days}).rowcount

    @contextmanager
    def _connected(self) -> Iterator[Connection[Any]]:
        with translated(), connect(self._url) as connection, deadline(connection, _DEADLINE):
            yield connection
