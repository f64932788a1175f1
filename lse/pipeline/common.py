"""What several steps need."""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lse.archive.fetch_record import (
    FetchRecord,
    dump_fetch_record,
    parse_fetch_record,
    read_fetch_record,
    write_fetch_record,
)
from lse.archive.layout import FETCH_RECORD, archived_files
from lse.archive.manifest import content_sha256_of
from lse.archive.prune_record import PruneRecord, read_prune_record
from lse.archive.versions import check_log
from lse.errors import AccessError, ConfigurationError, DifferencesFound, TemporaryError, UsageError
from lse.models import ProjectDay
from lse.resources import Resources
from lse.store import LedgerEntry
from lse.store.ledger import IMPORTED

logger = logging.getLogger(__name__)


def no_progress(done: int, total: int | None) -> None:
    """Progress that nobody watches."""


def note(resources: Resources, day: ProjectDay, **facts: Any) -> None:
    """Write facts to the ledger, when there is one; a database that cannot be written spoils no step."""
    with _without_a_ledger_too():
        if resources.ledger is not None:
            resources.ledger.record(day, **facts)


def bring_record_back(resources: Resources, day: ProjectDay, content: str) -> None:
    """Put the ledger's record of the last fetch beside the files that it left, where it is gone.

    `content` is the hash of the files. A database that cannot be read spoils no step.
    """
    folder = resources.folder(day)
    with _without_a_ledger_too():
        entry = resources.ledger.ledger(day) if resources.ledger else None
        record = noted_record(entry, folder, content)
        if record and not (folder / FETCH_RECORD).exists():
            write_fetch_record(folder, record)


def noted_record(entry: LedgerEntry | None, folder: Path, content: str) -> FetchRecord | None:
    """What the ledger has of the fetch that left the files of `folder`, with the log that is there."""
    noted = parse_fetch_record(entry.fetch_record) if entry and entry.fetch_record else None
    if noted is None or noted.content_sha256 != content:
        return None
    return replace(noted, log_lines=check_log(folder)[0])


def forget_failure(resources: Resources, day: ProjectDay, step: str) -> None:
    """Take back that `step` failed, if that is what the ledger says."""
    with _without_a_ledger_too():
        entry = resources.ledger.ledger(day) if resources.ledger else None
        if resources.ledger and entry and entry.failed_step == step:
            resources.ledger.recovered(day, step)


def happened(resources: Resources, kind: str, day: ProjectDay, **figures: Any) -> None:
    """Write an event, when there is a store; a database that went away spoils nothing."""
    with _without_a_ledger_too():
        if resources.ledger is not None:
            resources.ledger.happened(kind, day, **figures)


@contextmanager
def _without_a_ledger_too() -> Iterator[None]:
    try:
        yield
    except (TemporaryError, ConfigurationError, AccessError) as error:
        logger.warning("The ledger is not written: %s", error)


def settled(resources: Resources, day: ProjectDay) -> FetchRecord | None:
    """The record of a complete fetch that began after the day's settle time; a sweep trusts it.

    None when its files are not there any more, unless they were pruned.
    """
    record = read_fetch_record(resources.folder(day))
    if (
        record
        and record.complete
        and record.time >= settles_at(resources, day)
        and (as_fetched(resources, day) or was_pruned(resources, day, "files"))
    ):
        return record
    return None


def pruned(resources: Resources, day: ProjectDay) -> PruneRecord | None:
    """What was pruned of `day`; None also when a fetch brought other content since then."""
    record = read_prune_record(resources.settings.data_dir, day)
    fetched = read_fetch_record(resources.folder(day))
    if record and fetched and fetched.content_sha256 != record.content_sha256:
        return None
    return record


def was_pruned(resources: Resources, day: ProjectDay, copy: str) -> bool:
    """Whether `copy` of `day`, `files`, `zip` or `target`, was pruned and not brought back since."""
    record = pruned(resources, day)
    return record is not None and copy in record.pruned_at


