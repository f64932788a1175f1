"""`lse status`: how far the archive has come, what is missing, and what vanishes next."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line, tell
from lse.cli.selection import Projects
from lse.errors import DifferencesFound, IncompleteError
from lse.models.choice import choose

if TYPE_CHECKING:
    from lse.pipeline import ProjectStatus
    from lse.pipeline.drilling import Drill

_SHOWN = 5


def status(
    project: Projects = None,
    expiry: Annotated[
        bool, typer.Option("--expiry", help="Ask LangSmith when it deletes what is not archived.")
    ] = False,
    min_score: Annotated[
        int, typer.Option("--min-score", min=0, max=100, help="Exit with 3 when a project's score is lower.")
    ] = 0,
    json: Json = False,
) -> None:
    """Show what of each project is archived, partial, missing or open, and what LangSmith deletes next.

    The health score has 40 points for days proved complete, from the first archived one to yesterday, 20 for
    uploads, 20 for copies compared and equal, each times the share of days that have it; 10 for an empty
    quarantine, and 10 when no step failed last. Exit code 3 below --min-score, else 4 when a day is partial
    or missing.
    """
    from lse.pipeline import archived_projects, ask_expiry, require_known, statuses
    from lse.pipeline.drilling import last_drill

    with resources() as opened:
        there = archived_projects(opened)
        names = choose(project, False, lambda: there) if project else sorted(there)
        require_known(names, there)
        found = statuses(opened, names)
        drilled = last_drill(opened.settings.state_dir)
        if not json:
            _print(found, drilled)
        if expiry:
            found = ask_expiry(opened, found).statuses
            _print_vanishing([] if json else found)
    code = _exit_code(found, min_score)
    if json:
        last = asdict(drilled) if drilled else None
        print_json({"exit_code": code, "projects": list(map(asdict, found)), "last_drill": last})
    raise typer.Exit(code)


def _exit_code(found: Sequence["ProjectStatus"], min_score: int) -> int:
    lowest = min((each.health.score for each in found), default=0)
    if lowest < min_score:
        return DifferencesFound.exit_code
    return 0 if all(each.whole for each in found) else IncompleteError.exit_code


def _print(found: Sequence["ProjectStatus"], drilled: "Drill | None") -> None:
    if not found:
        print_line("nothing is archived yet")
        tell("    Begin with: lse archive full-sweep --project NAME --last 7d")
        return
    for each in found:
        print_line(each.project)
        for name, text in [*_lines(each), *_vanishing(each)]:
            print_line(f"  {name:<18} {text}")
    print_line(f"last drill: {_drilled(drilled)}")


def _print_vanishing(found: Sequence["ProjectStatus"]) -> None:
    """What LangSmith said when it was asked, which takes its time."""
    for each in found:
        print_line(f"{each.project}, as LangSmith says")
        for name, text in list(_vanishing(each)) or [("vanishes next", "nothing that is not archived")]:
            print_line(f"  {name:<18} {text}")


def _lines(each: "ProjectStatus") -> Iterator[tuple[str, str]]:
    behind = "" if each.lag is None else f" ({_days(each.lag)} behind)" if each.lag else " (up to date)"
    yield "last complete day", f"{each.last_complete or 'none'}{behind}"
    yield "open", _ranges(each.open)
    yield "partial", _ranges(each.partial)
    yield "not proved", _ranges(each.unproved)
    yield "missing", _ranges(each.missing)
    yield "quarantined", "unknown" if each.quarantined is None else f"{each.quarantined:,}"
    yield "never uploaded", _ranges(each.not_uploaded)
    yield "never verified", _ranges(each.not_verified)
    yield "copies differ", _ranges(each.differing)
    yield "last failure", each.failure or "none"
    yield "health", f"{each.health.score} of 100"
    for part in each.health.parts:
        yield f"  {part.name}", f"{part.points} of {part.of}: {part.why}"


def _vanishing(each: "ProjectStatus") -> Iterator[tuple[str, str]]:
    for item in each.vanishing[:_SHOWN]:
        yield (
            "vanishes next",
            f"{item.day} from {item.expires_at:%Y-%m-%d %H:%M} UTC on{_left(item.expires_at)}",
        )
    if len(each.vanishing) > _SHOWN:
        yield "", f"and {len(each.vanishing) - _SHOWN} more; --json lists them all"


def _drilled(drill: "Drill | None") -> str:
    if drill is None:
        return "never"
    restored = f"{len(drill.days)} restored" if drill.sound else "PROBLEMS FOUND"
    return f"{_days((datetime.now(UTC) - drill.time).days)} ago, {restored}, seed {drill.seed}"


def _left(expires_at: datetime) -> str:
    left = expires_at - datetime.now(UTC)
    return f", in {_days(left.days)}" if left > timedelta() else ", now"


def _days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number} days"


def _ranges(days: Sequence[date] | None) -> str:
    """`3 days: 2025-09-10 to 2025-09-11, 2025-09-14`."""
    if days is None:
        return "unknown: the ledger cannot be read"
    if not days:
        return "none"
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    shown = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{_days(len(days))}: {', '.join(shown[:_SHOWN])}{more}"
