"""`report`: a question answered from the store, or from the trace files with the same answer."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

from lse.archive.fetch_record import read_fetch_record
from lse.archive.layout import archived_files, project_slug
from lse.archive.prune_record import lacks_pruned_files
from lse.archive.reading import read_folder
from lse.errors import IncompleteError, UsageError
from lse.formats import Document, find_format
from lse.models import ProjectDay, Trace, UnreadableRun, parse_run
from lse.reports import Coverage, DatedRun, DayState, Feedback, Report, Request, coverage_of, find_report
from lse.resources import Resources
from lse.store.reading import Reader
from lse.store.rows import feedback_values, storable_run

logger = logging.getLogger(__name__)

Origin = Literal["store", "files"]
_Row = TypeVar("_Row")

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_NIL = "00000000-0000-0000-0000-000000000000"
_UNKNOWN = parse_run(f'{{"id":"{_NIL}","trace_id":"{_NIL}","start_time":"1970-01-01T00:00:00Z"}}'.encode())
"""What a record of feedback is about whose run cannot be read: all that is known of it is nothing."""

_LEDGER = """
select begun.project, begun.run_date as begun, days.run_date,
       days.complete is true and coalesce(days.quarantined, 0) = 0
           and (days.runs = 0 or days.loaded_at >= days.fetched_at) is true as complete,
       case when days.differences = 0 then days.verified_at end as verified_at
