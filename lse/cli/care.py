"""`lse db retain` and `lse db search-index`: what keeps a database that grows in shape."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line, print_table, tell
from lse.errors import UsageError

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
    if not months:
        print_line("no month is older than that")
        return
    rows = [(m.month, m.state, f"{m.runs:,} runs", f"{m.size / 1e6:,.0f} MB") for m in months]
    print_table(("month", "", "", ""), rows)
    for month in months:
        for obstacle in month.obstacles[:10]:
            print_line(f"    {month.month}: {obstacle}")
        if len(month.obstacles) > 10:
            print_line(f"    {month.month}: … and {len(month.obstacles) - 10} more; --json lists them all")
    if not yes:
        tell("    Nothing was changed. --yes does it.")
