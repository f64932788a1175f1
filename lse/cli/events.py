"""`lse events`: what happened, and what happens now."""

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_data, print_line
from lse.cli.selection import number_of_days

if TYPE_CHECKING:
    from lse.store.events import Event

_PAUSE = 1.0
"""Seconds between two looks when following."""


def events(
    since: Annotated[str, typer.Option(help="How far back, in days such as 7d.")] = "1d",
    kind: Annotated[
        str | None, typer.Option(help="Only this kind, such as step.failed; `day.*` for several.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The last so many.")] = 1000,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until stopped.")] = False,
    json: Json = False,
) -> None:
    """Show what happened to project days, the oldest first. With --json, a line of JSON each."""
    from lse.pipeline import require_archived
    from lse.store.events import Events

    begin = datetime.now(UTC) - timedelta(days=number_of_days(since))
    with resources() as opened:
        opened.store  # noqa: B018 - reachable and migrated, or said what to do
        if project is not None:
            require_archived(opened, [project])
        log = Events(opened.database_url)
        found = log.read(since=begin, kind=kind, project=project, limit=limit)
        after = found[-1].cursor if found else ("1", 0)
        _print(found, json)
        while follow:
            time.sleep(_PAUSE)
            found = log.read(after, since=begin, kind=kind, project=project)
            after = found[-1].cursor if found else after
            _print(found, json)


def _print(found: "list[Event]", json: bool) -> None:
    for event in found:
        if json:
            print_data(dumps(asdict(event), default=str) + "\n")
        else:
            figures = ", ".join(f"{name} {value}" for name, value in event.data.items() if name != "steps")
            day = f"{event.project}/{event.run_date}" if event.project else "-"
            print_line(f"{event.at:%Y-%m-%d %H:%M:%S}  {event.severity:<7} {event.kind:<16} {day}  {figures}")
