"""The flow `full-sweep`: one project day fetched, packed, uploaded, loaded and verified.

One task per step. The ledger and the archive are the checkpoint, so nothing is cached or persisted: a run
that is repeated finds out by itself what is already done.
"""

import datetime as dt
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State

from flows import _common
from lse.errors import LseError
from lse.models import ProjectDay, StepResult
from lse.pipeline import full_sweep as sweep
from lse.pipeline import run_step
from lse.resources import Resources
from lse.settings import load_settings


@task(**_common.STEP)
def step(name: str, resources: Resources, day: ProjectDay) -> StepResult:
    """One step of one project day. Only failures that may pass are retried."""
    return run_step(name, resources, day)


@flow(name="full-sweep", flow_run_name=_common.run_name, persist_result=False)
def full_sweep(
    project: str,
    date: dt.date | None = None,
    days_ago: int = 1,
    skip_fetch: bool = False,
    skip_upload: bool = False,
    skip_db: bool = False,
    skip_verify: bool = False,
    force: bool = False,
) -> State[Any]:
    """Archive one project day.

    Args:
        project: The LangSmith project.
        date: The UTC day; by default counted back from the day on which the run was due.
        days_ago: How many days to count back.
        skip_fetch: Work with the trace files that are there.
        skip_upload: Do not upload.
        skip_db: Do not load into the store.
        skip_verify: Do not compare the copies.
        force: Fetch again a day that is settled and complete.
    """
    day = ProjectDay(project, _common.the_day(date, days_ago))
    flags = {"fetch": skip_fetch, "upload": skip_upload, "load": skip_db, "verify": skip_verify}
    skip = {name for name, skipped in flags.items() if skipped}
    try:
        with Resources(load_settings()) as resources:
            results = sweep(resources, day, skip=skip, force=force, run=_run_as_task)
    except LseError as error:  # a busy day or a wrong setting: no step was begun
        results = [_common.failure(error)]
    _publish(day, results)
    return _common.final_state(results)


def _run_as_task(name: str, resources: Resources, day: ProjectDay) -> StepResult:
    return step.with_options(name=name, task_run_name=name)(name, resources, day)


def _publish(day: ProjectDay, results: list[StepResult]) -> None:
    """The summary as a table artifact, one history per project."""
    create_table_artifact(
        key=_common.artifact_key("full-sweep", day.project),
        table=[
            {
                "step": result.step,
                "state": result.state,
                "seconds": result.figures.get("seconds"),
                "summary": result.summary,
                "next": result.hint,
            }
            for result in results
        ],
        description=f"Full sweep of {day}",
    )
