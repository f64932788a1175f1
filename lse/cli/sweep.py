"""`lse archive full-sweep`: the plain steps, or the Prefect flow around them."""

import importlib
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import typer

from lse.cli.options import export_flags, settings
from lse.cli.output import failed, print_json, print_result, progress_bar, result_document, tell
from lse.errors import BusyError, TemporaryError
from lse.models import ProjectDay, StepResult
from lse.pipeline import exit_code, full_sweep, in_turn, run_step
from lse.resources import Resources
from lse.settings import Settings


def sweep_days(
    opened: Resources,
    days: Sequence[ProjectDay],
    *,
    skip: Collection[str],
    force: bool,
    flow: bool | None,
    json: bool,
) -> None:
    """Sweep each day, print its results as they come, and exit with the first code that is not 0.

    A day of several on which another process works comes again after the others.
    """
    as_flow = bool(os.environ.get("PREFECT_API_URL")) if flow is None else flow

    def sweep(day: ProjectDay) -> list[StepResult]:
        if as_flow:
            return sweep_by_flow(day, skip, force, quiet=json)
        return _sweep(opened, day, skip, force, quiet=json)

    swept: dict[ProjectDay, list[StepResult]] = {}
    for day in days:
        try:
            swept[day] = sweep(day)
        except BusyError as error:
            if len(days) == 1:
                raise
            tell(f"{day}  sweep   busy        {error.message} It comes again after the others.")
    for day in [day for day in days if day not in swept]:
        swept[day] = _sweep_in_turn(sweep, day, quiet=json)
    if json:
        documents = [_document(day, swept[day]) for day in days]
        print_json(documents[0] if len(documents) == 1 else documents)
    raise typer.Exit(next((code for day in days if (code := exit_code(swept[day]))), 0))


def _sweep_in_turn(
    sweep: Callable[[ProjectDay], list[StepResult]], day: ProjectDay, *, quiet: bool
) -> list[StepResult]:
    """Sweep `day` once nobody else works on it; that it took too long is a result as well."""
    try:
        return in_turn(lambda: sweep(day))
    except BusyError as error:
        result = failed("sweep", error)
        _tell(day, result, quiet=quiet)
        return [result]


def _sweep(
    opened: Resources, day: ProjectDay, skip: Collection[str], force: bool, *, quiet: bool
) -> list[StepResult]:
    def run(step: str, opened: Resources, swept: ProjectDay) -> StepResult:
        with progress_bar(f"{swept} {step}", waited=opened.waited) as progress:
            return run_step(step, opened, swept, progress)

    return full_sweep(
        opened, day, skip=skip, force=force, run=run, tell=lambda result: _tell(day, result, quiet=quiet)
    )


def _tell(day: ProjectDay, result: StepResult, *, quiet: bool) -> None:
    if not quiet:
        print_result(str(day), result)


def sweep_by_flow(day: ProjectDay, skip: Collection[str], force: bool, *, quiet: bool) -> list[StepResult]:
    """Sweep one day by the Prefect flow, in this process; prints each result unless `quiet`.

    Raises `TemporaryError` when no Prefect server can be reached or started.
    """
    if not os.environ.get("PREFECT_API_URL") and "flows.full_sweep" not in sys.modules and not quiet:
        tell("Starting a temporary Prefect server; the first start takes some seconds.")
    prepare_prefect(settings())
    export_flags()
    flow = importlib.import_module("flows.full_sweep").full_sweep  # Prefect takes seconds to import
    skips = {f"skip_{'db' if step == 'load' else step}": True for step in skip}
    try:
        state = flow(project=day.project, date=day.day, force=force, **skips, return_state=True)
    except RuntimeError as error:
        raise TemporaryError(
            "Prefect could not be reached, or its temporary server did not start.",
            hint="Check PREFECT_API_URL, or run the plain steps with --no-flow.",
        ) from error
    results: list[StepResult] = state.result(raise_on_failure=False)
    for result in results:
        _tell(day, result, quiet=quiet)
    return results


def prepare_prefect(settings: Settings) -> None:
    """Let a flow run where no Prefect API is set: quiet, at home in the state directory, patient.

    The first start of Prefect's own temporary server takes up to 41 s on a busy machine (measured); its
    default patience is 20 s. What is set in the environment wins.
    """
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "lse")
    if os.environ.get("PREFECT_API_URL"):
        return
    home = (settings.state_dir / "prefect").absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)  # Prefect makes the folder, but not its parents
    defaults = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",  # each step's outcome is printed by the command itself
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _document(day: ProjectDay, results: Sequence[StepResult]) -> dict[str, Any]:
    return {
        "project": day.project,
        "date": day.day.isoformat(),
        "exit_code": exit_code(results),
        "steps": list(map(result_document, results)),
    }
