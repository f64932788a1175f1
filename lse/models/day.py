"""The unit of all work: one LangSmith project on one UTC day."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from lse.errors import UsageError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, order=True, slots=True)
class ProjectDay:
    """One project on one UTC day; its window is half-open, `[start, end)`."""

    project: str
    day: date

    @property
    def start(self) -> datetime:
        """Midnight UTC at which the day begins."""
        return datetime.combine(self.day, time.min, UTC)

    @property
    def end(self) -> datetime:
        """Midnight UTC at which the next day begins."""
        return self.start + timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.project}/{self.day.isoformat()}"


def each_day(start: date, end: date) -> list[date]:
    """The days from `start` to `end`, both included, ascending."""
    return [start + timedelta(days=number) for number in range((end - start).days + 1)]


def parse_day(text: str) -> date:
    """The date that `text` names as `YYYY-MM-DD`; anything else is a `UsageError`."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a day of the calendar.", hint="Write it as 2025-09-13.") from error
    raise UsageError(f"{text!r} is not a date of the form YYYY-MM-DD.", hint="Write it as 2025-09-13.")
