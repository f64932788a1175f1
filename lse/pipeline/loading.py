"""The step `load`: from the archive into the store."""

from collections.abc import Callable
from dataclasses import asdict

from lse.archive.fetch_record import read_fetch_record
from lse.archive.reading import open_day
from lse.errors import IncompleteError
from lse.models import Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, fetch_facts, is_empty, no_progress, require_as_fetched
from lse.pipeline.earlier_day import has_earlier_files, open_earlier_day
from lse.resources import Resources


def load(resources: Resources, day: ProjectDay, progress: Progress = no_progress) -> StepResult:
    """Load the trace files of `day`, or its zip where they are gone, into the store.

    Where `lse` has neither, run files that an earlier exporter left in the data folder are loaded.
    """
    earlier = has_earlier_files(resources, day)
    if not earlier and is_empty(resources, day):
        return StepResult("load", "unchanged", "no traces on this day, so there is nothing to load")
    require_as_fetched(resources, day)
    store, record = resources.store, read_fetch_record(resources.folder(day))
    opened = open_day(resources.folder(day), resources.zip_path(day))
    with open_earlier_day(resources, day) if earlier else opened as archive:
        result = store.load(
            day,
            archive.traces(),
            unplaced=archive.unplaced(),
            progress=_adding_up(progress, record.runs if record else None),
        )
    if record:
        store.record(day, **fetch_facts(record))
    changed = result.inserted + result.updated
    quarantined = f", {result.quarantined} quarantined" if result.quarantined else ""
    return StepResult(
        "load",
        "partial" if result.quarantined else "done" if changed else "unchanged",
        f"{counted(result.inserted, 'run')} inserted, {result.updated:,} updated,"
        f" {result.unchanged:,} unchanged{quarantined}",
        asdict(result),
        hint="See them with `lse db quarantine`." if result.quarantined else "",
        exit_code=IncompleteError.exit_code if result.quarantined else 0,
    )


def _adding_up(progress: Progress, total: int | None) -> Callable[[int], None]:
    """A progress that is told how much more is done."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    return advance
