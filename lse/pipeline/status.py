"""`statuses`: how far the archive of each project has come, what is missing, and what vanishes next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise

from lse.archive.catalogue import fetch_records
from lse.archive.fetch_record import read_fetch_record
from lse.models import ProjectDay, each_day
from lse.pipeline.common import fetch_facts, settles_at
from lse.pipeline.health import NOTHING, Figures, Health, health
from lse.resources import Resources
from lse.store import LedgerEntry

_APART = timedelta(days=31)
"""An empty day that lies further before all others is taken for a mistyped one."""


@dataclass(frozen=True, slots=True)
class Vanishing:
    """A day that is not, or not wholly, in the archive."""

    day: date
    expires_at: datetime
    """When the source deletes the first of its traces, UTC"""


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """The state of one project's archive; days ascend.

    Each day from the first one to yesterday is complete, partial, unproved or missing.
    """

    project: str
    first_day: date | None
    """The first archived day, but for one without runs long before all others, whose year was mistyped"""
    last_complete: date | None
    """The last day whose fetch was proved complete"""
    lag: int | None
    """How many days that are over came after it"""
    open: tuple[date, ...]
    """Today, and days proved complete before they settled: the next sweep fetches them again"""
    partial: tuple[date, ...]
    """Days whose last fetch was not proved complete"""
    unproved: tuple[date, ...]
    """Days that are archived without a fetch that could prove them complete, as after an import"""
    missing: tuple[date, ...]
    """Days that were never archived"""
    quarantined: int | None
    """Runs that could not be loaded; this and the next three are None when the ledger cannot be read"""
    not_uploaded: tuple[date, ...] | None
    """Days with runs that were never uploaded; none when no target is set"""
    not_verified: tuple[date, ...] | None
    """Days with runs whose copies were never compared"""
    differing: tuple[date, ...] | None
    """Days whose last comparison found differences"""
    health: Health
    """Its score; it counts the days listed here, and no others"""
    failure: str | None
    """The last day on which a step failed, the step, and why"""
    vanishing: tuple[Vanishing, ...]
    """What the source deletes next, as far as it is known, the soonest first"""

    @property
    def whole(self) -> bool:
        """Whether no day is partial or missing."""
        return not self.partial and not self.missing


KnownDays = Mapping[str, Sequence[LedgerEntry]]
"""What is known of each day, by project; days ascend."""


def statuses(
    resources: Resources, projects: Iterable[str], known: KnownDays | None = None
) -> list[ProjectStatus]:
    """The status of each of `projects`, from the ledger and from the fetch records beside the trace files.

    These are read unless they are given as `known`. The source is not asked: of what vanishes next, only
    what the last fetch of partial days said is known.
    """
    entries = known_days(resources) if known is None else known
    return [_status(resources, project, entries.get(project, ())) for project in projects]


def known_days(resources: Resources) -> KnownDays:
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
    over = [entry for entry in entries if entry.run_date <= yesterday]
    archived = [entry for entry in entries if is_archived(entry)]
    first, last = _begin(archived), max((e.run_date for e in entries if e.complete), default=None)
    partial = tuple(entry.run_date for entry in over if entry.complete is False)
    known = {*(entry.run_date for entry in archived), *partial}
    status = ProjectStatus(
        project,
        first_day=first,
        last_complete=last,
        lag=max(0, (yesterday - last).days) if last else None,
        open=tuple(entry.run_date for entry in entries if _is_open(resources, entry, yesterday)),
        partial=partial,
        unproved=tuple(entry.run_date for entry in over if entry.complete is None and is_archived(entry)),
        missing=tuple(day for day in _days(first, yesterday) if day not in known),
        quarantined=None,
        not_uploaded=None,
        not_verified=None,
        differing=None,
        health=NOTHING,
        failure=next((_failure(entry) for entry in reversed(entries) if entry.failed_step), None),
        vanishing=_as_fetched(resources, project, partial),
    )
    if resources.ledger is not None:
        status = _with_copies(status, entries, target=resources.settings.target is not None)
    return _with_health(status, entries, yesterday, target=resources.settings.target is not None)


def _begin(archived: Sequence[LedgerEntry]) -> date | None:
    for entry, following in pairwise(archived):
        if entry.runs != 0 or not entry.complete or following.run_date - entry.run_date <= _APART:
            return entry.run_date
    return archived[-1].run_date if archived else None


def _with_copies(status: ProjectStatus, entries: Sequence[LedgerEntry], *, target: bool) -> ProjectStatus:
    """`status` with what only the ledger knows."""
    with_runs = _with_runs(entries)
    return replace(
        status,
        quarantined=sum(entry.quarantined or 0 for entry in entries),
        not_uploaded=tuple(e.run_date for e in with_runs if target and not e.uploaded_at),
        not_verified=tuple(e.run_date for e in with_runs if not e.verified_at),
        differing=tuple(e.run_date for e in with_runs if e.verified_at and e.differences),
    )


def _with_health(
    status: ProjectStatus, entries: Sequence[LedgerEntry], yesterday: date, *, target: bool
) -> ProjectStatus:
    """`status` with the score of what it lists."""
    if status.first_day is None:
        return status
    figures = Figures(
        status.first_day,
        days=len(_days(status.first_day, yesterday)),
        incomplete=len({*status.partial, *status.unproved, *status.missing}),
        with_runs=len(_with_runs(entries)),
        not_uploaded=_number(status.not_uploaded),
        not_equal=_number(status.not_verified, status.differing),
        quarantined=status.quarantined,
        failed=sum(entry.failed_step is not None for entry in entries),
    )
    return replace(status, health=health(figures, target=target))


def _number(*listed: tuple[date, ...] | None) -> int | None:
    """How many days there are in all; None when that is unknown."""
    known = [days for days in listed if days is not None]
    return sum(map(len, known)) if len(known) == len(listed) else None


def is_archived(entry: LedgerEntry) -> bool:
    """Whether anything of the day was ever archived."""
    return bool(entry.fetched_at or entry.packed_at or entry.loaded_at)


def _with_runs(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    return [entry for entry in entries if entry.runs or entry.packed_at or entry.loaded_at]


def _is_open(resources: Resources, entry: LedgerEntry, yesterday: date) -> bool:
    if entry.fetched_at is None:
        return False
    settles = settles_at(resources, entry.day)
    return entry.run_date > yesterday or (entry.complete is True and entry.fetched_at < settles)


def _failure(entry: LedgerEntry) -> str:
    return f"{entry.run_date} {entry.failed_step}: {entry.failure}"


def _days(first: date | None, last: date) -> list[date]:
    """As `each_day`; none without a first one."""
    return each_day(first, last) if first else []


def _as_fetched(resources: Resources, project: str, days: Iterable[date]) -> tuple[Vanishing, ...]:
    """What vanishes of `days`, as their last fetch was told."""
    records = [(day, read_fetch_record(resources.folder(ProjectDay(project, day)))) for day in days]
    return by_time(Vanishing(day, record.expiry) for day, record in records if record and record.expiry)


def by_time(found: Iterable[Vanishing]) -> tuple[Vanishing, ...]:
    """`found`, the soonest first."""
    return tuple(sorted(found, key=lambda item: (item.expires_at, item.day)))
