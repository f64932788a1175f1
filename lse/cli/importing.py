"""`lse import`: what an earlier exporter left comes in, and goes out again if need be."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.cli.options import Json, resources
from lse.cli.output import (
    failed,
    print_json,
    print_line,
    print_result,
    print_table,
    progress_bar,
    result_document,
    tell,
)
from lse.cli.selection import Projects
from lse.errors import AccessError, ConfigurationError, IncompleteError, LseError, UsageError
from lse.models.choice import choose
from lse.models.day import ProjectDay
from lse.models.results import Progress, StepResult

if TYPE_CHECKING:
    from lse.archive.earlier import Unreadable
    from lse.archive.earlier_index import EarlierIndex
    from lse.archive.import_batch import Batch
    from lse.pipeline.importing import PlannedImport
    from lse.resources import Resources

Step = Callable[[ProjectDay, Progress], StepResult]

_FIGURES = ("runs", "traces", "feedback", "bytes", "further_versions", "new", "equal", "different")
_COLUMNS = ("project day", *(name.replace("_", " ") for name in _FIGURES))
_BATCH_COLUMNS = ("import", "began (UTC)", "days", "runs", "state", "source")
_SHOWN = 20
"""Unreadable files shown; --json lists them all."""


def import_(
    place: Annotated[
        str | None,
        typer.Option(
            "--from", help="The earlier tool's output folder, or its database: postgresql://user@host/name."
        ),
    ] = None,
    from_env: Annotated[
        str | None,
        typer.Option(help="The environment variable that holds the address; other users see no password."),
    ] = None,
    project: Projects = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come in; write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rollback: Annotated[
        str | None, typer.Option(metavar="IMPORT", help="Take an import back: files and rows as before it.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the imports that there were.")] = False,
    json: Json = False,
) -> None:
    """Import what an earlier exporter saved, a file per run or a table `runs`, and prove that it arrived."""
    if [place or from_env, rollback, list_ or None].count(None) != 2 or (place and from_env):
        raise UsageError(
            "Say what to do: import, roll back, or list.", hint="--from PLACE, --rollback IMPORT, or --list."
        )
    with resources() as opened:
        if list_:
            _print_imports(opened, json=json)
        elif rollback:
            _roll_back(opened, rollback, yes=yes, json=json)
        else:
            _import(opened, place or _variable(from_env or ""), project or [], dry_run, yes, json)


def _import(
    opened: "Resources", place: str, projects: Sequence[str], dry_run: bool, yes: bool, json: bool
) -> None:
    from lse.archive.earlier_index import EarlierIndex
    from lse.pipeline.common import counted
    from lse.pipeline.importing import begin_import, import_day, open_earlier, plan_import

    _require_somebody(yes=yes or dry_run)
    with progress_bar("reading") as progress:
        index = EarlierIndex(open_earlier(place), progress)
    with index:
        planned = plan_import(opened, index, _chosen(index, projects))
        if not json:
            _print_plan(planned, index)
        results: list[tuple[ProjectDay, StepResult]] = []
        name = None
        if not dry_run and planned:
            _ask(f"Import {counted(len(planned), 'project day')} into {opened.settings.data_dir}?", yes=yes)
            batch = begin_import(opened, index)
            name = batch.name

            def step(day: ProjectDay, progress: Progress) -> StepResult:
                return import_day(opened, batch, index, day, progress)

            results = _on_each("import", step, opened, [each.found.day for each in planned], json=json)
            _finish(batch, results, json=json)
        if json:
            print_json({"import": name, **_plan_document(planned, index), "results": _documents(results)})
        _exit(results, incomplete=bool(index.unreadable))


def _roll_back(opened: "Resources", name: str, *, yes: bool, json: bool) -> None:
    from lse.pipeline.common import counted
    from lse.pipeline.importing import batch_named, days_to_roll_back, roll_back_day

    batch = batch_named(opened, name)
    days = days_to_roll_back(batch)
    if days:
        _ask(f"Make {counted(len(days), 'project day')} what they were before the import {name}?", yes=yes)
    elif not json:
        print_line("nothing of this import is left to take back")

    def step(day: ProjectDay, progress: Progress) -> StepResult:
        return roll_back_day(opened, batch, day, progress)

    results = _on_each("rollback", step, opened, days, json=json)
    if json:
        print_json({"import": name, "results": _documents(results)})
    _exit(results)


def _on_each(
    name: str, step: Step, opened: "Resources", days: Sequence[ProjectDay], *, json: bool
) -> list[tuple[ProjectDay, StepResult]]:
    """What became of each day; a day that fails does not stop the others, a wrong setting does."""
    from lse.settings import as_error

    results: list[tuple[ProjectDay, StepResult]] = []
    for day in days:
        try:
            with opened.lock(day), progress_bar(str(day)) as progress:
                result = step(day, progress)
        except (LseError, OSError) as failure:
            result = failed(name, as_error(failure, opened.settings))
        if not json:
            print_result(str(day), result)
        results.append((day, result))
        if result.exit_code in (AccessError.exit_code, ConfigurationError.exit_code):
            break
    return results


def _finish(batch: "Batch", results: Sequence[tuple[ProjectDay, StepResult]], *, json: bool) -> None:
    """End the batch when every day is done; say how to take back what came in."""
    if all(result.state in ("done", "unchanged", "partial") for _, result in results):
        batch.finish()
    if json:
        return
    if any(done.changes for done in batch.done.values()):
        tell(f"lse: this was the import {batch.name}; `lse import --rollback {batch.name}` takes it back.")


def _exit(results: Sequence[tuple[ProjectDay, StepResult]], *, incomplete: bool = False) -> None:
    from lse.pipeline import exit_code

    raise typer.Exit(
        exit_code(result for _, result in results) or (IncompleteError.exit_code if incomplete else 0)
    )


def _chosen(index: "EarlierIndex", projects: Sequence[str]) -> list[str]:
    """The projects to import: those named, or else all that are there."""
    known = sorted({found.day.project for found in index.days})
    if not known:
        return []
    chosen = choose(projects, not projects, lambda: known)
    if missing := [name for name in chosen if name not in known]:
        raise UsageError(
            f"{index.source.name} holds nothing of the project {missing[0]!r}.",
            hint=f"It holds: {', '.join(known[:5])}.",
        )
    return chosen


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigurationError(
            f"The environment variable {name} is not set.", hint="Set it, or use --from."
        )
    return value


def _ask(question: str, *, yes: bool) -> None:
    _require_somebody(yes=yes)
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _require_somebody(*, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "Nobody is there to be asked.",
            hint="Say --yes; `lse import --from ... --dry-run` shows what comes in.",
        )


def _print_plan(planned: Sequence["PlannedImport"], index: "EarlierIndex") -> None:
    from lse.pipeline.common import counted

    if planned:
        rows = [_cells(str(each.found.day), _planned_document(each)) for each in planned]
        total = _total(planned)
        print_table(_COLUMNS, [*rows, _cells(counted(total["days"], "day"), total)])
        print_line(f"It takes about {total['seconds']:,.0f} s.")
    else:
        print_line("there is no run to import")
    for each in planned:
        if each.damage:
            tell(f"{each.found.day}: {each.damage}")
    _tell_unreadable(index.unreadable)


def _tell_unreadable(unreadable: Sequence["Unreadable"]) -> None:
    from lse.pipeline.common import counted

    if unreadable:
        tell(f"{counted(len(unreadable), 'file')} cannot be read, in whole or in part:")
    for each in unreadable[:_SHOWN]:
        tell(f"    {each.place}: {each.reason}")
    if len(unreadable) > _SHOWN:
        tell(f"    … and {len(unreadable) - _SHOWN} more; --json lists them all")


def _cells(label: str, document: Mapping[str, Any]) -> tuple[str, ...]:
    from lse.pipeline.common import sized

    figures = {name: f"{document[name]:,}" for name in _FIGURES}
    return label, *(figures | {"bytes": sized(document["bytes"])}).values()


def _total(planned: Sequence["PlannedImport"]) -> dict[str, Any]:
    documents = [_planned_document(each) for each in planned]
    return {
        "days": len(planned),
        **{name: sum(document[name] for document in documents) for name in _FIGURES},
        "seconds": round(_seconds(planned), 1),
    }


def _planned_document(planned: "PlannedImport") -> dict[str, Any]:
    found = planned.found
    return {
        "project": found.day.project,
        "date": found.day.day.isoformat(),
        "runs": found.runs,
        "traces": found.traces,
        "feedback": found.feedback,
        "bytes": found.size,
        "further_versions": found.twins,
        "new": planned.new,
        "equal": planned.equal,
        "different": planned.different,
        "damage": planned.damage or None,
    }


def _plan_document(planned: Sequence["PlannedImport"], index: "EarlierIndex") -> dict[str, Any]:
    return {
        "source": index.source.name,
        "days": [_planned_document(each) for each in planned],
        "total": _total(planned),
        "unreadable": [asdict(each) for each in index.unreadable],
    }


def _seconds(planned: Sequence["PlannedImport"]) -> float:
    from lse.pipeline.importing import RUNS_PER_SECOND

    return sum(each.found.runs + each.found.twins for each in planned) / RUNS_PER_SECOND


def _documents(results: Sequence[tuple[ProjectDay, StepResult]]) -> list[dict[str, Any]]:
    return [
        {"project": day.project, "date": day.day.isoformat(), **result_document(result)}
        for day, result in results
    ]


def _print_imports(opened: "Resources", *, json: bool) -> None:
    from lse.pipeline.importing import imports

    documents = [_import_document(batch) for batch in imports(opened)]
    if json:
        print_json(documents)
    elif documents:
        print_table(_BATCH_COLUMNS, [tuple(map(str, document.values())) for document in documents])
    else:
        print_line("there was no import")


def _import_document(batch: "Batch") -> dict[str, Any]:
    from lse.pipeline.importing import days_to_roll_back

    left = days_to_roll_back(batch)
    state = "imported" if batch.finished else "unfinished"
    if batch.undone:
        state = "partly rolled back" if left else "rolled back"
    return {
        "import": batch.name,
        "began": batch.began[:19],
        "days": sum(done.changes for done in batch.done.values()),
        "runs_added": sum(done.added for done in batch.done.values()),
        "state": state,
        "source": batch.source,
    }
