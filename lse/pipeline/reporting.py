"""`report`: a question answered from the store, or from the trace files with the same answer."""

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from lse.archive.layout import day_folder
from lse.archive.prune_record import lacks_pruned_files
from lse.archive.reading import read_folder
from lse.errors import IncompleteError, UsageError
from lse.models import ProjectDay, UnreadableRun
from lse.reports import DatedRun, Request, find_report
from lse.resources import Resources
from lse.store.rows import storable_run

logger = logging.getLogger(__name__)

Origin = Literal["store", "files"]


def report(
    resources: Resources, name: str, request: Request, *, origin: Origin = "store", form: str | None = None
) -> str:
    """The report called `name` as text. Raises `UsageError` for a name or a form that there is not."""
    chosen = find_report(name)
    form = form or chosen.FORMATS[0]
    if form not in chosen.FORMATS:
        raise UsageError(f"{name} has no format {form!r}.", hint=f"Formats: {', '.join(chosen.FORMATS)}.")
    if origin == "store":
        rows = chosen.from_store(resources.reader, request)
    else:
        rows = chosen.from_runs(_dated_runs(resources.settings.data_dir, request), request)
    return chosen.render(rows, request, form)


def _dated_runs(data_dir: Path, request: Request) -> Iterator[DatedRun]:
    """Every run in the trace files of the requested days that a load would not quarantine.

    Raises `IncompleteError` for a day whose trace files were pruned.
    """
    skipped = 0
    for day in request.days:
        for folder in _folders(data_dir, request.project, day):
            if lacks_pruned_files(folder):
                raise IncompleteError(
                    f"The trace files of {folder.parent.name}/{day} were pruned, so they cannot be counted.",
                    hint="Ask the store: --source store; or bring them back: lse archive restore.",
                )
            for raw in (run for trace in read_folder(folder).traces() for run in trace.runs):
                try:
                    run, *_ = storable_run(raw)  # refuses what a load would quarantine
                    yield DatedRun(day, run)
                except UnreadableRun:
                    skipped += 1
    if skipped:
        logger.warning("%d runs cannot be read and are not in the report; a load quarantines them.", skipped)


def _folders(data_dir: Path, project: str | None, day: date) -> list[Path]:
    if project is not None:
        return [day_folder(data_dir, ProjectDay(project, day))]
    return sorted(data_dir.glob(f"*/{day.isoformat()}"))
