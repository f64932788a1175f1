"""`lse report`: one command per report file."""

import inspect
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.cli.options import resources
from lse.cli.output import print_data, tell, write_output
from lse.cli.selection import Date, EndDate, Last, StartDate, days, utc_today
from lse.errors import DifferencesFound, UsageError
from lse.formats import BINARY, Document, encoded, visible
from lse.models.day import parse_day
from lse.reports import report_formats, report_names, report_options, report_summary

if TYPE_CHECKING:
    from lse.resources import Resources

app = typer.Typer(no_args_is_help=True)


class Origin(StrEnum):
    """Where a report reads."""

    STORE = "store"
    FILES = "files"


class Match(StrEnum):
    """How a name is compared."""

    EXACT = "exact"
    SUBSTRING = "substring"


By = Annotated[
    str | None,
    typer.Option(
        help="Group by these, with commas: day, week, month, project, name, type, status, model, tag, error,"
        " fingerprint, metadata.KEY with a key of yours such as metadata.user; feedback also by key."
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="Only runs of which this holds: FIELD=VALUE, or FIELD~PART. Fields: name, status, type, tag,"
        " model, error, fingerprint, metadata.KEY. May be given repeatedly."
    ),
]
Top = Annotated[int | None, typer.Option(min=1, help="Only the so many rows with the most.")]
Name = Annotated[str | None, typer.Option(help="Only runs of this name count as failed.")]
Matching = Annotated[Match, typer.Option(help="Whether --name is the whole name or a part of it.")]
NewSince = Annotated[
    str | None, typer.Option(help="From which day on an error is new; the last day if left out.")
]

_OWN_OPTIONS: dict[str, dict[str, tuple[Any, Any]]] = {
    "by": {"by": (By, None)},
    "where": {"where": (Where, None)},
    "top": {"top": (Top, None)},
    "name": {"name": (Name, None), "match": (Matching, Match.EXACT)},
    "new_since": {"new_since": (NewSince, None)},
}
"""The options of what a report heeds: their names with types and defaults."""


def _add_report(report: str) -> None:
    formats = ", ".join(report_formats(report))

    def command(
        project: Annotated[
            str | None, typer.Option("--project", "-p", help="One project; all when left out.")
        ] = None,
        date: Date = None,
        start_date: StartDate = None,
        end_date: EndDate = None,
        last: Last = None,
        form: Annotated[str | None, typer.Option("--format", "-f", help=f"One of: {formats}.")] = None,
        source: Annotated[Origin, typer.Option(help="Read the store or the trace files.")] = Origin.STORE,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
        strict: Annotated[
            bool, typer.Option("--strict", help="Exit with 3 when a day is not complete.")
        ] = False,
        explain: Annotated[
            bool, typer.Option("--explain", help="Show plan and timing of the SQL on stderr.")
        ] = False,
        **own: Any,
    ) -> None:
        from lse.pipeline import answer

        chosen = days(date, start_date, end_date, last, utc_today())
        request = _request(chosen.start, chosen.end, project, **own)
        form = form or _form(report, output)
        if form in BINARY and output is None and sys.stdout.isatty():
            raise UsageError(f"A terminal cannot show {form}.", hint=f"Add: --output {report}.{form}")
        with resources() as opened:
            if project is not None:
                _require_known(opened, project, source)
            found = answer(opened, report, request, origin=source.value, form=form, explain=explain)
        for line in found.plan.splitlines():
            tell(line)
        if output is None:
            print_data(_shown(found.document))
        else:
            write_output(output, encoded(found.document))
        if chosen.end > utc_today():
            tell(f"lse: {chosen.end} is yet to come; today is {utc_today()} in UTC.")
        tell(f"lse: {request}, {project or 'all projects'}: {found.coverage}.")
        if found.shown < found.rows:
            tell(f"lse: {found.shown} of {found.rows:,} rows; more with --top.")
        if strict and not found.coverage.whole:
            raise DifferencesFound(
                "Not every day of the report is complete.",
                hint="See which: lse status; then fetch and load them.",
            )

    app.command(report, help=report_summary(report))(_with_options(command, report))


def _require_known(opened: "Resources", project: str, source: Origin) -> None:
    """Refuse a project of which nothing is archived: an empty report would look like a good day."""
    from lse.pipeline import require_archived, require_readable

    if source is Origin.STORE:
        require_readable(opened, project)
    else:
        require_archived(opened, [project])


def _with_options(command: Callable[..., None], report: str) -> Callable[..., None]:
    """`command` with the options of what the report heeds; Typer reads them off the signature."""
    shared = list(inspect.signature(command).parameters.values())[:-1]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for member in _OWN_OPTIONS
        if member in report_options(report)
        for name, (annotation, default) in _OWN_OPTIONS[member].items()
    ]
    command.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    return command


def _request(
    start: Any,
    end: Any,
    project: str | None,
    *,
    by: str | None = None,
    where: list[str] | None = None,
    top: int | None = None,
    name: str | None = None,
    match: Match = Match.EXACT,
    new_since: str | None = None,
) -> Any:
    from lse.models.filter import RunFilter, named
    from lse.reports import Request

    return Request(
        start,
        end,
        project,
        by=tuple(part.strip() for part in by.split(",")) if by else (),
        where=RunFilter.parse(where or ()),
        subject=named(name, contains=match is Match.SUBSTRING),
        top=top,
        new_since=parse_day(new_since) if new_since else None,
    )


def _shown(document: Document) -> Document:
    """`document` for stdout: text on a terminal cannot move the cursor or reverse the writing."""
    return visible(document) if isinstance(document, str) and sys.stdout.isatty() else document


def _form(report: str, output: Path | None) -> str | None:
    """What suits people on a terminal, and programs elsewhere."""
    return "text" if output is None and sys.stdout.isatty() and "text" in report_formats(report) else None


for _name in report_names():
    _add_report(_name)
