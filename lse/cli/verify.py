"""`lse archive verify` and `lse archive undo`: what differs, what is repaired, and what is taken back."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.cli.options import Json, resources
from lse.cli.output import failed, print_data, print_json, print_line, print_result, progress_bar, tell
from lse.cli.output import result_document as document_of
from lse.cli.selection import Selection, may_select
from lse.errors import AccessError, ConfigurationError, LseError, UsageError
from lse.models.day import ProjectDay

if TYPE_CHECKING:
    from lse.formats import Document
    from lse.pipeline.repairing import Fixed, Only, Repair
    from lse.pipeline.verifying import Depth
    from lse.resources import Resources
    from lse.verify import Difference

_SAMPLE = re.compile(r"([0-9]{1,6})/([1-9][0-9]{0,5})")
_COLUMNS = ("Project", "Date", "Kind", "Copy", "Item", "Trace", "Run", "Feedback")


class Form(StrEnum):
    """How differences are exported."""

    CSV = "csv"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks of each day."""

    depth: "Depth"
    source: bool
    fix: bool
    only: "Only | None"
    yes: bool
    quiet: bool


@may_select
def verify(
    selection: Selection,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare noted counts, sizes and hashes; read no content.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the target's copy too, and each column of the store's rows.")
    ] = False,
    sample: Annotated[
        str | None, typer.Option(help="Part n of t of all archived days, such as 7/30; needs no dates.")
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Ask LangSmith, too, how many runs it counts.")
    ] = False,
    detailed: Annotated[bool, typer.Option("--detailed", help="A line for every item, run by run.")] = False,
    form: Annotated[
        Form | None, typer.Option("--format", help="Write the differences, run by run, in this form.")
    ] = None,
    fix_missing: Annotated[
        bool, typer.Option("--fix-missing", help="Repair from a good copy, after a plan and a question.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Repair only this, such as missing-in-db, damaged-zip; may be given repeatedly."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without a question.")] = False,
    json: Json = False,
) -> None:
    """Compare trace files, zip, target, store and ledger by id and content hash. Exit code 3 on differences.

    It reads only, except with --fix-missing. What a repair replaces is put aside, and `lse archive undo`
    brings it back.
    """
    from lse.pipeline.repairing import parse_only

    if quick and (deep or fix_missing):
        raise UsageError("--quick reads too little for that.", hint="Leave --quick out.")
    depth: Depth = "deep" if deep else "quick" if quick else "default"
    quiet = json or form is not None
    asked = _Asked(depth, source, fix_missing, parse_only(only or ()), yes, quiet)
    with resources() as opened:
        done = list(_verified(opened, _days(opened, selection, sample), asked, detailed=detailed))
    if form is not None:
        print_data(_exported(done, form.value))
    elif json:
        documents = [_document(day, fixed) for day, fixed in done]
        print_json(documents[0] if len(documents) == 1 and sample is None else documents)
    elif not done:
        print_line("no archived day belongs to this part")
    raise typer.Exit(next((fixed.result.exit_code for _, fixed in done if fixed.result.exit_code), 0))


def undo(
    batch: Annotated[str | None, typer.Argument(help="The repair; by default the last one.")] = None,
    json: Json = False,
) -> None:
    """Take back what `lse archive verify --fix-missing` changed, byte for byte and row for row."""
    from lse.pipeline.undoing import undo as take_back

    with resources() as opened:
        taken, result = take_back(opened, batch)
    if json:
        print_json({"project": taken.day.project, "date": str(taken.day.day), **document_of(result)})
    else:
        print_result(str(taken.day), result)


def _days(opened: "Resources", selection: Selection, sample: str | None) -> Sequence[ProjectDay]:
    from lse.pipeline import archived_projects, require_archived, rotation

    if sample is None:
        return selection.of(lambda: archived_projects(opened))
    match = _SAMPLE.fullmatch(sample)
    if match is None:
        raise UsageError(
            f"{sample!r} is not a part such as 7/30.",
            hint="--sample n/t; with n = the day's number, t nights see every day.",
        )
    names = selection.names(lambda: archived_projects(opened))
    require_archived(opened, names or ())
    return rotation(opened, names, int(match[1]), int(match[2]))


def _verified(
    opened: "Resources", days: Sequence[ProjectDay], asked: _Asked, *, detailed: bool
) -> Iterator[tuple[ProjectDay, "Fixed"]]:
    """The outcome of each day, printed as it comes."""
    for day in days:
        fixed = _verified_day(opened, day, asked, alone=len(days) == 1)
        if not asked.quiet:
            _print(day, fixed, detailed=detailed)
        yield day, fixed
        if fixed.result.exit_code in (AccessError.exit_code, ConfigurationError.exit_code):
            break  # no other day would fare better


def _verified_day(opened: "Resources", day: ProjectDay, asked: _Asked, *, alone: bool) -> "Fixed":
    from lse.pipeline.copies import Copies
    from lse.pipeline.repairing import Fixed, compare_and_fix
    from lse.settings import as_error

    def agree(repairs: Sequence["Repair"]) -> bool:
        return asked.fix and _agreed(day, repairs, asked)

    try:
        with opened.lock(day), progress_bar(str(day), waited=opened.waited) as progress:
            return compare_and_fix(
                opened, day, progress, agree=agree, only=asked.only, depth=asked.depth, source=asked.source
            )
    except (LseError, OSError) as failure:
        if alone:
            raise
        return Fixed(failed("verify", as_error(failure, opened.settings)), Copies())


def _agreed(day: ProjectDay, repairs: Sequence["Repair"], asked: _Asked) -> bool:
    """Show the plan, and ask unless --yes was given; without a terminal to ask on, nothing is changed."""
    if not asked.quiet:
        for each in repairs:
            print_line(f"{day}  plan    {each}")
    if asked.yes:
        return True
    if asked.quiet or not sys.stdin.isatty():
        tell("    Nothing is repaired without --yes.")
        return False
    return typer.confirm(f"Repair {day}?", err=True)


def _print(day: ProjectDay, fixed: "Fixed", *, detailed: bool) -> None:
    result = fixed.result
    if detailed and fixed.copies.differences:
        for difference in _items(fixed):
            print_line(f"{day}  {difference.kind:<7} {difference}")
        result = replace(result, details=())
    print_result(str(day), result)
    for each, error in fixed.failed:
        tell(f"    {each.copy} was not repaired: {error.message}")
    if fixed.batch is not None:
        tell(f"    To take the repair back: lse archive undo {fixed.batch.name}")


def _items(fixed: "Fixed") -> Iterator["Difference"]:
    for difference in fixed.copies.differences:
        yield from difference.each()


def _document(day: ProjectDay, fixed: "Fixed") -> dict[str, Any]:
    """One day as JSON."""
    items = (
        {
            "kind": each.kind,
            "copy": each.copy,
            "item": each.item,
            "trace_id": each.trace_id,
            "run_id": next(iter(each.run_ids), None),
            "feedback_id": each.feedback_id,
        }
        for each in _items(fixed)
    )
    return {
        "project": day.project,
        "date": str(day.day),
        **document_of(fixed.result),
        "differences": list(items),
        "plan": [str(each) for each in fixed.repairs],
        "batch": fixed.batch.name if fixed.batch else None,
        "not_repaired": [f"{each.copy}: {error.message}" for each, error in fixed.failed],
    }


def _exported(done: Sequence[tuple[ProjectDay, "Fixed"]], form: str) -> "Document":
    from lse.formats import Table, render

    rows = [
        (
            day.project,
            str(day.day),
            each.kind,
            each.copy,
            each.item,
            str(each.trace_id or ""),
            str(next(iter(each.run_ids), "")),
            str(each.feedback_id or ""),
        )
        for day, fixed in done
        for each in _items(fixed)
    ]
    return render(Table(_COLUMNS, rows), form)
