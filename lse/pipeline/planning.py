"""`plan`: what a fetch of some days would take, before anything is fetched. It writes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lse.models import ProjectDay
from lse.pipeline.common import settled
from lse.pipeline.fetching import require_plausible
from lse.resources import Resources
from lse.sources import Cost, Counts, Project, Window
from lse.sources._walk import lanes_for


@dataclass(frozen=True, slots=True)
class PlannedDay:
    """What one day would take."""

    day: ProjectDay
    counts: Counts | None
    """The source's own; None when it cannot count."""
    cost: Cost | None
    """None when the source cannot count."""
    settled: bool
    """Whether a complete fetch is there that a sweep trusts."""
    expires_at: datetime | None
    """When the first of the day's traces is deleted at the source, UTC, by the first of them; None for days
    without traces, for settled days, and where the source does not say."""


def plan(resources: Resources, days: Iterable[ProjectDay]) -> list[PlannedDay]:
    """What fetching `days` would take, in their order. Asks for counts and for the first traces' retention.

    Raises `UsageError` for an unknown project or a year that is mistyped. Days to come have no runs.
    """
    projects: dict[str, Project] = {}
    planned = []
    for day in days:
        require_plausible(day)
        if day.project not in projects:
            projects[day.project] = resources.source.project(day.project)
        planned.append(_planned(resources, day, projects[day.project]))
    return planned


def _planned(resources: Resources, day: ProjectDay, project: Project) -> PlannedDay:
    source, window = resources.source, Window(project, day.start, day.end)
    counts, is_settled = source.counts(window), settled(resources, day) is not None
    return PlannedDay(
        day,
        counts,
        source.cost(window, counts, lanes_for(counts)) if counts else None,
        is_settled,
        source.first_expiry(window) if counts and counts.traces and not is_settled else None,
    )
