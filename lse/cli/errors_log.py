"""`lse errors`: which failures of steps there were, those that say the same together."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line
from lse.cli.selection import number_of_days

if TYPE_CHECKING:
    from lse.store.events import Failures

Since = Annotated[str, typer.Option(help="How far back, in days such as 7d.")]


def errors(
    since: Since = "7d",
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project.")] = None,
    json: Json = False,
) -> None:
    """Group the failures of steps by what they say: how often, since when, and whether they are solved."""
    from lse.pipeline import require_archived
    from lse.store.events import Events

    begin = datetime.now(UTC) - timedelta(days=number_of_days(since))
    with resources() as opened:
        opened.store  # noqa: B018 - reachable and migrated, or said what to do
        if project is not None:
            require_archived(opened, [project])
        found = Events(opened.database_url).failures(begin, project)
    if json:
        print_json(list(map(asdict, found)))
        return
    for each in found:
        _print(each)
    if not found:
        print_line("no step failed")


def _print(each: "Failures") -> None:
    from lse.pipeline.common import counted

    state = "solved" if each.solved else "open"
    print_line(f"{each.fingerprint}  {each.step:<7} {each.count:>5,} times  {state:<6}  {each.message}")
    print_line(
        f"            {counted(each.days, 'project day')} in {counted(each.origins, 'run')};"
        f" first {each.first:%Y-%m-%d %H:%M}, last {each.last:%Y-%m-%d %H:%M} UTC,"
        f" of {each.last_day} in run {each.last_origin}"
    )
