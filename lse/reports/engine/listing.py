"""Reports that list single runs."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from lse.formats import Cell, Document, Table, render
from lse.models import Run
from lse.models.filter import RunFilter
from lse.models.fingerprint import MESSAGE_LENGTH, fingerprint
from lse.reports import TABLE_FORMATS, DatedRun, Request, about
from lse.reports.engine.figures import microseconds
from lse.reports.engine.measures import plain_number
from lse.store.filtering import filter_sql
from lse.store.reading import Reader

Row = tuple[Cell, ...]
_Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is said of a run: its value in SQL over `runs`, of a run in hand, and as a cell."""

    sql: str
    """Columns with the same SQL share their value"""
    of: Callable[[DatedRun], Any]
    cell: Callable[[Any], Cell] | None = None
    """None: as the value is"""


def _text(name: str) -> Column:
    return Column(f"coalesce({name}, '')", lambda dated: getattr(dated.run, name) or "")


def _id(name: str) -> Column:
    return Column(f"{name}::text", lambda dated: str(getattr(dated.run, name)))


def _error(dated: DatedRun) -> str:
    return (dated.run.error or "")[:MESSAGE_LENGTH]


def _iso_time(text: str) -> str:
    """A UTC time that Postgres or Python wrote, in ISO 8601 with `Z`; a fraction has all six digits."""
    time = text.replace(" ", "T")
    return f"{time:0<26}Z" if "." in time else f"{time}Z"


@functools.lru_cache(16_384)  # the same message comes many times
def _on_one_line(text: str) -> str:
    return " ".join(text.split())


COLUMNS = {
    "start_time": Column(
        "(start_time at time zone 'UTC')::text",
        lambda dated: str(dated.run.start_time.replace(tzinfo=None)),
        _iso_time,
    ),
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
    "total_tokens": Column("total_tokens", lambda dated: dated.run.total_tokens),
    "total_cost": Column(
        "total_cost",
        lambda dated: dated.run.total_cost,
        lambda cost: plain_number(cost) if cost is not None else None,
    ),
    "trace_id": _id("trace_id"),
    "run_id": _id("run_id"),
    "fingerprint": Column("coalesce(error, '')", _error, fingerprint),
    "error": Column("coalesce(error, '')", _error, _on_one_line),
}
"""By the name in the report's head. An error is cut to 300 characters and written on one line; errors
whose messages say the same share their `fingerprint`."""

_WINDOW = "run_date between %(start)s and %(end)s and (%(project)s::text is null or project = %(project)s)"
_EVERY = """
-- In the order of the days, which an index has, so that little is left to be sorted.
select {columns} from runs
where {window} and {condition}
order by run_date, runs.start_time, runs.run_id
"""
_SLOWEST = """
select {columns} from runs
where {window} and latency is not null and {condition}
order by latency desc, runs.start_time, runs.run_id
limit %(limit)s
"""
_ROLLED = frozenset({"name", "type", "status", "model"})
_SLOWEST_OF_ROLLED = """
-- The rollups know how long the slowest run of each of their rows took: the last eight bytes of its
-- latencies. The longest of these, as many as runs are wanted, say which project days can have one of the
-- slowest runs; what is faster by more than a second is passed over by its times, which stand early in a row.
-- Fewer rows say nothing, since several of the slowest runs may be of one. Months that were dropped still
-- have rollups, but no runs to list.
with rolled as materialized (
    select project, run_date, ('x' || encode(substring(latencies from octet_length(latencies) - 7), 'hex')
                              )::bit(64)::bigint as took
    from daily_rollups
    where {window} and ended > 0 and {condition}
), longest as (
    select took from (select * from rolled order by took desc) as rolled
    where (select true from runs
           where runs.project = rolled.project and runs.run_date = rolled.run_date limit 1)
    limit %(limit)s
), least as materialized (
    select case when count(*) = %(limit)s then min(took) end as took from longest
), days as (
    select distinct project, run_date, least.took from rolled, least
    where least.took is null or rolled.took >= least.took
)
select {names}
from days cross join lateral (
    select {columns}, latency, runs.start_time, runs.run_id from runs
    where runs.project = days.project and runs.run_date = days.run_date
      and (end_time - start_time >= (days.took / 1000000 - 1) * interval '1 s' or days.took is null)
      and end_time is not null and {condition}
    order by latency desc, runs.start_time, runs.run_id
    limit %(limit)s
) as slow
order by latency desc, start_time, run_id
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
        found = reader.tuples(sql, {**request.parameters, **parameters, "limit": limit})
        if wanted := {condition.value for condition in where.only("fingerprint")}:
            error = list(self._read(where)).index(COLUMNS["error"].sql)
            found = [values for values in found if wanted == {fingerprint(values[error])}]
        return self._rows(found, where, request)

    def from_runs(self, runs: Iterable[DatedRun], request: Request) -> list[Row]:
        """The same rows, from every run of the requested days."""
        where = request.where & request.subject
        read = self._read(where).values()
        listed = (dated for dated in runs if self._lists(dated.run) and where.matches(dated.run, dated.text))
        return self._rows([tuple(column.of(dated) for column in read) for dated in listed], where, request)

    def render(self, rows: Sequence[Row], request: Request, form: str) -> Document:
        """The rows, or the first `request.top` of them, as a table."""
        return render(Table(self.columns, rows[: request.top], about(request)), form)

    def _read(self, where: RunFilter) -> dict[str, Column]:
        """The columns that are read, by their SQL: those shown and those that choose and order the runs."""
        names = [*self.columns, "start_time", "run_id"]
        names += ["seconds"] if self.slowest else []
        names += where.fields & {"fingerprint"}
        return {COLUMNS[name].sql: COLUMNS[name] for name in names}

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
        names = {sql: f"v{number}" for number, sql in enumerate(self._read(where))}
        parts = {
            "window": _WINDOW,
            "columns": ", ".join(f"{sql} as {name}" for sql, name in names.items()),
            "names": ", ".join(names.values()),
            "condition": condition,
        }
        text = _EVERY
        if self.slowest:
            text = _SLOWEST_OF_ROLLED if where.fields <= _ROLLED else _SLOWEST
        return text.format(**parts), parameters

    def _rows(self, found: list[_Values], where: RunFilter, request: Request) -> list[Row]:
        """The rows of what was found, in the report's order."""
        read = list(self._read(where))
        place = {name: read.index(column.sql) for name, column in COLUMNS.items() if column.sql in read}
        found.sort(key=itemgetter(place["start_time"], place["run_id"]))
        if self.slowest:
            found.sort(key=itemgetter(place["seconds"]), reverse=True)
        listed = found[: self._limit(request)]
        columns = [_cells(COLUMNS[name], map(itemgetter(place[name]), listed)) for name in self.columns]
        return list(zip(*columns, strict=True))


def _cells(column: Column, values: Iterable[Any]) -> list[Cell]:
    return list(map(column.cell, values) if column.cell else values)
