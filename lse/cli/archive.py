"""`lse archive`: the steps, one command each."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from lse.cli import listing, prune, to_db, verify
from lse.cli.options import Json, resources
from lse.cli.output import failed, print_json, print_result, progress_bar, result_document
from lse.cli.selection import Selection, may_select, takes_selection
from lse.errors import AccessError, ConfigurationError, LseError
from lse.models.choice import Known
from lse.models.day import ProjectDay
from lse.models.results import Progress, StepResult

if TYPE_CHECKING:
    from lse.resources import Resources

app = typer.Typer(no_args_is_help=True)

Step = Callable[["Resources", ProjectDay, Progress], StepResult]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would take and what expires when; write nothing.")
]


@app.command()
@takes_selection
def fetch(selection: Selection, dry_run: DryRun = False, json: Json = False) -> None:
    """Bring the trace files up to date with LangSmith, and prove that no run is missing."""
    with resources() as opened:
        chosen = selection.of(source_projects(opened))
        if dry_run:
            _print_plan(opened, chosen, json)
            return
        _run("fetch", _named("fetch"), opened, chosen, json)


@app.command("zip")
@takes_selection
def pack(selection: Selection, json: Json = False) -> None:
    """Write the zip of each day from its trace files."""
    run_archived("pack", _named("pack"), selection, json)


@app.command()
@takes_selection
def upload(
    selection: Selection,
    force: Annotated[bool, typer.Option(help="Replace what is in the target and cannot be read.")] = False,
    json: Json = False,
) -> None:
    """Put the zip of each day into the target, encrypted if set so, and prove that its bytes arrived.

    What holds more in the target is never replaced.
    """
    run_archived("upload", _named("upload", force=force), selection, json)


@app.command()
@may_select
def restore(
    selection: Selection,
    trace: Annotated[
        UUID | None, typer.Option(help="Bring back this trace alone; its project and day are looked up.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace other trace files; they are kept beside.")] = False,
    json: Json = False,
) -> None:
    """Bring trace files back from the target, or from the local zip when no target is set."""
    from lse import pipeline

    def step(resources: "Resources", day: ProjectDay, progress: Progress) -> StepResult:
        if trace is not None:
            return pipeline.restore_trace(resources, day, trace, progress, force=force)
        return pipeline.restore(resources, day, progress, force=force)

    if trace is None or (selection.days is not None and selection.projects):
        run_archived("restore", step, selection, json)
        return
    with resources() as opened:
        _run("restore", step, opened, [_day_of(opened, selection, trace)], json)


def _day_of(opened: "Resources", selection: Selection, trace: UUID) -> ProjectDay:
    """The day of a trace, among the projects and days that were given. Raises `UsageError`."""
    from lse.pipeline import day_of_trace

    names, span = selection.names(archived_projects(opened)), selection.days

    def is_wanted(day: ProjectDay) -> bool:
        in_span = span is None or span.start <= day.day <= span.end
        return in_span and (names is None or day.project in names)

    return day_of_trace(opened, trace, is_wanted)


@app.command()
@takes_selection
def log(selection: Selection, json: Json = False) -> None:
    """Show which fetches changed what: runs added, changed, vanished at LangSmith; feedback; content hash."""
    from lse.cli.log import print_log
    from lse.pipeline import require_archived

    with resources() as opened:
        chosen = selection.of(archived_projects(opened))
        require_archived(opened, {day.project for day in chosen})
        print_log(opened, chosen, json=json)


@app.command("full-sweep")
@takes_selection
def full_sweep(
    selection: Selection,
    skip_fetch: Annotated[
        bool, typer.Option("--skip-fetch", help="Work with the trace files that are there.")
    ] = False,
    skip_upload: Annotated[bool, typer.Option("--skip-upload", help="Do not upload.")] = False,
    skip_db: Annotated[bool, typer.Option("--skip-db", help="Do not load into the store.")] = False,
    skip_verify: Annotated[bool, typer.Option("--skip-verify", help="Do not compare the copies.")] = False,
    force: Annotated[bool, typer.Option(help="Fetch again a day that is settled and complete.")] = False,
    flow: Annotated[
        bool | None,
        typer.Option("--flow/--no-flow", help="Run as a Prefect flow. Default: when a Prefect API is set."),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fetch, pack, upload, load and verify. Steps that fail do not stop those that do not need them."""
    wanted = {"fetch": skip_fetch, "upload": skip_upload, "load": skip_db, "verify": skip_verify}
    skip = frozenset(step for step, skipped in wanted.items() if skipped)
    from lse.cli.sweep import sweep_days
    from lse.pipeline import require_projects

    with resources() as opened:
        chosen = selection.of(archived_projects(opened) if skip_fetch else source_projects(opened))
        if dry_run:
            _print_plan(opened, chosen, json, trust_settled=not force)
            return
        if not skip_fetch:
            require_projects(opened, dict.fromkeys(day.project for day in chosen))
        sweep_days(opened, chosen, skip=skip, force=force, flow=flow, json=json)


app.command("to-db")(to_db.to_db)
app.command("verify")(verify.verify)
app.command("undo")(verify.undo)
app.command("list")(listing.list_archived)
app.command("prune")(prune.prune)


def source_projects(opened: "Resources") -> Known:
    """The projects at LangSmith."""
    return lambda: [project.name for project in opened.source.projects()]


def archived_projects(opened: "Resources") -> Known:
    """The projects of which something is archived."""
    from lse.pipeline import archived_projects as known

    return lambda: known(opened)


def _named(step: str, **flags: bool) -> Step:
    def run(opened: "Resources", day: ProjectDay, progress: Progress) -> StepResult:
        from lse.pipeline import run_step

        return run_step(step, opened, day, progress, **flags)

    return run


def _print_plan(
    opened: "Resources", days: Sequence[ProjectDay], json: bool, *, trust_settled: bool = False
) -> None:
    from lse.cli.plan import print_plan

    print_plan(opened, days, trust_settled=trust_settled, json=json)


def run_archived(name: str, step: Step, selection: Selection, json: bool) -> None:
    """Run one step on the selected days of what is archived; see `_run`."""
    with resources() as opened:
        _run(name, step, opened, selection.of(archived_projects(opened)), json)


def _run(name: str, step: Step, opened: "Resources", days: Sequence[ProjectDay], json: bool) -> None:
    """Run one step on each day, print each result, and exit with the first code that is not 0."""
    from lse.settings import as_error

    documents: list[Mapping[str, Any]] = []
    codes: list[int] = []
    for day in days:
        try:
            with opened.lock(day), progress_bar(str(day), waited=opened.waited) as progress:
                result = step(opened, day, progress)
        except (LseError, OSError) as failure:
            if len(days) == 1:
                raise
            result = failed(name, as_error(failure, opened.settings))
        codes.append(result.exit_code)
        documents.append({"project": day.project, "date": str(day.day), **result_document(result)})
        if not json:
            print_result(str(day), result)
        if result.exit_code in (AccessError.exit_code, ConfigurationError.exit_code):
            break  # no other day would fare better
    if json:
        print_json(documents[0] if len(days) == 1 else documents)
    raise typer.Exit(next((code for code in codes if code), 0))
