"""The step `load`: from the archive into the store."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from lse.archive.fetch_record import FetchRecord, read_fetch_record
from lse.archive.layout import archived_files
from lse.archive.reading import DayReader, open_day
from lse.errors import IncompleteError
from lse.models import Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, is_empty, ledger_facts, no_progress, require_as_fetched, was_pruned
from lse.pipeline.earlier_day import EarlierDay, has_earlier_files, open_earlier_day
from lse.pipeline.target_copy import bring, find_copy
from lse.resources import Resources
from lse.store import BATCH_RUNS, LoadResult
from lse.targets import StoredObject

logger = logging.getLogger(__name__)


def load(
    resources: Resources,
    day: ProjectDay,
    progress: Progress = no_progress,
    *,
    batch_size: int = BATCH_RUNS,
    overwrite: bool = False,
    dry_run: bool = False,
) -> StepResult:
    """Load the trace files of `day` into the store; where they are not here its zip, else the target's copy.

    Where `lse` has none, run files that an earlier exporter left in the data folder are loaded. `overwrite`
    writes unchanged runs anew as well. `dry_run` writes nothing and gives the figures of a load. A day whose
    content is loaded already, and whose rows are as that load left them, is not read again.
    """
    with _open_archive(resources, day, progress) as archive:
        if archive is None:
            return StepResult("load", "unchanged", "no traces on this day, so there is nothing to load")
        store, record = resources.store, read_fetch_record(resources.folder(day))
        content = _content_of(archive, resources, day, record)
        known = store.loaded(day, content) if content and not (overwrite or dry_run) else None
        if known is not None:
            logger.info("%s: this content is loaded already, and its rows are as they were.", day)
        result = known or store.load(
            day,
            archive.traces(),
            unplaced=archive.unplaced(),
            progress=_adding_up(progress, record.runs if record else None),
            batch_runs=batch_size,
            overwrite=overwrite,
            dry_run=dry_run,
            content=content,
        )
    if record and not dry_run:
        store.record(day, **ledger_facts(record))
    return _step_result(result, dry_run)


def _content_of(
    archive: DayReader | EarlierDay, resources: Resources, day: ProjectDay, record: FetchRecord | None
) -> str | None:
    """The content hash of what is loaded, as far as somebody proved it: a manifest, or the last fetch."""
    if isinstance(archive, EarlierDay):
        return None
    in_folder = bool(archived_files(resources.folder(day)))
    return archive.content_sha256 or (record.content_sha256 if record and in_folder else None)


@contextmanager
def _open_archive(
    resources: Resources, day: ProjectDay, progress: Progress
) -> Iterator[DayReader | EarlierDay | None]:
    """What there is of `day`, the nearest first; None when a finished fetch found nothing."""
    folder, path = resources.folder(day), resources.zip_path(day)
    with ExitStack() as opened:
        if has_earlier_files(resources, day):
            yield opened.enter_context(open_earlier_day(resources, day))
        elif stored := _only_in_target(resources, day):
            copy = opened.enter_context(resources.scratch()) / path.name
            bring(resources, stored, copy, progress)
            yield opened.enter_context(open_day(folder, copy))
        elif is_empty(resources, day):
            yield None
        else:
            require_as_fetched(resources, day)
            yield opened.enter_context(open_day(folder, path))


def _only_in_target(resources: Resources, day: ProjectDay) -> StoredObject | None:
    """The target's copy of a day of which nothing is here, and nothing was lost here either."""
    if archived_files(resources.folder(day)) or resources.zip_path(day).exists():
        return None
    fetched_here = read_fetch_record(resources.folder(day)) is not None
    if resources.settings.target is None or (fetched_here and not was_pruned(resources, day, "files")):
        return None
    return find_copy(resources, day)


def _step_result(result: LoadResult, dry_run: bool) -> StepResult:
    counts = [f"{counted(result.inserted, 'run')} inserted", f"{result.updated:,} updated"]
    counts.append(f"{result.unchanged:,} unchanged")
    counts += [f"{result.kept:,} kept as finished"] if result.kept else []
    counts += [f"{result.quarantined:,} quarantined"] if result.quarantined else []
    changed = result.inserted + result.updated
    return StepResult(
        "load",
        "partial" if result.quarantined else "done" if changed and not dry_run else "unchanged",
        f"{'nothing is written; it would be ' if dry_run else ''}{', '.join(counts)}",
        {**asdict(result), "dry_run": dry_run},
        hint="See them with `lse db quarantine`." if result.quarantined and not dry_run else "",
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
