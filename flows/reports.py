"""The flow `report`: any report, published as a CSV file with artifacts that show and link it."""

import csv
import datetime as dt
import io
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows import _common, _days
from lse.archive.files import write_atomically
from lse.archive.layout import project_slug
from lse.formats import encoded
from lse.pipeline import report as compute
from lse.pipeline.common import counted
from lse.reports import Request, report_names
from lse.resources import Resources
from lse.settings import load_settings

ReportName = Annotated[str, Field(json_schema_extra={"enum": report_names()})]
"""Shown as a choice; a report that is added as a file is one of them."""


@task(**_common.STEP)
def write_csv(name: str, request: Request) -> Path:
    """Compute the report from the store and write it below the archive folder; returns the file."""
    settings = load_settings()
    with Resources(settings) as resources:
        document = compute(resources, name, request, form="csv")
    folder = (
        settings.archive_dir
        / "reports"
        / name
        / (project_slug(request.project) if request.project else "all")
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{request.start}_{request.end}.csv"
    write_atomically(path, encoded(document))
    return path.absolute()


@flow(name="report", flow_run_name=_common.report_run_name, persist_result=False)
def report(
    name: ReportName = "zenrows-errors",
    project: str | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> State[Any]:
    """Publish a report as a CSV file, with a link to it and a table of its first rows as artifacts.

    Args:
        name: The report, as on the command line.
        project: One project; all when left out.
        start: First UTC day; the day before the run was due when left out.
        end: Last UTC day, included; the same as `start` when left out.
    """
    first = _common.the_day(start)
    request = Request(first, end or first, project)
    path = write_csv(name, request)
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    key = _common.artifact_key(name, project or "all")
    about = f"{name} of {project or 'all projects'}, {request}"
    create_link_artifact(key=f"{key}-csv", link=path.as_uri(), link_text=path.name, description=about)
    cut = f", the first {_days.SHOWN} of {len(rows)} rows" if len(rows) > _days.SHOWN else ""
    create_table_artifact(key=key, table=rows[: _days.SHOWN], description=f"{about}{cut}; file: {path}")
    return Completed(message=f"{counted(len(rows), 'row')} in {path}")
