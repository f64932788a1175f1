"""What a command is about: projects and UTC days, chosen with the same options everywhere."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from lse.errors import UsageError
from lse.models.choice import Known, choose
from lse.models.day import ProjectDay, each_day, parse_day

Projects = Annotated[
    list[str] | None,
    typer.Option(
        "--project", "-p", help="A LangSmith project, or a pattern such as 'chat-*'. May be given repeatedly."
    ),
]
AllProjects = Annotated[bool, typer.Option("--all-projects", help="Every project.")]
Date = Annotated[str | None, typer.Option("--date", "-d", help="The UTC day, YYYY-MM-DD.")]
StartDate = Annotated[str | None, typer.Option(help="First UTC day of a range.")]
EndDate = Annotated[str | None, typer.Option(help="Last UTC day of a range, included.")]
Last = Annotated[str | None, typer.Option(help="So many UTC days before today, such as 7d.")]

_LAST = re.compile(r"([1-9][0-9]{0,4})d")


@dataclass(frozen=True, slots=True)
class Days:
    """The days a command is about, both ends included."""

    start: date
    end: date

    def of(self, project: str) -> list[ProjectDay]:
        """Each day of `project`, ascending."""
        return [ProjectDay(project, day) for day in each_day(self.start, self.end)]


@dataclass(frozen=True, slots=True)
class Selection:
    """Projects, by name or pattern, and days."""

    projects: tuple[str, ...]
    all_projects: bool
    days: Days | None
    """None where the command can do without, and none were given"""

    def of(self, known: Known) -> list[ProjectDay]:
        """The chosen project days, by project and day. Raises `UsageError` when none are chosen."""
        if self.days is None:
            raise _no_day()
        return [
            day
            for project in choose(self.projects, self.all_projects, known)
            for day in self.days.of(project)
        ]

    def names(self, known: Known) -> list[str] | None:
        """The chosen projects; None when nothing limits them. Raises `UsageError` for an unknown pattern."""
        return choose(self.projects, self.all_projects, known) if self.projects else None


def days(
    date: str | None, start_date: str | None, end_date: str | None, last: str | None, today: date
) -> Days:
    """The days that `--date`, `--start-date` with `--end-date`, or `--last` name. Raises `UsageError`."""
    match (date, start_date, end_date, last):
        case (str(), None, None, None):
            return Days(parse_day(date), parse_day(date))
        case (None, str(), str(), None):
            chosen = Days(parse_day(start_date), parse_day(end_date))
            if chosen.start > chosen.end:
                raise UsageError("--start-date lies after --end-date.", hint="Swap the two.")
            return chosen
        case (None, None, None, str()):
            return Days(today - timedelta(days=number_of_days(last)), today - timedelta(days=1))
    raise _no_day(date, start_date, end_date, last)


def _no_day(
    date: str | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
    last: str | None = None,
) -> UsageError:
    options = {"--date": date, "--start-date": start_date, "--end-date": end_date, "--last": last}
    given = [name for name, value in options.items() if value is not None]
    match given:
        case []:
            problem = "Give the day, or a range of days."
        case ["--start-date"] | ["--end-date"]:
            problem = f"{given[0]} is only one end of a range of days."
        case _:
            problem = f"{' and '.join(given)} do not go together."
    return UsageError(problem, hint="--date D, or --start-date D --end-date D, or --last 7d.")


def may_select(command: Callable[..., None]) -> Callable[..., None]:
    """As `takes_selection`, for a command that can do without days."""
    return takes_selection(command, optional=True)


def utc_today() -> date:
    """The current UTC day."""
    return datetime.now(UTC).date()


def takes_selection(command: Callable[..., None], *, optional: bool = False) -> Callable[..., None]:
    """Give `command` the options that choose projects and days; its first argument is the `Selection`.

    With `optional`, days may be left out.
    """

    def with_options(
        project: Projects = None,
        all_projects: AllProjects = False,
        date: Date = None,
        start_date: StartDate = None,
        end_date: EndDate = None,
        last: Last = None,
        **own: Any,
    ) -> None:
        given = (date, start_date, end_date, last)
        none_given = given == (None, None, None, None)
        chosen = None if optional and none_given else days(*given, utc_today())
        command(Selection(tuple(project or ()), all_projects, chosen), **own)

    shared = list(inspect.signature(with_options).parameters.values())[:-1]
    own_options = list(inspect.signature(command).parameters.values())[1:]
    with_options.__doc__ = command.__doc__
    with_options.__name__ = command.__name__
    # Typer reads the options off the signature.
    with_options.__signature__ = inspect.Signature([*shared, *own_options])  # type: ignore[attr-defined]
    return with_options


def number_of_days(last: str) -> int:
    """The 7 of `7d`. Raises `UsageError` for anything else."""
    match = _LAST.fullmatch(last)
    if match is None:
        raise UsageError(f"{last!r} is not a number of days.", hint="Write it as 7d, for seven days.")
    return int(match[1])
