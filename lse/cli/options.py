"""Options that several commands share."""

import os
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.errors import UsageError
from lse.models.day import ProjectDay, parse_day

if TYPE_CHECKING:
    from lse.resources import Resources
    from lse.settings import Settings

ProjectName = Annotated[str, typer.Option("--project", "-p", help="The LangSmith project.")]
AnyProject = Annotated[str | None, typer.Option("--project", "-p", help="One project; all when left out.")]
Date = Annotated[str | None, typer.Option("--date", "-d", help="The UTC day, YYYY-MM-DD.")]
StartDate = Annotated[str | None, typer.Option(help="First UTC day of a range.")]
EndDate = Annotated[str | None, typer.Option(help="Last UTC day of a range, included.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_flags: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Days:
    """The days a command is about, both ends included."""

    start: date
    end: date

    def of(self, project: str) -> list[ProjectDay]:
        """Each day of `project`, ascending."""
        count = (self.end - self.start).days + 1
        return [ProjectDay(project, self.start + timedelta(days=n)) for n in range(count)]


def days(date: str | None, start_date: str | None, end_date: str | None) -> Days:
    """The days that `--date`, or `--start-date` with `--end-date`, name. Raises `UsageError`."""
    if date is not None and start_date is None and end_date is None:
        return Days(parse_day(date), parse_day(date))
    if date is None and start_date is not None and end_date is not None:
        chosen = Days(parse_day(start_date), parse_day(end_date))
        if chosen.start > chosen.end:
            raise UsageError("--start-date lies after --end-date.", hint="Swap the two.")
        return chosen
    raise UsageError("Give the day, or a range of days.", hint="--date D, or --start-date D --end-date D.")


def set_flags(**flags: Any) -> None:
    """Keep the options given before the command; they win over environment and `.env`."""
    _flags.update(flags)


def export_flags() -> None:
    """Put the options given before the command into the environment, for code that reads settings itself."""
    os.environ.update(
        {f"LSE_{name.upper()}": str(value) for name, value in _flags.items() if value is not None}
    )


def settings() -> "Settings":
    """The settings in force for this command."""
    from lse.settings import load_settings

    return load_settings(**_flags)


def resources() -> "Resources":
    """What the steps work with, for this command."""
    from lse.resources import Resources

    return Resources(settings())