def as_fetched(resources: Resources, day: ProjectDay, content: str | None = None) -> bool:
    """Whether the day's files are still what the last fetch left; True also where none was recorded.

    `content` is their hash where it is known.
    """
    folder = resources.folder(day)
    record = read_fetch_record(folder)
    return record is None or record.content_sha256 == (content or content_sha256_of(folder))


def require_as_fetched(resources: Resources, day: ProjectDay, content: str | None = None) -> None:
    """Raise `DifferencesFound` when files were changed or lost since the last fetch: they must not spread."""
    if archived_files(resources.folder(day)) and not as_fetched(resources, day, content):
        raise DifferencesFound(
            f"The files in {resources.folder(day)} are not those that the last fetch left.",
            hint=f"Fetch them again: lse archive fetch {options(day)}; "
            f"or bring them back: lse archive restore {options(day)} --force",
        )


def settles_at(resources: Resources, day: ProjectDay) -> datetime:
    """From when on nothing of `day` is expected to change."""
    return day.end + timedelta(hours=resources.settings.settle_hours)


def is_empty(resources: Resources, day: ProjectDay) -> bool:
    """Whether a finished fetch found the day without runs.

    Raises `UsageError` when nothing was fetched or all of it here was pruned, `DifferencesFound` when what
    was fetched is gone.
    """
    if archived_files(resources.folder(day)) or resources.zip_path(day).exists():
        return False
    if was_pruned(resources, day, "files"):
        raise UsageError(
            f"The trace files of {day} were pruned, and there is no zip.",
            hint=f"Bring them back: lse archive restore {options(day)}",
        )
    record = read_fetch_record(resources.folder(day))
    if record is None:
        raise UsageError(
            f"Nothing of {day} is archived in {resources.folder(day)}.",
            hint=f"Fetch it first: lse archive fetch {options(day)}",
        )
    if record.runs or record.unplaced:
        raise DifferencesFound(
            f"The trace files of {day} are gone; the last fetch left {counted(record.runs, 'run')}.",
            hint=f"Bring them back: lse archive restore {options(day)}; or fetch them again.",
        )
    return True


def fetch_facts(record: FetchRecord) -> dict[str, Any]:
    """The facts of a fetch, or of an import, which proves nothing and has not failed either."""
    failed = not record.complete and record.source != IMPORTED
    return {
        "fetched_at": record.time,
        "api": record.source,
        "complete": record.complete,
        "walks": record.walks,
        "runs": record.runs,
        "traces": record.traces,
        "feedback": record.feedback,
        "server_runs": record.server_runs,
        "server_traces": record.server_traces,
        "failed_step": "fetch" if failed else None,
        "failure": record.reason if failed else None,
    }


def ledger_facts(record: FetchRecord) -> dict[str, Any]:
    """All that the ledger keeps of a fetch: its facts, and the record itself."""
    return {**fetch_facts(record), "fetch_record": dump_fetch_record(record)}


def fetch_figures(entry: LedgerEntry) -> dict[str, Any]:
    """What the ledger's entry knows that the record of its fetch says, by the record's names."""
    same = ("complete", "walks", "runs", "traces", "feedback", "server_runs", "server_traces")
    fetched_at = entry.fetched_at.isoformat() if entry.fetched_at else None
    figures = {**{name: getattr(entry, name) for name in same}, "fetched_at": fetched_at, "source": entry.api}
    return {name: value for name, value in figures.items() if value is not None}


def options(day: ProjectDay) -> str:
    """The command line options that name `day`."""
    return f"--project {shlex.quote(day.project)} --date {day.day.isoformat()}"


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sized(number: float) -> str:
    """A number of bytes for people, in powers of ten."""
    units = ["bytes", "kB", "MB", "GB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.0f} {units[0]}" if units[0] == "bytes" else f"{number:.1f} {units[0]}"
