"""`ask_expiry`: when the source deletes what is not archived, as far as it says so in good time."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from lse.errors import LseError, UsageError
from lse.models import ProjectDay
from lse.pipeline.common import counted
from lse.pipeline.status import ProjectStatus, Vanishing, by_time
from lse.resources import Resources
from lse.sources import Project, Source, Window, open_source

logger = logging.getLogger(__name__)

RETENTION_DAYS = (14, 400)
"""How long LangSmith keeps traces of its base and of its extended tier (LangSmith's documentation)."""

_ANSWER_SECONDS = 30.0
"""How long all questions together may take. Of older days, LangSmith answers 3 questions in 10 seconds."""

_CALL_SECONDS = 10.0
"""How long one of them may take."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known after the source was asked."""

    statuses: list[ProjectStatus]
    not_asked: tuple[ProjectDay, ...]
    """Days of which the source was not asked, since time was up or it did not answer; by their expiry"""


def ask_expiry(
    resources: Resources,
    found: Sequence[ProjectStatus],
    *,
    within: timedelta | None = None,
    seconds: float = _ANSWER_SECONDS,
) -> Outlook:
    """`found`, with what the source deletes next of the days that are not, or not wholly, archived.

    Days whose traces are all deleted by now are not asked about; with `within`, neither are those of which
    none is deleted so soon. What may be deleted first is asked first, until `seconds` have passed. A source
    that cannot be asked is warned of.
    """
    days = _candidates(found, resources.now(), within)
    told: dict[ProjectDay, datetime | None] = {}
    try:
        if days:
            source = open_source(resources.settings, resources.rates, call_seconds=_CALL_SECONDS)
            with closing(source):
                for day, expires_at in _answers(source, days, time.monotonic() + seconds):
                    told[day] = expires_at
    except LseError as error:
        logger.warning("What vanishes next is known from earlier fetches only: %s", error)
    not_asked = tuple(day for day in days if day not in told)
    if not_asked:
        logger.warning(
            "LangSmith was not asked about %s, the first %s.", counted(len(not_asked), "day"), not_asked[0]
        )
    return Outlook([_with_answers(status, told) for status in found], not_asked)


def _answers(
    source: Source, days: Sequence[ProjectDay], deadline: float
) -> Iterator[tuple[ProjectDay, datetime | None]]:
    """When the first trace of each day is deleted, until the deadline; None for days that have none."""
    projects: dict[str, Project | None] = {}
    for day in days:
        if time.monotonic() > deadline:
            return
        if day.project not in projects:
            projects[day.project] = _with_traces(
                source, [each for each in days if each.project == day.project]
            )
        project = projects[day.project]
        yield day, source.first_expiry(Window(project, day.start, day.end)) if project else None


def _with_traces(source: Source, days: Sequence[ProjectDay]) -> Project | None:
    """The project of `days`; None where the source has no such project, or nothing within these days."""
    try:
        project = source.project(days[0].project)
    except UsageError:
        return None
    begin, end = min(day.start for day in days), max(day.end for day in days)
    return project if source.first_expiry(Window(project, begin, end)) else None


def _candidates(found: Iterable[ProjectStatus], now: datetime, within: timedelta | None) -> list[ProjectDay]:
    """The days to be asked about, by the time at which their first trace may be deleted."""
    soonest = {
        day: expires_at
        for status in found
        for day in _not_whole(status, now.date())
        if (expires_at := _soonest_expiry(day, now)) and (within is None or expires_at < now + within)
    }
    return sorted(soonest, key=lambda day: (soonest[day], day.project, day.day))


def _not_whole(status: ProjectStatus, today: date) -> Iterator[ProjectDay]:
    """Days that are partial, unproved or missing; without an archive, all that LangSmith is sure to have."""
    days = {*status.partial, *status.unproved, *status.missing}
    if status.first_day is None:
        days = {today - timedelta(days=number) for number in range(1, RETENTION_DAYS[0] + 1)}
    return (ProjectDay(status.project, day) for day in days)


def _soonest_expiry(day: ProjectDay, now: datetime) -> datetime | None:
    """When the first trace of `day` that may still be there can be deleted; None when there can be none."""
    for kept in RETENTION_DAYS:
        if day.end + timedelta(days=kept) > now:
            return day.start + timedelta(days=kept)
    return None


def _with_answers(status: ProjectStatus, told: dict[ProjectDay, datetime | None]) -> ProjectStatus:
    """`status` with the answers in the place of what earlier fetches were told."""
    answered = {day.day: expires_at for day, expires_at in told.items() if day.project == status.project}
    kept = [item for item in status.vanishing if item.day not in answered]
    fresh = [Vanishing(day, expires_at) for day, expires_at in answered.items() if expires_at]
    return replace(status, vanishing=by_time([*kept, *fresh]))
