"""`lse runs` and `lse trace`: look at what the store holds, run by run.

Text of traces is printed when it is asked for: by `--json` of `show`, `--inputs`, `--outputs`, `--errors`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_data, print_line, print_table, tell
from lse.cli.selection import Date, EndDate, Last, StartDate, days, utc_today
from lse.errors import UsageError
from lse.formats import visible
from lse.models.day import ProjectDay, parse_day

if TYPE_CHECKING:
    from lse.store.reading import Page, Place, Reader, RunLine

app = typer.Typer(no_args_is_help=True)
trace_app = typer.Typer(no_args_is_help=True)

_COLUMNS = ("name", "type", "status", "seconds", "tokens", "cost", "run")

Project = Annotated[str, typer.Option("--project", "-p", help="The project.")]
Errors = Annotated[bool, typer.Option("--errors", help="Show the beginning of each error.")]
Inputs = Annotated[bool, typer.Option("--inputs", help="Show the inputs.")]
Outputs = Annotated[bool, typer.Option("--outputs", help="Show the outputs.")]
After = Annotated[str | None, typer.Option(help="Go on behind this cursor, which the page before gave.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many runs.")]
Identifier = Annotated[str, typer.Argument(help="The id of a run, a trace or a feedback record.")]


@app.command("list")
def list_runs(
    project: Project,
    date: Annotated[str, typer.Option("--date", "-d", help="The UTC day, YYYY-MM-DD.")],
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    status: Annotated[str | None, typer.Option(help="Only with this status, such as error.")] = None,
    run_type: Annotated[str | None, typer.Option("--type", help="Only of this type, such as llm.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    limit: Limit = 100,
    after: After = None,
    whole: Annotated[bool, typer.Option("--all", help="Every run of the day instead of a page.")] = False,
    errors: Errors = False,
    json: Json = False,
) -> None:
    """List the runs of one day, in the order of their ids, which is mostly that of time."""
    from lse.pipeline import require_readable
    from lse.store.reading import Filters, Page

    day = ProjectDay(project, parse_day(date))
    filters = Filters(name, status, run_type, tag)
    with resources() as opened:
        require_readable(opened, project)
        if whole and not json:
            for run in opened.reader.all_runs(day, filters):
                _print_flat(run, errors)
            return
        page = (
            Page(list(opened.reader.all_runs(day, filters)), None)
            if whole
            else opened.reader.runs(day, filters, after=after, limit=limit)
        )
    _print_page(page, errors, json)


@app.command()
def show(
    identifier: Identifier, inputs: Inputs = False, outputs: Outputs = False, json: Json = False
) -> None:
    """Show one run, or the root run of a trace; with --json all of it, as LangSmith served it."""
    with resources() as opened:
        place = _found(opened.reader, identifier)
        place = replace(place, run_id=place.run_id or place.trace_id)
        run = next((n.run for n in opened.reader.trace(place) if n.run.run_id == place.run_id), None)
        if run is None:
            raise UsageError(
                f"Trace {place.trace_id} is in the store without its root run.",
                hint=f"See its other runs: lse trace show {place.trace_id}",
            )
        texts = dict(_payloads(opened.reader, place)) if json or inputs or outputs else {}
    if json:
        _print_json({**_document(run, errors=True), "data": texts[run.run_id]})
        return
    for field, value in _document(run, errors=False).items():
        print_line(f"{field:<18} {_shown(value)}")
    _print_payload(texts.get(run.run_id), inputs, outputs)


@trace_app.command("show")
def show_trace(
    identifier: Identifier,
    inputs: Inputs = False,
    outputs: Outputs = False,
    errors: Errors = False,
    json: Json = False,
) -> None:
    """Show a trace as a tree: each run below the one that called it. Any id of the trace will do."""
    with resources() as opened:
        place = replace(_found(opened.reader, identifier), run_id=None)
        tree = opened.reader.trace(place)
        texts = dict(_payloads(opened.reader, place)) if json or inputs or outputs else {}
    if json:
        runs = [
            {"depth": node.depth, **_document(node.run, errors=True), "data": texts[node.run.run_id]}
            for node in tree
        ]
        _print_json(
            {"project": place.project, "run_date": place.run_date, "trace_id": place.trace_id, "runs": runs}
        )
        return
    print_line(f"trace {place.trace_id} of {place.project}/{place.run_date}")
    print_table(_COLUMNS, [_cells(node.run, "  " * node.depth) for node in tree])
    for node in tree:
        if (errors and node.run.error) or inputs or outputs:
            print_line(f"{node.run.name or '-'} {node.run.run_id}")
            _print_error(node.run, errors)
            _print_payload(texts.get(node.run.run_id), inputs, outputs)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help='Words; `"two words"`, `or` and `-word` are understood.')],
    project: Annotated[str | None, typer.Option("--project", "-p", help="One project; else all.")] = None,
    date: Date = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
    last: Last = None,
    substring: Annotated[
        bool, typer.Option("--substring", help="Look for the text as it is, also inside of words.")
    ] = False,
    limit: Limit = 20,
    after: After = None,
    errors: Errors = False,
    json: Json = False,
) -> None:
    """Find runs by the words in their name, error, inputs and outputs, the latest days first."""
    from lse.pipeline import require_readable

    chosen = days(date, start_date, end_date, last, utc_today())
    with resources() as opened:
        if project is not None:
            require_readable(opened, project)
        page = opened.reader.search(
            text, chosen.start, chosen.end, project, substring=substring, after=after, limit=limit
        )
    _print_page(page, errors, json)


@app.command()
def changes(after: After = None, limit: Limit = 1_000, errors: Errors = False, json: Json = False) -> None:
    """List the runs that were loaded or changed since a cursor, and the cursor for the next time."""
    with resources() as opened:
        page = opened.reader.changes(after, limit=limit)
    if json:
        _print_page(page, errors, json)
        return
    for run in page.runs:
        _print_flat(run, errors)
    tell(f"lse: next time: --after {page.cursor}" if page.cursor else "lse: there is no run yet")


def _found(reader: "Reader", identifier: str) -> "Place":
    try:
        id = UUID(identifier.strip())
    except ValueError:
        raise UsageError(f"{identifier!r} is not an id.", hint="An id is a UUID of 36 characters.") from None
    place = reader.find(id)
    if place is None:
        raise UsageError(
            f"The store holds no run, trace or feedback {id}.",
            hint="Only loaded days are looked at: lse archive to-db loads one.",
        )
    return place


def _payloads(reader: "Reader", place: "Place") -> Iterable[tuple[UUID, msgspec.Raw]]:
    return ((run_id, msgspec.Raw(text.encode())) for run_id, text in reader.payloads(place))


def _print_json(value: Any) -> None:
    """Write one JSON document; text that is JSON already (`msgspec.Raw`) keeps every digit of its numbers."""
    print_data(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _document(run: "RunLine", *, errors: bool) -> dict[str, Any]:
    document = asdict(run)
    if not errors:
        del document["error"]
    return document


def _print_page(page: "Page", errors: bool, json: bool) -> None:
    if json:
        runs = [_document(run, errors=errors) for run in page.runs]
        _print_json({"runs": runs, "cursor": page.cursor})
        return
    for run in page.runs:
        _print_flat(run, errors)
    if page.cursor:
        tell(f"lse: more: --after {page.cursor}")
    if not page.runs:
        tell("lse: no runs")


def _print_flat(run: "RunLine", errors: bool) -> None:
    """A run on a line of its own, the parts at fixed places."""
    name, kind, status, seconds, tokens, cost, run_id = _cells(run)
    print_line(
        f"{run.start_time:%Y-%m-%d %H:%M:%S}  {run_id}  {status:<8} {kind:<10}"
        f" {seconds:>9} {tokens:>8} {cost:>10}  {run.project}  {name}"
    )
    _print_error(run, errors)


def _print_error(run: "RunLine", errors: bool) -> None:
    if errors and run.error:
        print_line(f"    {run.error}")


def _cells(run: "RunLine", indent: str = "") -> Sequence[str]:
    return (
        f"{indent}{run.name or '-'}",
        run.run_type or "-",
        run.status or "-",
        "-" if run.latency is None else f"{run.latency:.2f}",
        "-" if run.total_tokens is None else f"{run.total_tokens:,}",
        "-" if run.total_cost is None else f"{run.total_cost:.6f}",
        str(run.run_id),
    )


def _shown(value: Any) -> str:
    return "-" if value is None else ", ".join(value) if isinstance(value, list) else str(value)


def _print_payload(text: msgspec.Raw | None, inputs: bool, outputs: bool) -> None:
    """The asked-for members of a run, indented; control characters are left out."""
    if text is None:
        return
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    for name in [name for name, wanted in (("inputs", inputs), ("outputs", outputs)) if wanted]:
        pretty = msgspec.json.format(bytes(members.get(name, msgspec.Raw(b"null"))), indent=2).decode()
        print_data(visible(f"{name}: {pretty}") + "\n")
