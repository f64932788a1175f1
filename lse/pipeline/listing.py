"""`list_days`: what is archived of each project day, and where its copies are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from re import fullmatch

from lse.archive.encryption import encrypted_name, is_encrypted
from lse.archive.fetch_record import read_fetch_record
from lse.archive.layout import archive_name, archived_days, archived_files, project_slug
from lse.models import ProjectDay
from lse.pipeline.common import fetch_facts, pruned
from lse.pipeline.projects import archived_projects, require_known
from lse.resources import Resources
from lse.store import LedgerEntry
from lse.targets import StoredObject


@dataclass(frozen=True, slots=True)
class ListedDay:
    """One archived day. Sizes are in bytes, times UTC; None where there is no such copy."""

    project: str
    date: date
    complete: bool | None
    """Whether its fetch was proved complete; None when no fetch is known"""
    runs: int | None
    traces: int | None
    files_bytes: int | None
    zip_bytes: int | None
    target_bytes: int | None
    """None also when the target was not asked"""
    encrypted: bool | None
    """Whether the target's copy is; None when there is none or the target was not asked"""
    uploaded_at: datetime | None
    """When an upload was last proved, as the ledger says"""
    uploaded_to: str | None
    """The kind of target that it went to, as the ledger says"""
    store_runs: int | None
    """How many runs were loaded, as the ledger says"""
    verified_at: datetime | None
    differences: int | None
    """What the last comparison found"""
    pruned: tuple[str, ...]
    """The copies that were taken away on purpose"""

    @property
    def day(self) -> ProjectDay:
        """The project day."""
        return ProjectDay(self.project, self.date)


def list_days(
    resources: Resources, projects: Iterable[str] | None = None, *, ask_target: bool = False
) -> list[ListedDay]:
    """The days of `projects`, or of all, of which there is a copy or was one, by project and day.

    With `ask_target` the target lists once what it holds, also of projects that nothing here knows of; else
    only the ledger tells of it. Raises `UsageError` for a project of which nothing is known.
    """
    stored = {each.path: each for each in resources.target.list()} if ask_target else {}
    names = {each.properties.get("project", "") for each in stored.values()} - {""}
    known = archived_projects(resources) | names
    listed = []
    for project in sorted(known if projects is None else set(projects)):
        entries = _entries(resources, project)
        days = {*entries, *_days_on_disk(resources, project), *_days_stored(project, stored)}
        if not days:
            require_known([project], known)
        listed += [_listed(resources, day, entries.get(day), stored) for day in sorted(days)]
    return [each for each in listed if _is_archived(each)]


def _entries(resources: Resources, project: str) -> dict[ProjectDay, LedgerEntry]:
    entries = resources.ledger.ledgers(project) if resources.ledger is not None else []
    return {entry.day: entry for entry in entries}


def days_on_disk(resources: Resources) -> list[ProjectDay]:
    """The days of which there are trace files or a zip here, by project and day."""
    return sorted({day for name in archived_projects(resources) for day in _days_on_disk(resources, name)})


def _days_on_disk(resources: Resources, project: str) -> Iterator[ProjectDay]:
    for day in archived_days(resources.settings.data_dir, project):
        yield ProjectDay(project, day)
    yield from _days_named(project, (path.name for path in _zips(resources.settings.archive_dir, project)))


def _days_stored(project: str, paths: Iterable[str]) -> Iterator[ProjectDay]:
    folder = f"{project_slug(project)}/"
    return _days_named(project, (path.removeprefix(folder) for path in paths if path.startswith(folder)))


def _zips(archive_dir: Path, project: str) -> list[Path]:
    folder = archive_dir / project_slug(project)
    return list(folder.iterdir()) if folder.is_dir() else []


def _days_named(project: str, names: Iterable[str]) -> Iterator[ProjectDay]:
    for name in names:
        if match := fullmatch(r"(\d{4}-\d{2}-\d{2})\.zip(\.age)?", name):
            yield ProjectDay(project, date.fromisoformat(match[1]))


def _listed(
    resources: Resources, day: ProjectDay, entry: LedgerEntry | None, stored: Mapping[str, StoredObject]
) -> ListedDay:
    known, gone = _known(resources, day, entry), pruned(resources, day)
    files, path = archived_files(resources.folder(day)), resources.zip_path(day)
    copies = [stored[name] for name in (encrypted_name(day), archive_name(day)) if name in stored]
    return ListedDay(
        day.project,
        day.day,
        complete=known.complete,
        runs=known.runs if known.runs is not None else gone.runs if gone else None,
        traces=known.traces if known.traces is not None else gone.traces if gone else None,
        files_bytes=sum(file.stat().st_size for file in files) if files else None,
        zip_bytes=path.stat().st_size if path.exists() else None,
        target_bytes=sum(copy.size for copy in copies) if copies else None,
        encrypted=is_encrypted(copies[0].path) if copies else None,
        uploaded_at=known.uploaded_at,
        uploaded_to=known.target,
        store_runs=known.loaded_runs,
        verified_at=known.verified_at,
        differences=known.differences,
        pruned=tuple(sorted(gone.pruned_at)) if gone else (),
    )


def _known(resources: Resources, day: ProjectDay, entry: LedgerEntry | None) -> LedgerEntry:
    """The ledger's entry, with what a fetch left beside the trace files where the ledger does not know it."""
    entry = entry or LedgerEntry(project=day.project, run_date=day.day)
    record = read_fetch_record(resources.folder(day))
    if record and (entry.fetched_at is None or record.time > entry.fetched_at):
        return replace(entry, **fetch_facts(record))
    return entry


def _is_archived(listed: ListedDay) -> bool:
    """Whether there is, or was, a copy; a day without traces has none."""
    copies = (
        listed.files_bytes,
        listed.zip_bytes,
        listed.target_bytes,
        listed.uploaded_at,
        listed.store_runs,
    )
    return any(copy is not None for copy in copies) or bool(listed.pruned)
