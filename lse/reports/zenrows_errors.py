"""How many traces had a failed `zenrows_scraper` run, per day.

A trace counts once, however many of its scraper runs failed and at whatever depth. A run failed when its
name is exactly `zenrows_scraper` and its status is not `success`: one that is missing or still pending
did not succeed either.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from lse.formats import Table, csv
from lse.models import Run
from lse.reports import DatedRun, Request
from lse.store.reading import Reader

FORMATS = ("csv",)

SCRAPER = "zenrows_scraper"

QUERY = """
    -- One count reads the partial index on failures, the other the index on (project, run_date, trace_id).
    with failed as (
        select run_date, count(distinct trace_id) as traces from runs
        where run_date between %(start)s and %(end)s
          and (%(project)s::text is null or project = %(project)s)
          and name = 'zenrows_scraper' and status is distinct from 'success'
        group by run_date
    ), total as (
        select run_date, count(distinct trace_id) as traces from runs
        where run_date between %(start)s and %(end)s
          and (%(project)s::text is null or project = %(project)s)
        group by run_date
    )
    select run_date, total.traces, coalesce(failed.traces, 0) as failed
    from total left join failed using (run_date)
"""

Row = tuple[date, int, int]
"""Day, traces, traces with a failed scraper run."""


def failed_scraper(run: Run) -> bool:
    """Whether `run` is a scraper run that did not succeed."""
    return run.name == SCRAPER and run.status != "success"


def from_store(reader: Reader, request: Request) -> list[Row]:
    """One row per requested day, zeros for days without data."""
    found = {
        row["run_date"]: (row["traces"], row["failed"]) for row in reader.query(QUERY, request.parameters)
    }
    return [(day, *found.get(day, (0, 0))) for day in request.days]


def from_runs(runs: Iterable[DatedRun], request: Request) -> list[Row]:
    """The same rows, from every run of the requested days."""
    traces: dict[date, set[UUID]] = defaultdict(set)
    failed: dict[date, set[UUID]] = defaultdict(set)
    for dated in runs:
        traces[dated.day].add(dated.run.trace_id)
        if failed_scraper(dated.run):
            failed[dated.day].add(dated.run.trace_id)
    return [(day, len(traces[day]), len(failed[day])) for day in request.days]


def render(rows: Sequence[Row], request: Request, form: str) -> str:  # noqa: ARG001 - one form only
    """CSV: date, traces, traces with errors, and the rate with one decimal."""
    columns = ("Date", "Total Traces", "Zenrows Errors", "Error Rate")
    return csv.render(Table(columns, [(day.isoformat(), *counts, _rate(*counts)) for day, *counts in rows]))


def _rate(traces: int, failed: int) -> str:
    return f"{round(failed / traces * 100, 1) if traces else 0.0}%"
