"""What the flows share: which failures are retried, how runs are named, which day is meant, how runs end."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from lse.errors import LseError, TemporaryError
from lse.models import StepResult
from lse.pipeline import exit_code
from lse.pipeline.common import counted

Skippable = Literal["fetch", "upload", "db", "verify"]
"""A step that a sweep may leave out, as on the command line."""

AtOnce = Annotated[int, Field(ge=1, le=16)]
"""How many project days are worked on side by side in one flow run."""

_ARTIFACT_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_OTHER = re.compile(r"[^a-z0-9]+")

STEP_RETRY_DELAYS: list[float] = [30, 300]
"""Seconds. HTTP calls retry by themselves for minutes, so a step that failed is given a longer rest."""


def is_temporary(task: Any, run: Any, state: State[Any]) -> bool:  # noqa: ARG001 - the form Prefect asks for
    """Whether a failed step may succeed when run again."""
    return isinstance(state.result(raise_on_failure=False), TemporaryError)


def due_date() -> date:
    """The UTC day on which the flow run was due; a late or retried run keeps it."""
    return (flow_run.scheduled_start_time or datetime.now(UTC)).astimezone(UTC).date()


def the_day(given: date | None, days_ago: int = 1) -> date:
    """`given`, else the UTC day so long before the flow run was due."""
    return given or due_date() - timedelta(days=days_ago)


def run_name() -> str:
    """`full-sweep/chat/2025-09-13`: the flow, the project and the day."""
    values = flow_run.parameters
    day = values.get("date") or the_day(None, values.get("days_ago") or 1)
    return f"{flow_run.flow_name}/{values['project']}/{day}"


def report_run_name() -> str:
    """`report/zenrows-errors/chat/2025-09-13`: the report, the project and the first day."""
    values = flow_run.parameters
    project = values.get("project") or "all"
    return f"report/{values.get('name')}/{project}/{values.get('start') or the_day(None)}"


def projects_run_name() -> str:
    """`sweep/chat-*/2025-09-13`: the flow, the projects, and the range or the day on which it was due."""
    values = flow_run.parameters
    start, end = values.get("start"), values.get("end")
    when = f"{start} to {end}" if start else str(due_date())
    return f"{flow_run.flow_name}/{' '.join(values.get('projects') or ['*'])}/{when}"


def due_run_name() -> str:
    """`alerts/2025-09-13 14:45`: the flow, and the minute, UTC, at which it was due."""
    due = flow_run.scheduled_start_time or datetime.now(UTC)
    return f"{flow_run.flow_name}/{due.astimezone(UTC):%Y-%m-%d %H:%M}"


def artifact_key(*parts: str) -> str:
    """A key of the letters Prefect allows, which keeps projects apart that differ in other letters."""
    name = "-".join(parts)
    if _ARTIFACT_KEY.fullmatch(name):
        return name
    readable = _OTHER.sub("-", name.lower()).strip("-")
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def failure(error: LseError) -> StepResult:
    """What is said of work that could not begin."""
    return StepResult("sweep", "failed", error.message, hint=error.hint, exit_code=error.exit_code)


def wrong(results: Sequence[StepResult]) -> list[StepResult]:
    """Those of `results` that are not as they should be."""
    return [result for result in results if result.exit_code or result.state in ("failed", "not run")]


def said(results: Sequence[StepResult]) -> str:
    """`upload failed: ...; verify not run: ...`, of what is not as it should be."""
    return "; ".join(f"{result.step} {result.state}: {result.summary}" for result in wrong(results))


def final_state(results: Sequence[StepResult]) -> State[Any]:
    """Completed when every step was, else Failed; the message counts and names what was not.

    Prefect calls a flow completed whatever its tasks did, unless the flow says otherwise.
    """
    if not exit_code(results) and not wrong(results):
        return Completed(message=f"{counted(len(results), 'step')} done", data=list(results))
    message = f"{len(wrong(results))} of {counted(len(results), 'step')}: {said(results)}"
    return Failed(message=message, data=list(results))


ONCE: dict[str, Any] = {
    "cache_policy": NO_CACHE,  # the ledger and the archive say what is done, not a key
    "persist_result": False,
}
"""The options of a task that is not retried."""

STEP: dict[str, Any] = {
    "retries": len(STEP_RETRY_DELAYS),
    "retry_delay_seconds": STEP_RETRY_DELAYS,
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_temporary,
    **ONCE,
}
"""The options of a task that does one step; only failures that may pass are retried."""
