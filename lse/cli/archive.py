"""`lse archive`: the steps, one command each."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.archive.trace_file import DamagedArchive
from lse.cli.options import Date, Days, EndDate, Json, ProjectName, StartDate, days, resources
from lse.cli.output import print_json, print_result, progress_bar, result_document
from lse.errors import IncompleteError, TemporaryError
from lse.models.day import ProjectDay
from lse.models.results import Progress, StepResult

if TYPE_CHECKING:
    from lse.resources import Resources

app = typer.Typer(no_args_is_help=True)

Step = Callable[["Resources", ProjectDay, Progress], StepResult]


_PLAIN_STEPS = {
    "fetch": ("fetch", "Bring the trace files up to date with LangSmith, and prove that no run is missing."),
    "zip": ("pack", "Write the zip of each day from its trace files."),
    "upload": ("upload", "Put the zip of each day into the target and prove that its bytes arrived."),
    "to-db": ("load", "Load the trace files, or the zip where they are gone, into the runs store."),
}
"""Commands that take nothing but days: name → (step, help)."""


def _add_plain_step(name: str, step: str, text: str) -> None:
    @app.command(name, help=text)
    def command(
        project: ProjectName,
        date: Date = None,
        start_date: StartDate = None,
        end_date: EndDate = None,
        json: Json = False,
    ) -> None:
        def run(opened: "Resources", day: ProjectDay, progress: Progress) -> StepResult:
            from lse.pipeline import run_step

            return run_step(step, opened, day, progress)

        _run(run, project, days(date, start_date, end_date), json)


for _name, (_step, _text) in _PLAIN_STEPS.items():
    _add_plain_step(_name, _step, _text)


@app.command()
def verify(
    project: ProjectName,
    date: Date = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
    deep: Annotated[bool, typer.Option(help="Download the target's copy and read every byte.")] = False,
    json: Json = False,
) -> None:
    """Compare trace files, zip, target and store by id and content hash. Exit code 3 on differences."""
    from lse import pipeline

    def step(resources: "Resources", day: ProjectDay, progress: Progress) -> StepResult:
        return pipeline.verify(resources, day, progress, deep=deep)

    _run(step, project, days(date, start_date, end_date), json)


@app.command()
def restore(
    project: ProjectName,
    date: Date = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
    force: Annotated[bool, typer.Option(help="Replace other trace files; they are kept beside.")] = False,
    json: Json = False,
) -> None:
    """Bring trace files back from the target, or from the local zip when no target is set."""
    from lse import pipeline

    def step(resources: "Resources", day: ProjectDay, progress: Progress) -> StepResult:
        return pipeline.restore(resources, day, progress, force=force)

    _run(step, project, days(date, start_date, end_date), json)


@app.command("full-sweep")
def full_sweep(
    project: ProjectName,
    date: Date = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
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
    json: Json = False,
) -> None:
    """Fetch, pack, upload, load and verify. Steps that fail do not stop those that do not need them."""
    wanted = {"fetch": skip_fetch, "upload": skip_upload, "load": skip_db, "verify": skip_verify}
    skip = frozenset(step for step, skipped in wanted.items() if skipped)
    chosen = days(date, start_date, end_date)
    from lse.cli.sweep import sweep_days

    sweep_days(chosen.of(project), skip=skip, force=force, flow=flow, json=json)


def _run(step: Step, project: str, chosen: Days, json: bool) -> None:
    """Run one step on each day, print each result, and exit with the first code that is not 0."""
    documents: list[Mapping[str, Any]] = []
    codes: list[int] = []
    all_days = chosen.of(project)
    with resources() as opened:
        for day in all_days:
            try:
                with opened.lock(day), progress_bar(str(day)) as progress:
                    result = step(opened, day, progress)
            except (IncompleteError, TemporaryError, DamagedArchive) as error:
                if len(all_days) == 1:
                    raise
                result = StepResult("", "failed", error.message, hint=error.hint, exit_code=error.exit_code)
            codes.append(result.exit_code)
            documents.append({"project": project, "date": str(day.day), **result_document(result)})
            if not json:
                print_result(str(day), result)
    if json:
        print_json(documents[0] if len(all_days) == 1 else documents)
    raise typer.Exit(next((code for code in codes if code), 0))