from (
    select project, min(run_date) as run_date from project_days
    where %(project)s::text is null or project = %(project)s
    group by project
) as begun
left join project_days as days
    on days.project = begun.project and days.run_date between %(start)s and %(end)s
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A report, and what there is to say about it."""

    document: Document
    coverage: Coverage
    shown: int
    """Rows in `document`"""
    rows: int
    """Rows that there are"""
    plan: str = ""
    """How the database found them and how long that took, when that was asked for"""


def report(
    resources: Resources, name: str, request: Request, *, origin: Origin = "store", form: str | None = None
) -> Document:
    """The report called `name`; errors as for `answer`."""
    return answer(resources, name, request, origin=origin, form=form).document


def answer(
    resources: Resources,
    name: str,
    request: Request,
    *,
    origin: Origin = "store",
    form: str | None = None,
    explain: bool = False,
) -> Answer:
    """The report called `name`, and how much of what it is about is there.

    `explain` asks for plan and timing of its statements. Raises `UsageError` for a name or a form that there
    is not, and when there is no statement to explain, and `ConfigurationError` for a form whose library is
    not installed.
    """
    chosen = find_report(name)
    form = form or chosen.FORMATS[0]
    if form not in chosen.FORMATS:
        raise UsageError(f"{name} has no format {form!r}.", hint=f"Formats: {', '.join(chosen.FORMATS)}.")
    if explain and origin == "files":
        raise UsageError("Only the store has plans.", hint="Leave out --explain or --source files.")
    find_format(form)  # first: what cannot be written need not be computed
    rows, coverage, plan = _computed(resources, chosen, request, origin, explain)
    document = chosen.render(rows, replace(request, name=name, coverage=coverage), form)
    shown = len(rows) if request.top is None else min(len(rows), request.top)
    return Answer(document, coverage, shown, len(rows), plan)


def _computed(
    resources: Resources, chosen: Report, request: Request, origin: Origin, explain: bool
) -> tuple[Any, Coverage, str]:
    if origin == "files":
        data_dir = resources.settings.data_dir
        records = _dated_feedback if getattr(chosen, "reads", "runs") == "feedback" else _dated_runs
        return (
            chosen.from_runs(records(data_dir, request), request),
            _coverage_of_files(data_dir, request),
            "",
        )
    reader = _ExplainingReader(resources.reader) if explain else resources.reader
    coverage = coverage_of_store(resources.reader, request)  # first: what is loaded meanwhile is not promised
    rows = chosen.from_store(reader, request)
    return rows, coverage, reader.plan if isinstance(reader, _ExplainingReader) else ""


class _ExplainingReader(Reader):
    """A reader that also notes the plan of each query."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.plan = ""

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._explained(self._reader.query, sql, parameters)

    def tuples(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return self._explained(self._reader.tuples, sql, parameters)

    def _explained(
        self, ask: Callable[[str, Mapping[str, Any]], list[_Row]], sql: str, parameters: Mapping[str, Any]
    ) -> list[_Row]:
        plan = self._reader.tuples(f"explain (analyze, buffers) {sql}", parameters)
        began = time.perf_counter()
        rows = ask(sql, parameters)
        took = (time.perf_counter() - began) * 1000
        self.plan += "\n".join(
            [*(line for (line,) in plan), f"{len(rows)} rows in {took:.1f} ms, with connecting", ""]
        )
        return rows


def coverage_of_store(reader: Reader, request: Request) -> Coverage:
    """Which of the days that `request` is about are in the store as they were fetched."""
    rows = reader.query(_LEDGER, request.parameters)
    begun = {row["project"]: row["begun"] for row in rows}
    states = [
        DayState(row["project"], row["run_date"], row["complete"], row["verified_at"])
        for row in rows
        if row["run_date"] is not None
    ]
    return coverage_of(request.days, begun, states, request.project)


def _coverage_of_files(data_dir: Path, request: Request) -> Coverage:
    """By the folders, each of which is one project; the files know of no verification."""
    begun: dict[str, date] = {}
    states: list[DayState] = []
    for folder in _project_folders(data_dir, request.project):
        days = [path for path in sorted(folder.iterdir()) if _DAY.fullmatch(path.name)]
        dates = [date.fromisoformat(path.name) for path in days]
        begun |= {folder.name: dates[0]} if dates else {}
        states += [
            DayState(folder.name, day, _is_complete(path))
            for day, path in zip(dates, days, strict=True)
            if request.start <= day <= request.end
        ]
    return coverage_of(
        request.days, begun, states, project_slug(request.project) if request.project else None
    )


def _is_complete(folder: Path) -> bool:
    """Whether the last fetch of the day was complete, and what it brought is here."""
    record = read_fetch_record(folder)
    return record is not None and record.complete and (record.runs == 0 or bool(archived_files(folder)))


def _dated_runs(data_dir: Path, request: Request) -> Iterator[DatedRun]:
    """Every run in the trace files of the requested days that a load would not quarantine."""
    skipped = 0
    for day, trace in _traces(data_dir, request):
        for raw in trace.runs:
            try:
                run, text, _ = storable_run(raw)  # refuses what a load would quarantine
                yield DatedRun(day.day, run, day.project, text)
            except UnreadableRun:
                skipped += 1
    _warn(skipped, "runs")


def _dated_feedback(data_dir: Path, request: Request) -> Iterator[DatedRun]:
    """Every record of feedback in the trace files that a load would not quarantine, each with its run."""
    skipped = 0
    for day, trace in _traces(data_dir, request):
        if not trace.feedback:
            continue
        runs = {}
        for raw in trace.runs:
            with suppress(UnreadableRun):  # the report is about the record; its run is warned of by others
                run, text, _ = storable_run(raw)
                runs[raw.id] = DatedRun(day.day, run, day.project, text)
        for record in trace.feedback:
            try:
                values = feedback_values(day, record)
            except UnreadableRun:
                skipped += 1
                continue
            about = runs.get(record.run_id) or DatedRun(day.day, _UNKNOWN, day.project)
            yield replace(about, feedback=Feedback(values["key"], values["score"]))
    _warn(skipped, "records of feedback")


def _warn(skipped: int, what: str) -> None:
    if skipped:
        logger.warning(
            "%d %s cannot be read and are not in the report; a load quarantines them.", skipped, what
        )


def _traces(data_dir: Path, request: Request) -> Iterator[tuple[ProjectDay, Trace]]:
    """Every trace in the trace files of the requested days.

    Raises `IncompleteError` for a day whose trace files were pruned.
    """
    projects = {
        folder: request.project or _project_name(folder)
        for folder in _project_folders(data_dir, request.project)
    }
    for day in request.days:
        for project, name in projects.items():
            folder = project / day.isoformat()
            if lacks_pruned_files(folder):
                raise IncompleteError(
                    f"The trace files of {project.name}/{day} were pruned, so they cannot be counted.",
                    hint="Ask the store: --source store; or bring them back: lse archive restore.",
                )
            for trace in read_folder(folder).traces():
                yield ProjectDay(name, day), trace


def _project_name(folder: Path) -> str:
    """As the first fetch record in `folder` says; without one, what the folder is called."""
    records = (read_fetch_record(path) for path in sorted(folder.iterdir()) if _DAY.fullmatch(path.name))
    return next((record.project for record in records if record is not None), folder.name)


def _project_folders(data_dir: Path, project: str | None) -> list[Path]:
    """The folder of `project`, or every project's."""
    names = data_dir.glob("*") if project is None else [data_dir / project_slug(project)]
    return sorted(path for path in names if path.is_dir())
