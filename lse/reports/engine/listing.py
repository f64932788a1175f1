"""Reports that list single runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lse.formats import Cell, Document, Table, render
from lse.models import Run
from lse.models.filter import RunFilter
from lse.models.fingerprint import MESSAGE_LENGTH, fingerprint
from lse.reports import TABLE_FORMATS, DatedRun, Request, about
from lse.reports.engine.figures import microseconds
from lse.reports.engine.measures import plain_number, plain_time
from lse.store.filtering import filter_sql
from lse.store.reading import Reader

Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is said of a run: its value in SQL over `runs`, of a run in hand, and as a cell."""

    sql: str
    of: Callable[[DatedRun], Any]
    cell: Callable[[Any], Cell] = lambda value: value


def _text(name: str) -> Column:
    return Column(f"coalesce({name}, '')", lambda dated: getattr(dated.run, name) or "")


def _number(name: str) -> Column:
    return Column(name, lambda dated: getattr(dated.run, name))


def _error(dated: DatedRun) -> str:
    return (dated.run.error or "")[:MESSAGE_LENGTH]


COLUMNS = {
    "start_time": Column("start_time", lambda dated: dated.run.start_time, plain_time),
    "seconds": Column(
        "(extract(epoch from end_time - start_time) * 1000000)::bigint",
        lambda dated: microseconds(dated.run),
        lambda took: round(took / 1e6, 3) if took is not None else None,
    ),
    "project": Column("project", lambda dated: dated.project),
    "name": _text("name"),
    "type": Column("coalesce(run_type, '')", lambda dated: dated.run.run_type or ""),
    "status": _text("status"),
    "model": _text("model"),
    "total_tokens": _number("total_tokens"),
    "total_cost": Column(
        "total_cost",
        lambda dated: dated.run.total_cost,
        lambda cost: plain_number(cost) if cost is not None else None,
    ),
    "trace_id": Column("trace_id", lambda dated: dated.run.trace_id, str),
    "run_id": Column("run_id", lambda dated: dated.run.run_id, str),
    "fingerprint": Column("error", _error, fingerprint),
    "error": Column("coalesce(error, '')", _error, lambda text: " ".join(text.split())),
}
"""By the name in the report's head. An error is cut to 300 characters and written on one line; errors
whose messages say the same share their `fingerprint`."""

_EVERY = """
select {columns}
from runs
where run_date between %(start)s and %(end)s and (%(project)s::text is null or project = %(project)s)
  and {condition}
"""
_SLOWEST = """
-- The rollups say which project days there are, and an index gives the slowest runs of each.
select slow.*
from (
    select distinct project, run_date from daily_rollups
    where run_date between %(start)s and %(end)s and (%(project)s::text is null or project = %(project)s)
) as days
cross join lateral (
    select {columns} from runs
    where runs.project = days.project and runs.run_date = days.run_date and latency is not null
      and {condition}
    order by latency desc, start_time, run_id
    limit %(limit)s
) as slow
order by seconds desc, start_time, run_id
limit %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A report with a row for each run, in order of time or the slowest first; it satisfies `Report`."""

    columns: tuple[str, ...]
    """What is said of each run, of `COLUMNS`"""
    failed_only: bool = False
    """Whether only failed runs are listed"""
    slowest: int | None = None
    """How many of the slowest runs are listed unless asked otherwise; None lists all runs"""
    takes: tuple[str, ...] = ("where", "top")
    """The members of `Request` that it heeds besides days and project, written out"""
    FORMATS: tuple[str, ...] = TABLE_FORMATS

    @property
    def QUERY(self) -> str:  # noqa: N802 - a constant of other reports
        """The statement as asked without options, for whoever looks at plans."""
        return self._statement(RunFilter())[0]

    def from_store(self, reader: Reader, request: Request) -> list[Row]:
        """The rows, from the store."""
        where = request.where & request.subject
        sql, parameters = self._statement(where)
        limit = None if "fingerprint" in where.fields else self._limit(request)
        rows = reader.query(sql, {**request.parameters, **parameters, "limit": limit})
        wanted = where.only("fingerprint")
        return self._rows(
            [row for row in rows if all(fingerprint(row["error"]) == c.value for c in wanted)], request
        )

    def from_runs(self, runs: Iterable[DatedRun], request: Request) -> list[Row]:
        """The same rows, from every run of the requested days."""
        where = request.where & request.subject
        listed = (dated for dated in runs if self._lists(dated.run) and where.matches(dated.run, dated.text))
        values = [{name: COLUMNS[name].of(dated) for name in self._needs} for dated in listed]
        return self._rows(values, request)

    def render(self, rows: Sequence[Row], request: Request, form: str) -> Document:
        """The rows, or the first `request.top` of them, as a table."""
        return render(Table(self.columns, rows[: request.top], about(request)), form)

    @property
    def _needs(self) -> list[str]:
        """The columns that are read: those shown and those by which runs are chosen and ordered."""
        return list(dict.fromkeys([*self.columns, "start_time", "run_id", "seconds", "error"]))

    def _lists(self, run: Run) -> bool:
        return not (self.failed_only and run.status == "success") and not (
            self.slowest and run.end_time is None
        )

    def _limit(self, request: Request) -> int | None:
        return request.top or self.slowest if self.slowest else None

    def _statement(self, where: RunFilter) -> tuple[str, dict[str, Any]]:
        condition, parameters = filter_sql(where.without("fingerprint"), "where")
        if self.failed_only:
            condition = f"status is distinct from 'success' and {condition}"
        columns = ", ".join(f"{COLUMNS[name].sql} as {name}" for name in self._needs)
        text = _SLOWEST if self.slowest else _EVERY
        return text.replace("{columns}", columns).replace("{condition}", condition), parameters

    def _rows(self, values: list[dict[str, Any]], request: Request) -> list[Row]:
        values.sort(key=lambda row: (row["start_time"], row["run_id"]))
        if self.slowest:
            values.sort(key=lambda row: row["seconds"], reverse=True)
        limit = self._limit(request)
        return [tuple(COLUMNS[name].cell(row[name]) for name in self.columns) for row in values[:limit]]
