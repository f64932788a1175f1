"""`retain`: months of runs leave the store once every day of them is proved to be in the archive."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from lse.errors import IncompleteError, LseError
from lse.models import ProjectDay
from lse.pipeline.common import options
from lse.pipeline.verifying import verify
from lse.resources import Resources
from lse.store import retention
from lse.store.retention import Fate, Month

State = Literal["ready", "kept", "detached", "dropped"]

_STATES: dict[Fate, State] = {"detach": "detached", "drop": "dropped"}


@dataclass(frozen=True, slots=True)
class Retained:
    """What became of one month that is older than those to keep, or what would become of it: then `ready`."""

    month: str
    state: State
    runs: int
    size: int
    """Bytes in the database"""
    obstacles: tuple[str, ...] = ()
    """Why it is kept, a line for each day that stands in the way"""

    @property
    def exit_code(self) -> int:
        """Not 0 when it could not be taken out."""
        return IncompleteError.exit_code if self.obstacles else 0


def retain(resources: Resources, keep_months: int, fate: Fate, *, act: bool) -> list[Retained]:
    """Take out of the store what is older than the current month and `keep_months` before it.

    A month goes only as a whole, and only when each of its project days is in the archive, and was found
    equal to it since it was last loaded. Unless `act`, nothing is changed; else each day is verified once
    more before its month goes. Months that were detached earlier are dropped with `drop`, else left alone.
    """
    resources.store  # noqa: B018 - reachable and migrated, or said what to do
    months = retention.months_before(resources.database_url, first_kept(resources.now().date(), keep_months))
    return [
        _taken_out(resources, month, fate) if act else _planned(month)
        for month in months
        if month.attached or fate == "drop"
    ]


def first_kept(today: date, keep_months: int) -> date:
    """The first day of the earliest month that is kept."""
    first = today.replace(day=1)
    for _ in range(keep_months):
        first = (first - timedelta(days=1)).replace(day=1)
    return first


def _planned(month: Month) -> Retained:
    obstacles = tuple(
        f"{held.day}: {held.obstacle}; lse archive verify {options(held.day)}"
        for held in month.days
        if held.obstacle
    )
    return Retained(
        f"{month.first:%Y-%m}", "kept" if obstacles else "ready", month.runs, month.size, obstacles
    )


def _taken_out(resources: Resources, month: Month, fate: Fate) -> Retained:
    """What became of `month`. Its days are not locked: what a load writes meanwhile is in the archive."""
    planned = _planned(month)
    if planned.obstacles:
        return planned
    obstacles = tuple(f"{held.day}: {doubt}" for held in month.days if (doubt := _doubt(resources, held.day)))
    if obstacles:
        return replace(planned, state="kept", obstacles=obstacles)
    retention.take_out(resources.database_url, month, fate)
    return replace(planned, state=_STATES[fate])


def _doubt(resources: Resources, day: ProjectDay) -> str | None:
    """Why the copies of `day` outside the store do not prove, now, that nothing is lost with its rows."""
    try:
        result = verify(resources, day)
    except LseError as error:
        return error.message
    copies = [copy for copy in str(result.figures.get("copies", "none")).split(", ") if copy != "none"]
    if result.state == "differences":
        return result.summary
    if not [copy for copy in copies if not copy.startswith("store")]:
        return "no copy is left but the store's"
    return None
