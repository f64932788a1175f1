"""The flows `sweep` and `backfill`: many project days, those that are due or those of a range."""

import datetime as dt
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State

from flows import _common, _days
from flows._spread import Engine, opened
from lse.errors import LseError, UsageError
from lse.models import ProjectDay, each_day
from lse.pipeline import due_days
from lse.pipeline.due import LONGEST_RETENTION_DAYS


@task(name="which days are due", **_common.STEP)
def find_due(projects: list[str], before: dt.date, days_back: int, compared: bool) -> list[ProjectDay]:
    """The days before `before` that are to be swept."""
    with opened() as resources:
        names = _days.chosen(resources, projects)
        due = due_days(resources, names, before, days_back=days_back, compared=compared)
    return [each.day for each in due]


@task(name="which days are meant", **_common.STEP)
def find_range(projects: list[str], start: dt.date, end: dt.date) -> list[ProjectDay]:
    """Each day of the range, of each project; the oldest first, since LangSmith deletes it first."""
    with opened() as resources:
        names = _days.chosen(resources, projects)
    return [ProjectDay(name, day) for day in each_day(start, end) for name in names]


@flow(name="sweep", flow_run_name=_common.projects_run_name, persist_result=False)
def sweep(
    projects: list[str] = ["*"],  # noqa: B006 - Prefect shows it as the default, and nobody changes it
    at_once: _common.AtOnce = 4,
    skip: set[_common.Skippable] = set(),  # noqa: B006
    days_back: int = LONGEST_RETENTION_DAYS,
    engine: Engine = "threads",
) -> State[Any]:
    """Archive what is due: yesterday, days that may still change, gaps, and what was left partial or failed.

    Args:
        projects: Names, or patterns such as `chat-*`; `*` means every project at LangSmith.
        at_once: How many project days are worked on side by side.
        skip: Steps to leave out.
        days_back: Gaps older than this are left alone.
        engine: Where the days are worked on; `dask` is a cluster, or several processes of this machine.
    """
    before = _common.due_date()
    try:
        days = find_due(projects, before, days_back, "verify" not in skip)
        return _swept(days, at_once, engine, skip, force=False)
    except LseError as error:
        return _common.final_state([_common.failure(error)])


@flow(name="backfill", flow_run_name=_common.projects_run_name, persist_result=False)
def backfill(
    projects: list[str],
    start: dt.date,
    end: dt.date,
    at_once: _common.AtOnce = 4,
    skip: set[_common.Skippable] = set(),  # noqa: B006
    force: bool = False,
    engine: Engine = "threads",
) -> State[Any]:
    """Archive every day of a range.

    Args:
        projects: Names, or patterns such as `chat-*`; `*` means every project at LangSmith.
        start: First UTC day.
        end: Last UTC day, included.
        at_once: How many project days are worked on side by side.
        skip: Steps to leave out.
        force: Fetch again days that are settled and complete.
        engine: Where the days are worked on; `dask` is a cluster, or several processes of this machine.
    """
    try:
        if start > end:
            raise UsageError("`start` lies after `end`.", hint="Swap the two.")
        return _swept(find_range(projects, start, end), at_once, engine, skip, force=force)
    except LseError as error:
        return _common.final_state([_common.failure(error)])


def _swept(
    days: list[ProjectDay], at_once: int, engine: Engine, skip: set[_common.Skippable], *, force: bool
) -> State[Any]:
    done = _days.each_day(days, _days.sweeping(_days.skipped(skip), force), at_once, engine)
    _days.publish_days(done)
    return _days.final_state(done)
