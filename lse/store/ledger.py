"""The ledger: what is proved done for each project day."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import sql

from lse.models import ProjectDay

IMPORTED = "import"
"""What stands in the place of the API for a day that was imported, not fetched"""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """The state of one project day. A time says when a step was last done, None that it never was.

    Times are aware and UTC; `zip_size` is in bytes; `complete` is None before the first fetch;
    `failed_step` and `failure` tell of the last step when it failed.
    """

    project: str
    run_date: date
    fetched_at: datetime | None = None
    complete: bool | None = None
    server_runs: int | None = None
    server_traces: int | None = None
    runs: int | None = None
    traces: int | None = None
    feedback: int | None = None
    api: str | None = None
    walks: int | None = None
    packed_at: datetime | None = None
    content_sha256: str | None = None
    zip_sha256: str | None = None
    zip_md5: str | None = None
    zip_size: int | None = None
    uploaded_at: datetime | None = None
    target: str | None = None
    target_id: str | None = None
    target_link: str | None = None
    loaded_at: datetime | None = None
    loaded_runs: int | None = None
    loaded_content: str | None = None
    loaded_digest: int | None = None
    quarantined: int | None = None
    verified_at: datetime | None = None
    differences: int | None = None
    failed_step: str | None = None
    failure: str | None = None
    fetch_record: str | None = None

    @property
    def day(self) -> ProjectDay:
        """The project day this entry is about."""
        return ProjectDay(self.project, self.run_date)


COLUMNS = frozenset(field.name for field in fields(LedgerEntry)) - {"project", "run_date"}


def write_entry(connection: psycopg.Connection[Any], day: ProjectDay, columns: dict[str, Any]) -> None:
    """Set `columns` of the day's entry, which appears if it was not there; others stay as they are."""
    if unknown := set(columns) - COLUMNS:
        raise TypeError(f"the ledger has no column {', '.join(sorted(unknown))}")
    if not columns:
        return
    names = sorted(columns)
    statement = sql.SQL(
        "insert into project_days (project, run_date, {names}) values (%(project)s, %(run_date)s, {values}) "
        "on conflict (project, run_date) do update set {changes}"
    ).format(
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        values=sql.SQL(", ").join(map(sql.Placeholder, names)),
        changes=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names
        ),
    )
    connection.execute(statement, {**columns, "project": day.project, "run_date": day.day})
