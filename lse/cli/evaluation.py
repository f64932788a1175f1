"""`lse eval`: datasets from archived traces, their copies in LangSmith, and evaluations of them."""

import json
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.cli.options import Json, resources, settings
from lse.cli.output import print_json, print_line, print_table, progress_bar, tell
from lse.cli.selection import Date, EndDate, Last, StartDate, days, utc_today
from lse.errors import DifferencesFound, UsageError

if TYPE_CHECKING:
    from lse.pipeline.evaluating import BuildRecord, EvaluationRequest, Plan

app = typer.Typer(no_args_is_help=True)

Dataset = Annotated[str, typer.Argument(help="A file, or a dataset that was built: NAME or NAME@HASH.")]

_ENDS = {"chat": ".chat.jsonl", "csv": ".csv", "parquet": ".parquet"}
"""How the name of a file that the user did not name ends: no form overwrites another's file."""

_BEST_100 = {"availability": "availability-best-100"}


Project = Annotated[str, typer.Option("--project", "-p", help="The LangSmith project.")]
Recipe = Annotated[str, typer.Option("--recipe", "--eval-type", help="The recipe; see `lse eval recipes`.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the dataset to this file.")]
Form = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="langsmith, chat, csv or parquet; by default as the file's name ends, else langsmith.",
    ),
]
Best100 = Annotated[
    bool, typer.Option("--best-100", help="The recipe's choice of a hundred, where it has one.")
]


@app.command("create-dataset")
def create_dataset(
    project: Project,
    recipe: Recipe,
    date: Date = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
    last: Last = None,
    output: Output = None,
    form: Form = None,
    name: Annotated[str | None, typer.Option(help="What the dataset is called.")] = None,
    best_100: Best100 = False,
    as_json: Json = False,
) -> None:
    """Build a dataset of the traces in the store that a recipe takes.

    Without `--output` it is written as NAME.jsonl, or NAME.chat.jsonl, NAME.csv, NAME.parquet by its form.
    The same runs and recipe give the same bytes. Exit code 3 when no trace becomes an example; nothing is
    written then.
    """
    from lse.pipeline import evaluating, require_readable

    chosen = days(date, start_date, end_date, last, utc_today())
    request = evaluating.DatasetRequest(
        project=project,
        start=chosen.start,
        end=chosen.end,
        recipe=_choice_of_a_hundred(recipe) if best_100 else recipe,
        name=name,
    )
    file = output or Path(f"{request.file_name}{_ENDS.get(form or '', '.jsonl')}")
    with resources() as opened:
        require_readable(opened, project)
        covered = evaluating.coverage(opened, request)  # first: what is loaded meanwhile is not promised
        tell(str(covered))
        record = evaluating.create_dataset(opened, request, file, form=form)
    for line in record.summary:
        tell(line)
    if as_json:
        print_json({**asdict(record), "id": record.id, "file": str(file), "coverage": covered.document})
    else:
        say = print_line if file.is_file() else tell  # a device may be stdout, which holds the examples
        say(f"{file}  {record.examples:,} examples  {record.id}  sha256 {record.content_sha256}")


def _choice_of_a_hundred(recipe: str) -> str:
    if recipe not in _BEST_100:
        raise UsageError(
            f"{recipe} has no choice of a hundred.", hint=f"Those that do: {', '.join(_BEST_100)}."
        )
    return _BEST_100[recipe]


