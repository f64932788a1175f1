"""Which days a sweep without dates takes: those that the ledger does not prove finished."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from lse.models import ProjectDay, each_day
from lse.pipeline.common import settles_at
from lse.pipeline.status import is_archived, known_days
from lse.resources import Resources
from lse.store import LedgerEntry

Reason = Literal["recent", "missing", "partial", "open", "failed", "unproved", "differs"]

LONGEST_RETENTION_DAYS = 400
"""How long LangSmith keeps traces of its extended tier (LangSmith's documentation): nothing older can be
fetched any more."""


@dataclass(frozen=True, slots=True)
class DueDay:
    """A day to be swept, and why."""

    day: ProjectDay
    reason: Reason
    """`recent`: it has not settled yet. `missing`: never archived, after the first day that was. `partial`:
    its fetch was not proved complete. `open`: fetched before it settled. `failed`: a step failed. `unproved`:
    not compared since its last fetch, as after a kill. `differs`: the last comparison found differences."""


def due_days(
    resources: Resources,
    projects: Iterable[str],
    before: date,
    *,
    days_back: int = LONGEST_RETENTION_DAYS,
    compared: bool = True,
) -> list[DueDay]:
    """The days of `projects` that lie before `before` and are to be swept, the oldest first.

    LangSmith deletes the oldest first. Of a project of which nothing is archived, only the days that have not
    settled are taken: how far back its archive is to reach is for a person to say. Days more than `days_back`
    days before `before` are left alone. Without `compared`, a day need not have been verified.
    """
    known = known_days(resources)
    first = before - timedelta(days=days_back)
    due = [
        DueDay(day, reason)
        for project in projects
        for day, reason in _due(resources, project, known.get(project, ()), before)
        if day.day >= first and (compared or reason != "unproved")
    ]
    return sorted(due, key=lambda each: (each.day.day, each.day.project))


def rotation(resources: Resources, projects: Iterable[str] | None, part: int, parts: int) -> list[ProjectDay]:
    """The days of `projects`, or of all, that belong to `part` of `parts`, counted from 1.

    By project and day. Each day belongs to one part for ever, and neighbours to different ones: `parts`
    rotations see every archived day once.
    """
    known = known_days(resources)
    chosen = sorted(known) if projects is None else projects
    entries = (entry for project in chosen for entry in known.get(project, ()))
    return [
        entry.day
        for entry in entries
        if is_archived(entry) and entry.run_date.toordinal() % parts == part % parts
    ]


def _due(
    resources: Resources, project: str, entries: Iterable[LedgerEntry], before: date
) -> Iterator[tuple[ProjectDay, Reason]]:
    known = {entry.run_date: entry for entry in entries}
    for day in _candidates(resources, known, before):
        if reason := _reason(resources, ProjectDay(project, day), known.get(day)):
            yield ProjectDay(project, day), reason


def _candidates(resources: Resources, known: Mapping[date, LedgerEntry], before: date) -> list[date]:
    """The days before `before` that are known, follow one that is archived, or have not settled."""
    unsettled = resources.settings.settle_hours // 24 + 1
    archived = [day for day, entry in known.items() if is_archived(entry)]
    first = min([*archived, before - timedelta(days=unsettled)])
    days = {*each_day(first, before), *known}
    return sorted(day for day in days if day < before)


def _reason(resources: Resources, day: ProjectDay, entry: LedgerEntry | None) -> Reason | None:
    """Why `day` is to be swept; None when it is done."""
    settles = settles_at(resources, day)
    if settles > resources.now():
        return "recent"
    if entry is None or not (is_archived(entry) or entry.failed_step):
        return "missing"
    if entry.complete is False:
        return "partial"
    if entry.failed_step:
        return "failed"
    if entry.fetched_at and entry.fetched_at < settles:
        return "open"
    if entry.differences:
        return "differs"
    if entry.fetched_at and entry.runs and (not entry.verified_at or entry.verified_at < entry.fetched_at):
        return "unproved"
    return None
