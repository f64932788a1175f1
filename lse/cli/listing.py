"""`lse archive list`: which days are archived, and where their copies are."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line, print_table
from lse.cli.selection import Selection, may_select

if TYPE_CHECKING:
    from lse.pipeline import ListedDay


@may_select
def list_archived(
    selection: Selection,
    ask_target: Annotated[
        bool, typer.Option("--ask-target", help="Show what the target holds, also of days unknown here.")
    ] = False,
    json: Json = False,
) -> None:
    """Show each archived day: its counts, the sizes of its copies, and when they were last compared.

    Without projects and days, all that is archived. The ledger says where a day was uploaded to; what is
    there is only seen with --ask-target.
    """
    from lse.pipeline import archived_projects, list_days

    with resources() as opened:
        names = selection.names(lambda: archived_projects(opened))
        found = list_days(opened, names, ask_target=ask_target)
    span = selection.days
    chosen = [each for each in found if span is None or span.start <= each.date <= span.end]
    if json:
        print_json([asdict(each) for each in chosen])
    elif chosen:
        _print(chosen, ask_target=ask_target)
    else:
        print_line("nothing is archived")


def _print(days: Sequence["ListedDay"], *, ask_target: bool) -> None:
    third = "Target" if ask_target else "Uploaded to"
    columns = ("Day", "State", "Traces", "Runs", "Files", "Zip", third, "In store", "Verified")
    print_table(columns, [_cells(day, ask_target) for day in days])


def _cells(each: "ListedDay", ask_target: bool) -> tuple[str, ...]:
    return (
        str(each.day),
        {True: "complete", False: "partial", None: "unknown"}[each.complete],
        _number(each.traces),
        _number(each.runs),
        _copy(each, "files", each.files_bytes),
        _copy(each, "zip", each.zip_bytes),
        _target(each) if ask_target else _uploaded_to(each),
        _number(each.store_runs),
        _verified(each.verified_at, each.differences),
    )


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _copy(each: "ListedDay", name: str, size: int | None) -> str:
    from lse.pipeline.common import sized

    if size is not None:
        return sized(size)
    return "pruned" if name in each.pruned else "-"


def _target(each: "ListedDay") -> str:
    return _copy(each, "target", each.target_bytes) + (" age" if each.encrypted else "")


def _uploaded_to(each: "ListedDay") -> str:
    return "pruned" if "target" in each.pruned else each.uploaded_to or "-"


def _verified(time: datetime | None, differences: int | None) -> str:
    if time is None:
        return "never"
    return f"{time:%Y-%m-%d %H:%M}" + (f", {differences} differ" if differences else "")