@app.command()
def upload(
    dataset: Annotated[str, typer.Option("--dataset", help="A file, or a dataset that was built.")],
    name: Annotated[
        str | None, typer.Option(help="What it is called in LangSmith; by default as the file.")
    ] = None,
    description: Annotated[str, typer.Option(help="Said of the dataset when it is made.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace examples that differ.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove examples that only LangSmith has.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring a dataset in LangSmith to the examples of a file; doing it again writes nothing.

    Exit code 3 when examples there differ and were not to be replaced.
    """
    from lse.pipeline import evaluating

    with resources() as opened, progress_bar("upload") as progress:
        file, called = evaluating.dataset_file(opened.settings, dataset)
        plan = evaluating.upload_dataset(
            opened,
            file,
            name or called,
            description=description,
            overwrite=overwrite,
            prune=prune,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        print_json(_plan_document(plan, dry_run))
    else:
        print_line(_plan_line(plan, dry_run))
    if plan.kept_changed and not dry_run:
        raise typer.Exit(DifferencesFound.exit_code)


@app.command()
def run(
    dataset_name: Annotated[str, typer.Option(help="The dataset's name in LangSmith.")],
    experiment_prefix: Annotated[str, typer.Option(help="How the names of the experiments begin.")],
    eval_type: Annotated[str, typer.Option(help="The type of evaluation, as the service calls it.")],
    endpoint: Annotated[str | None, typer.Option(help="The service (LSE_EVAL_ENDPOINT).")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for all attempts together.")] = 300,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The key of an earlier request, whose answer was lost.")
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Send unsigned query parameters, as services of old take them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask an evaluation service to evaluate a dataset; what it answers is shown and recorded."""
    from lse.pipeline import evaluating
    from lse.pipeline.common import counted

    with resources() as opened:
        answered = evaluating.run_evaluation(
            opened,
            dataset_name,
            experiment_prefix,
            eval_type,
            endpoint=endpoint,
            legacy=legacy,
            key=_key(idempotency_key),
            timeout=timeout,
        )
    if as_json:
        print_json(_request_document(answered))
    else:
        attempts = counted(answered.attempts or 0, "attempt")
        print_line(f"{answered.status} after {attempts}, request {answered.request_id}")
        for line in (answered.answer or "").splitlines():
            print_line(line)
    if answered.status is not None:
        evaluating.require_success(answered.status)


@app.command()
def requests(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List what evaluation services were asked, the latest first."""
    from lse.pipeline import evaluating

    with resources() as opened:
        found = evaluating.evaluation_requests(opened, limit)
    if as_json:
        print_json([_request_document(request) for request in found])
        return
    rows = [
        [
            f"{request.requested_at:%Y-%m-%d %H:%M:%S}",
            request.dataset,
            request.eval_type,
            str(request.status or request.failure or "no answer"),
            str(request.request_id),
        ]
        for request in found
    ]
    print_table(["requested", "dataset", "type", "answer", "request"], rows)


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes: those of lse, and those in LSE_RECIPES_DIR."""
    from lse.pipeline import evaluating

    found = evaluating.recipes(settings())
    if as_json:
        print_json(found)
        return
    width = max(map(len, found))
    for name, summary in found.items():
        print_line(f"{name:<{width}}  {summary}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the datasets that were built, by name, the latest first."""
    from lse.pipeline import evaluating

    found = evaluating.built_datasets(settings())
    if as_json:
        print_json([_record_document(build.record, build.built_at) for build in found])
        return
    rows = [
        [
            build.record.id,
            str(build.record.examples),
            f"{build.record.start} to {build.record.end}",
            _time(build.built_at),
        ]
        for build in found
    ]
    print_table(["dataset", "examples", "days", "built"], rows)


@app.command()
def show(dataset: Annotated[str, typer.Argument(help="NAME, or NAME@HASH.")], as_json: Json = False) -> None:
    """Show what a dataset was built of, and which traces were dropped for what reason."""
    from lse.pipeline import evaluating

    build = evaluating.shown_dataset(settings(), dataset)
    document = {**_record_document(build.record, build.built_at), "file": str(build.path)}
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        print_line(f"{key:<15} {value if isinstance(value, str | int) else json.dumps(value)}")


@app.command()
def diff(one: Dataset, other: Dataset, as_json: Json = False) -> None:
    """Compare two datasets, example by example; exit code 3 when they differ."""
    from lse.pipeline import evaluating

    found = evaluating.diff_datasets(settings(), one, other)
    if as_json:
        print_json(asdict(found))
    else:
        for kind, keys in (("added", found.added), ("removed", found.removed)):
            for key in keys:
                print_line(f"{kind:<8} {key}")
        for key, names in found.changed.items():
            print_line(f"{'changed':<8} {key}  {', '.join(names)}")
        print_line(
            f"{len(found.added):,} added, {len(found.removed):,} removed, {len(found.changed):,} changed"
        )
    if found:
        raise typer.Exit(DifferencesFound.exit_code)


def _key(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        raise UsageError(
            "An idempotency key is a UUID.", hint="`lse eval requests` shows those in use."
        ) from None


def _plan_document(plan: "Plan", dry_run: bool) -> dict[str, Any]:
    return {
        "dataset": plan.dataset,
        "dry_run": dry_run,
        "add": sorted(map(str, plan.add)),
        "replace": sorted(map(str, plan.replace)),
        "remove": sorted(map(str, plan.remove)),
        "unchanged": plan.unchanged,
        "kept_changed": plan.kept_changed,
        "kept_extra": plan.kept_extra,
    }


def _plan_line(plan: "Plan", dry_run: bool) -> str:
    done = "to add, {} to replace, {} to remove" if dry_run else "added, {} replaced, {} removed"
    said = f"{plan.dataset}: {len(plan.add):,} {done.format(len(plan.replace), len(plan.remove))}"
    said += f", {plan.unchanged:,} unchanged"
    if plan.kept_changed:
        said += f"; {plan.kept_changed:,} differ and stay (--overwrite replaces them)"
    if plan.kept_extra:
        said += f"; {plan.kept_extra:,} are only in LangSmith (--prune removes them)"
    return said


def _record_document(record: "BuildRecord", built_at: float) -> dict[str, Any]:
    return {"id": record.id, **asdict(record), "built_at": _time(built_at)}


def _request_document(request: "EvaluationRequest") -> dict[str, Any]:
    return asdict(request)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
