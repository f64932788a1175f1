"""How much of what was asked for is there: which days are complete, and since when that is proved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class DayState:
    """What is known of one project day."""

    project: str
    day: date
    complete: bool
    """Whether everything of it is proved to be where the report reads."""
    verified_at: datetime | None = None
    """When its copies were last found equal, UTC."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The days of a report by what is known of them; each is in exactly one of the first three.

    Of several projects, a day counts as complete when it is so for each of them that had begun by then.
    """

    complete: tuple[date, ...]
    partial: tuple[date, ...]
    """Days of which something is there, and something is not proved to be there."""
    missing: tuple[date, ...]
    """Days of which nothing is known."""
    verified: int
    """How many of the days are verified."""
    verified_at: datetime | None
    """When the first of these was last verified, UTC: they all were then, or later."""

    @property
    def whole(self) -> bool:
        """Whether every day is complete."""
        return not self.partial and not self.missing

    @property
    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "days": len(self.complete) + len(self.partial) + len(self.missing),
            "complete": len(self.complete),
            "partial": [day.isoformat() for day in self.partial],
            "missing": [day.isoformat() for day in self.missing],
            "verified": self.verified,
            "verified_at": self.verified_at.isoformat() if self.verified_at else None,
        }

    def __str__(self) -> str:
        days = len(self.complete) + len(self.partial) + len(self.missing)
        parts = [f"{len(self.complete)} of {days} days complete"]
        parts += [f"{len(self.partial)} partial"] if self.partial else []
        parts += [f"{len(self.missing)} missing"] if self.missing else []
        if self.verified_at:
            return (
                f"{', '.join(parts)}; {self.verified} verified, at {self.verified_at:%Y-%m-%d %H:%M} or later"
            )
        return f"{', '.join(parts)}; none verified"


def coverage_of(
    days: Sequence[date], begun: Mapping[str, date], states: Iterable[DayState], project: str | None
) -> Coverage:
    """What `states` say about `days`, of `project` or of every one of which the first day is in `begun`."""
    known = {(state.project, state.day): state for state in states}
    complete: list[date] = []
    partial: list[date] = []
    missing: list[date] = []
    verified: list[datetime] = []
    for day in days:
        expected = [project] if project is not None else [name for name in begun if begun[name] <= day]
        found = [known.get((name, day)) for name in expected]
        there = [state for state in found if state is not None]
        whole = bool(there) and len(there) == len(found)
        if whole and all(state.complete for state in there):
            complete.append(day)
        else:
            (partial if there else missing).append(day)
        times = [state.verified_at for state in there if state.verified_at is not None]
        if whole and len(times) == len(there):
            verified.append(min(times))
    return Coverage(
        tuple(complete), tuple(partial), tuple(missing), len(verified), min(verified, default=None)
    )
