"""`lse db retain`, `search-index` and `rebuild`, and `lse drill`: what keeps a database in shape."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line, print_result, print_table, result_document, tell
from lse.cli.selection import Projects
from lse.errors import DifferencesFound, UsageError
from lse.models.choice import choose

if TYPE_CHECKING:
    from lse.pipeline.retaining import Retained

search_index = typer.Typer(no_args_is_help=True)


class Kind(StrEnum):
    """What an index makes fast."""

    WORDS = "words"
    SUBSTRING = "substring"


KindOption = Annotated[Kind, typer.Option(help="Searches for words, or with --substring.")]


@search_index.command("on")
def search_index_on(kind: KindOption = Kind.WORDS) -> None:
    """Build the index that makes searches fast. Loads go on meanwhile, and take longer from then on."""
    from lse.pipeline.common import counted
    from lse.store.search_index import build

    with resources() as opened:
        months = build(opened.database_url, kind.value)
    print_line(f"built for {counted(len(months), 'month')}" if months else "there already")


@search_index.command("off")
def search_index_off() -> None:
    """Drop the indexes for searches, which then read day by day."""
    from lse.store.search_index import drop

    with resources() as opened:
        kinds = drop(opened.database_url)
    print_line(f"dropped: {', '.join(kinds)}" if kinds else "there was none")


@search_index.command("status")
def search_index_status(json: Json = False) -> None:
    """Say which indexes for searches there are, and how large they are."""
    from lse.store.search_index import sizes

    with resources() as opened:
        found = sizes(opened.database_url)
    if json:
        print_json(found)
        return
    for kind, size in found.items():
        print_line(f"{kind:<12} {size / 1e6:,.0f} MB")
    if not found:
        print_line("none")


def retain(
    keep_months: Annotated[
        int, typer.Option(min=1, max=1200, help="Keep the current month and so many before it.")
    ],
    detach: Annotated[bool, typer.Option("--detach", help="Set the months apart, as tables.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the months from the database.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Take old months of runs out of the store, when every day of them is proved to be in the archive.

    Without --yes nothing is changed. Each day is verified once more before its month is taken out. The
    archive is not touched; `lse archive to-db` loads a day again.
    """
    from lse.pipeline.retaining import retain as take_out

    if detach == drop:
        raise UsageError("Say what is to become of old months.", hint="--detach or --drop.")
    with resources() as opened:
        months = take_out(opened, keep_months, "drop" if drop else "detach", act=yes)
    code = next((month.exit_code for month in months if month.exit_code), 0)
    if json:
        documents = [
            {"month": month.month, "state": month.state, "runs": month.runs, "bytes": month.size}
            | {"obstacles": list(month.obstacles)}
            for month in months
        ]
        print_json({"exit_code": code, "months": documents})
    else:
        _print(months, yes)
    raise typer.Exit(code)


def _print(months: Sequence["Retained"], yes: bool) -> None:
    from lse.pipeline.common import counted

    if not months:
        print_line("no month is older than that")
        return
    rows = [(m.month, m.state, counted(m.runs, "run"), f"{m.size / 1e6:,.0f} MB") for m in months]
    print_table(("month", "", "", ""), rows)
    for month in months:
        for obstacle in month.obstacles[:10]:
            print_line(f"    {month.month}: {obstacle}")
        if len(month.obstacles) > 10:
            print_line(f"    {month.month}: … and {len(month.obstacles) - 10} more; --json lists them all")
    if not yes:
        tell("    Nothing was changed. --yes does it.")


def rebuild(project: Projects = None, json: Json = False) -> None:
    """Load the database from the archives alone, and write the ledger anew from what is noted with them.

    For a database that was lost. Trace files come first, then zips, then the target, which is asked for days
    that this machine never had. Rows that are there stay.
    """
    from lse.pipeline.rebuilding import Rebuilt
    from lse.pipeline.rebuilding import rebuild as load_all

    def say(each: Rebuilt) -> None:
        if not json:
            print_result(str(each.day), each.result)

    with resources() as opened:
        names = choose(project, False, list) if project else None
        done = load_all(opened, names, say)
    if json:
        print_json(
            [
                {"project": each.day.project, "date": str(each.day.day), **result_document(each.result)}
                for each in done
            ]
        )
    elif not done:
        print_line("nothing is archived")
    raise typer.Exit(next((each.result.exit_code for each in done if each.result.exit_code), 0))


def drill(
    count: Annotated[int, typer.Option(min=1, help="So many archived days are restored.")] = 3,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Choose the days of an earlier drill again.")
    ] = None,
    json: Json = False,
) -> None:
    """Restore archives chosen at random into a scratch place and schema, and compare them with what is live.

    Nothing live is changed. `lse status` shows how long ago the last drill was. Exit code 3 on differences.
    """
    from lse.pipeline.common import counted
    from lse.pipeline.drilling import Drilled
    from lse.pipeline.drilling import drill as restore_some

    def say(each: Drilled) -> None:
        if not json:
            outcome = "; ".join(each.problems) or f"{counted(each.runs, 'run')} came back whole"
            print_line(f"{each.project}/{each.date}  from the {each.source}  {outcome}")

    with resources() as opened:
        done = restore_some(opened, count, seed, say)
    code = 0 if done.sound else DifferencesFound.exit_code
    if json:
        print_json({"exit_code": code, **asdict(done)})
    else:
        print_line(f"seed {done.seed}")
    raise typer.Exit(code)
