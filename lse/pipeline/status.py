"""`statuses`: how far the archive of each project has come, what is missing, and what vanishes next."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from lse.archive.catalogue import fetch_records
from lse.archive.fetch_record import read_fetch_record
from lse.errors import TemporaryError
from lse.models import ProjectDay
from lse.pipeline.common import fetch_facts, settles_at
from lse.pipeline.health import Health, health
from lse.resources import Resources
from lse.sources import Window
from lse.store import LedgerEntry

logger = logging.getLogger(__name__)

_SHORTEST_RETENTION = timedelta(days=14)
"""How long LangSmith keeps traces of its base tier (LangSmith's documentation)."""


@dataclass(frozen=True, slots=True)
class Vanishing:
    """A day that is not, or not wholly, in the archive."""

    day: date
    expires_at: datetime
    """When the source deletes the first of its traces, UTC"""


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """The state of one project's archive; days ascend."""

    project: str
    first_day: date | None
    """The first day of which something is archived"""
    last_complete: date | None
    """The last day whose fetch was proved complete"""
    lag: int | None
    """How many days that are over came after it"""
    open: tuple[date, ...]
    """Days proved complete before they settled; the next sweep fetches them again"""
    partial: tuple[date, ...]
    """Days whose last fetch was not proved complete"""
    missing: tuple[date, ...]
    """Days between the first and the last archived one that were never archived"""
    quarantined: int | None
    """Runs that could not be loaded; this and the next two are None when the ledger cannot be read"""
    not_uploaded: tuple[date, ...] | None
    """Days with runs that were never uploaded"""
    not_verified: tuple[date, ...] | None
    """Days with runs whose copies were never compared"""
    health: Health
    failure: str | None
    """The last day on which a step failed, the step, and why"""
    vanishing: tuple[Vanishing, ...]
    """What the source deletes next, as far as it is known, the soonest first"""

    @property
    def whole(self) -> bool:
        """Whether no day is partial or missing."""
        return not self.partial and not self.missing


def statuses(resources: Resources, projects: Iterable[str], *, expiry: bool = False) -> list[ProjectStatus]:
    """The status of each of `projects`, from the ledger and from the fetch records beside the trace files.

    With `expiry`, the source is asked what of the days that are not archived it deletes when, and a source
    that does not answer is warned of; else only what the last fetch of partial days said is known.
    """
    entries = known_days(resources)
    found = []
    for project in projects:
        status = _status(resources, project, entries.get(project, []))
        found.append(replace(status, vanishing=tuple(_radar(resources, status, expiry))))
    return found


def known_days(resources: Resources) -> dict[str, list[LedgerEntry]]:
    """What is known of each day, by project: the ledger, and fetches that it does not know of yet."""
    ledger = resources.ledger.ledgers() if resources.ledger is not None else []
    days = {entry.day: entry for entry in ledger}
    for record in fetch_records(resources.settings.data_dir):
        day = ProjectDay(record.project, date.fromisoformat(record.date))
        entry = days.get(day) or LedgerEntry(project=day.project, run_date=day.day)
        if entry.fetched_at is None or record.time > entry.fetched_at:
            days[day] = replace(entry, **fetch_facts(record))
    found: dict[str, list[LedgerEntry]] = {}
    for day in sorted(days):
        found.setdefault(day.project, []).append(days[day])
    return found


def _status(resources: Resources, project: str, entries: Sequence[LedgerEntry]) -> ProjectStatus:
    yesterday = resources.now().date() - timedelta(days=1)
    archived = [entry.run_date for entry in entries if entry.fetched_at or entry.packed_at or entry.loaded_at]
    complete = [entry for entry in entries if entry.complete]
    last = max((entry.run_date for entry in complete), default=None)
    with_runs = [entry for entry in entries if entry.runs or entry.packed_at or entry.loaded_at]
    known = resources.ledger is not None
    return ProjectStatus(
        project,
        first_day=min(archived, default=None),
        last_complete=last,
        lag=max(0, (yesterday - last).days) if last else None,
        open=tuple(entry.run_date for entry in complete if _is_open(resources, entry)),
        partial=tuple(entry.run_date for entry in entries if entry.complete is False),
        missing=tuple(_gaps(archived)),
        quarantined=sum(entry.quarantined or 0 for entry in entries) if known else None,
        not_uploaded=tuple(e.run_date for e in with_runs if not e.uploaded_at) if known else None,
        not_verified=tuple(e.run_date for e in with_runs if not e.verified_at) if known else None,
        health=health(entries, yesterday, ledger=known, target=resources.settings.target is not None),
        failure=next(map(_failure, (entry for entry in reversed(entries) if entry.failed_step)), None),
        vanishing=(),
    )


def _is_open(resources: Resources, entry: LedgerEntry) -> bool:
    return entry.fetched_at is not None and entry.fetched_at < settles_at(resources, entry.day)


def _failure(entry: LedgerEntry) -> str:
    return f"{entry.run_date} {entry.failed_step}: {entry.failure}"


def _gaps(days: Sequence[date]) -> Iterator[date]:
    """The days between the first and the last of `days` that are not among them."""
    there = set(days)
    if there:
        first = min(there)
        for number in range((max(there) - first).days):
            if (day := first + timedelta(days=number)) not in there:
                yield day


def _radar(resources: Resources, status: ProjectStatus, ask: bool) -> list[Vanishing]:
    """What is not wholly archived and vanishes, the soonest first."""
    if ask:
        try:
            return _by_time(_at_source(resources, status))
        except TemporaryError as error:
            logger.warning("What vanishes next is known from earlier fetches only: %s", error)
    records = [
        (day, read_fetch_record(resources.folder(ProjectDay(status.project, day)))) for day in status.partial
    ]
    return _by_time(Vanishing(day, record.expiry) for day, record in records if record and record.expiry)


def _at_source(resources: Resources, status: ProjectStatus) -> Iterator[Vanishing]:
    """Asks for each day that is partial, missing, or later than what is archived."""
    project = resources.source.project(status.project)
    for day in (ProjectDay(status.project, day) for day in _unarchived(resources, status)):
        if expires_at := resources.source.first_expiry(Window(project, day.start, day.end)):
            yield Vanishing(day.day, expires_at)


def _unarchived(resources: Resources, status: ProjectStatus) -> list[date]:
    today = resources.now().date()
    begin = status.last_complete or today - _SHORTEST_RETENTION - timedelta(days=1)
    later = {begin + timedelta(days=n) for n in range(1, (today - begin).days)}
    return sorted(later | {*status.partial, *status.missing})


def _by_time(found: Iterable[Vanishing]) -> list[Vanishing]:
    return sorted(found, key=lambda item: (item.expires_at, item.day))
