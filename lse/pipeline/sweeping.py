"""`full_sweep`: the steps of a day in their order, each independent of those it does not need."""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TypeVar

from lse.archive.fetch_record import FetchRecord
from lse.archive.spool import remove_spool
from lse.errors import BusyError, LseError, TemporaryError
from lse.models import Progress, ProjectDay, StepResult
from lse.pipeline.common import forget_failure, happened, no_progress, note, settled
from lse.pipeline.fetching import fetch, require_begun
from lse.pipeline.loading import load
from lse.pipeline.packing import pack, upload
from lse.pipeline.projects import archived_projects, require_known, require_projects
from lse.pipeline.pruning import stays_pruned
from lse.pipeline.target_copy import find_copy, recipients
from lse.pipeline.tracing import span
from lse.pipeline.verifying import verify
from lse.resources import Resources
from lse.settings import as_error
from lse.sources import Project, Window

logger = logging.getLogger(__name__)

STEPS = ("fetch", "pack", "upload", "load", "verify")
"""The steps of a full sweep, in their order."""

_NEEDS = {"pack": "fetch", "upload": "pack", "load": "fetch", "verify": "fetch"}

_FUNCTIONS: dict[str, Callable[..., StepResult]] = {
    "fetch": fetch,
    "pack": pack,
    "upload": upload,
    "load": load,
    "verify": verify,
}

RunStep = Callable[[str, Resources, ProjectDay], StepResult]

BUSY_SECONDS = 300.0
"""How long a sweep waits for a day on which another process works, when it has nothing else to do."""

Done = TypeVar("Done")


def run_step(
    step: str, resources: Resources, day: ProjectDay, progress: Progress = no_progress, **flags: int
) -> StepResult:
    """Run the step called `step`, with its own `flags`. When it succeeds, the ledger forgets its failure."""
    with span(step, day) as tell:
        result = _FUNCTIONS[step](resources, day, progress, **flags)
        tell(result)
    if not result.exit_code:
        forget_failure(resources, day, step)
    return result


def full_sweep(
    resources: Resources,
    day: ProjectDay,
    *,
    skip: Collection[str] = (),
    force: bool = False,
    run: RunStep = run_step,
    tell: Callable[[StepResult], None] | None = None,
) -> list[StepResult]:
    """Run the steps that `skip` does not name, each through `run`; one result per step, in order.

    A step that fails does not stop the steps that do not need it. A settled day whose fetch was proved
    complete is fetched again only when the source counts more runs or feedback than then, or when `force`
    is given. Raises `BusyError` when another process sweeps the same day, and whatever makes every step
    pointless: a wrong day, key, project or configuration.
    """
    results: dict[str, StepResult] = {}
    _require_known(resources, day, fetched="fetch" not in skip)
    if "upload" not in skip:
        # What makes every upload fail shows before anything is done.
        resources.require_target()
        recipients(resources.settings)
    with resources.lock(day), span("full-sweep", day):
        happened(resources, "sweep.started", day)
        for step in STEPS:
            results[step] = _sweep_step(step, resources, day, skip, force, results, run)
            if tell is not None:
                tell(results[step])
        outcome = [[each.step, each.state, each.figures.get("seconds")] for each in results.values()]
        happened(resources, "sweep.finished", day, steps=outcome, exit_code=exit_code(results.values()))
    return list(results.values())


def in_turn(work: Callable[[], Done], seconds: float = BUSY_SECONDS) -> Done:
    """What `work` gives, begun again each second while another process works on its day.

    Raises `BusyError` when that lasts longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    said = False
    while True:
        try:
            return work()
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            if not said:
                logger.warning("%s Waiting for it.", error.message)
            said = True
            time.sleep(1)


def _require_known(resources: Resources, day: ProjectDay, *, fetched: bool) -> None:
    """Raise `UsageError` for a day or a project that was mistyped, before anything is noted of it."""
    if fetched:
        require_begun(resources, day)
        require_projects(resources, [day.project])
        return
    known = archived_projects(resources)
    if day.project not in known and not (resources.settings.target and find_copy(resources, day)):
        require_known([day.project], known)


def exit_code(results: Iterable[StepResult]) -> int:
    """The exit code of several steps: that of the first failure, else of the first that was not whole."""
    results = list(results)
    failed = [result.exit_code for result in results if result.state == "failed"]
    return next(iter(failed + [result.exit_code for result in results if result.exit_code]), 0)


def _sweep_step(
    step: str,
    resources: Resources,
    day: ProjectDay,
    skip: Collection[str],
    force: bool,
    results: dict[str, StepResult],
    run: RunStep,
) -> StepResult:
    needed = results.get(_NEEDS.get(step, ""))
    if step in skip:
        return StepResult(step, "skipped", "skipped, as asked")
    if needed is not None and needed.state in ("failed", "not run"):
        return StepResult(step, "not run", f"needs {needed.step}, which did not succeed")
    if step == "fetch" and not force and (record := _unchanged_since(resources, day)):
        remove_spool(resources.spool_folder(day))
        return StepResult("fetch", "unchanged", f"complete and settled since {record.fetched_at}")
    if result := stays_pruned(resources, day, step):
        return result
    begin = time.monotonic()
    try:
        result = run(step, resources, day)
    except (LseError, OSError) as failure:
        error = as_error(failure, resources.settings)
        logger.debug("The step %s of %s failed.", step, day, exc_info=True)
        result = StepResult(step, "failed", error.message, hint=error.hint, exit_code=error.exit_code)
        note(resources, day, failed_step=step, failure=error.message)
    seconds = round(time.monotonic() - begin, 3)
    return replace(result, figures={**result.figures, "seconds": seconds})


def _unchanged_since(resources: Resources, day: ProjectDay) -> FetchRecord | None:
    """The record of a settled day's fetch, unless the source counts more runs or feedback than it did then.

    Feedback may come long after a day has settled. The numbers alone do not show a record that was changed.
    """
    record = settled(resources, day)
    if record is None:
        return None
    window = Window(Project(record.project_id, day.project), day.start, day.end)
    try:
        now = resources.source.counts(window)
    except TemporaryError as error:
        logger.warning("Whether anything was added to %s since its fetch is not known: %s", day, error)
        return record
    if now is None:
        return record
    grown = now.runs > (record.server_runs or 0) or (now.feedback or 0) > (record.server_feedback or 0)
    return None if grown else record
