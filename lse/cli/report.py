"""`lse report`: one command per report file."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lse.cli.options import resources
from lse.cli.output import print_data, tell
from lse.cli.selection import Date, EndDate, Last, StartDate, days, utc_today
from lse.formats import visible
from lse.reports import report_formats, report_names, report_summary

app = typer.Typer(no_args_is_help=True)


class Origin(StrEnum):
    """Where a report reads."""

    STORE = "store"
    FILES = "files"


def _add_report(name: str) -> None:
    @app.command(name, help=report_summary(name))
    def command(
        project: Annotated[
            str | None, typer.Option("--project", "-p", help="One project; all when left out.")
        ] = None,
        date: Date = None,
        start_date: StartDate = None,
        end_date: EndDate = None,
        last: Last = None,
        form: Annotated[
            str | None, typer.Option("--format", "-f", help=f"One of: {', '.join(report_formats(name))}.")
        ] = None,
        source: Annotated[Origin, typer.Option(help="Read the store or the trace files.")] = Origin.STORE,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    ) -> None:
        from lse.archive.files import write_atomically
        from lse.pipeline import archived_projects, report
        from lse.reports import Request

        chosen = days(date, start_date, end_date, last, utc_today())
        request = Request(chosen.start, chosen.end, project)
        with resources() as opened:
            text = report(opened, name, request, origin=source.value, form=form)
            if project is not None and project not in archived_projects(opened):
                tell(f"lse: Nothing of a project called {project!r} is archived.")
        if output is None:
            print_data(visible(text) if sys.stdout.isatty() else text)
        else:
            write_atomically(output, text.encode())


for _name in report_names():
    _add_report(_name)
