"""Project days in a flow: a task per day, a task per step, and what people see of them.

The ledger and the archive are the checkpoint, so nothing is cached or persisted: a run that is repeated finds
out by itself what is already done.
"""

import time
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import _common
from flows._spread import Engine, Lend, spread
from lse.errors import LseError, unexpected
from lse.models import ProjectDay, StepResult
from lse.models.choice import choose
from lse.pipeline import archived_projects, full_sweep, in_turn, run_step
from lse.pipeline.common import counted
from lse.resources import Resources
from lse.settings import as_error

SHOWN = 500
"""Rows of a table artifact; the server refuses events above 1.5 MB (measured)."""

_NAMED = 10
"""How many days that are not as they should be the message of a flow's end names."""

LIMIT = "lse-project-days"
"""The global limit on project days worked on at once, over all machines; without it on the server, none."""

Work = Callable[[Resources, ProjectDay], Sequence[StepResult]]


@dataclass(frozen=True, slots=True)
class DayDone:
    """What was done of one project day.

    `waited` are the seconds of it that the source's rates cost, `requests` those that the source was sent.
    """

    day: ProjectDay
    results: tuple[StepResult, ...]
    seconds: float = 0.0
    waited: float = 0.0
    requests: int = 0

    @property
    def good(self) -> bool:
        """Whether every step is as it should be."""
        return not _common.wrong(self.results)

    @property
    def partial(self) -> bool:
        """Whether no step failed, but something is missing or differs."""
        return not self.good and not any(result.state == "failed" for result in self.results)


@task(**_common.STEP)
def step(name: str, resources: Resources, day: ProjectDay) -> StepResult:
    """One step of one project day. Only failures that may pass are retried."""
    try:
        return run_step(name, resources, day)
    except LseError as error:
        raise error from None  # Prefect stores the whole chain, and what others raised may quote anything
    except OSError as error:
        raise as_error(error, resources.settings) from None
    except Exception as error:  # noqa: BLE001 - the last resort, for the same reason
        raise unexpected(error) from None


def run_as_task(name: str, resources: Resources, day: ProjectDay) -> StepResult:
    """One step as a task run called after it."""
    return step.with_options(name=name, task_run_name=name)(name, resources, day)


def sweeping(skip: Set[str], force: bool) -> Work:
    """The work of a sweep: each step as a task, but those of `skip`, which are named as in the pipeline.

    A day on which another process works is waited for.
    """

    def work(resources: Resources, day: ProjectDay) -> Sequence[StepResult]:
        return in_turn(lambda: full_sweep(resources, day, skip=skip, force=force, run=run_as_task))

    return work


def work_on(resources: Resources, day: ProjectDay, work: Work) -> DayDone:
    """`work` on one day; whatever made it impossible is a failed step."""
    begin, waited, requests = time.monotonic(), resources.waited(), resources.requests()
    try:
        results = tuple(work(resources, day))
    except LseError as error:  # a busy day or a wrong setting: no step was begun
        results = (_common.failure(error),)
    seconds = round(time.monotonic() - begin, 3)
    more = resources.requests() - requests
    return DayDone(day, results, seconds, round(resources.waited() - waited, 3), more)


@task(name="project-day", **_common.ONCE)
def project_day(day: ProjectDay, work: Work, lend: Lend) -> State[DayDone]:
    """`work` on one day, and the table of its steps; failed when a step is not as it should be."""
    with lend() as resources, concurrency(LIMIT, occupy=1):
        done = work_on(resources, day, work)
    publish_day(done)
    if done.good:
        return Completed(message=f"{counted(len(done.results), 'step')} done", data=done)
    return Failed(message=_common.said(done.results), data=done)


def each_day(
    days: Sequence[ProjectDay], work: Work, at_once: int, engine: Engine = "threads"
) -> list[DayDone]:
    """`work` on each of `days`, `at_once` side by side, with a bar on the run's page. None stops another."""
    total = counted(len(days), "project day")
    bar = create_progress_artifact(0.0, description=f"0 of {total}")
    finished: list[DayDone] = []
    with spread(engine, at_once) as (runner, lend):
        futures: dict[PrefectFuture[Any], ProjectDay] = {}
        for day in days:
            named = project_day.with_options(task_run_name=str(day))
            futures[runner.submit(named, {"day": day, "work": work, "lend": lend})] = day
        for future in as_completed(list(futures)):
            future.wait()  # or its state would be asked of the server, which may be behind
            finished.append(_done(futures[future], future.state))
            share = 100 * len(finished) / len(days)
            told = f"{len(finished)} of {total}"
            update_progress_artifact(cast(UUID, bar), share, told)  # a coroutine only in asynchronous flows
    return sorted(finished, key=lambda done: (done.day.day, done.day.project))


def final_state(done: Sequence[DayDone]) -> State[Any]:
    """Completed when every day is as it should be, else Failed; the message counts, and names a few."""
    bad = [each for each in done if not each.good]
    total = counted(len(done), "project day")
    if not bad:
        return Completed(message=f"{total} done", data=list(done))
    partial = sum(each.partial for each in bad)
    named = "; ".join(f"{each.day}: {_common.said(each.results)}" for each in bad[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    counts = f"{len(done) - len(bad)} done, {partial} partial, {len(bad) - partial} failed"
    return Failed(message=f"{total}: {counts}. {named}{more}", data=list(done))


def chosen(resources: Resources, projects: Sequence[str], *, archived: bool = False) -> list[str]:
    """The projects that names and patterns stand for, at the source or, with `archived`, in the archive."""
    if archived:
        return choose(projects, False, lambda: archived_projects(resources))
    return choose(projects, False, lambda: [project.name for project in resources.source.projects()])


def skipped(skip: Iterable[_common.Skippable]) -> frozenset[str]:
    """The steps of `skip`, named as in the pipeline."""
    return frozenset("load" if name == "db" else name for name in skip)


def publish_day(done: DayDone) -> None:
    """The table of a day's steps, one history per project, and a link to what was uploaded."""
    took = f"{done.seconds:.1f} s, {done.waited:.1f} s of them waiting for the rate limit"
    took += f"; {counted(done.requests, 'request')} to LangSmith"
    create_table_artifact(
        key=_common.artifact_key(flow_run.flow_name, done.day.project),
        table=[_row(result) for result in done.results],
        description=f"{done.day}: {took}",
    )
    for link in (str(result.figures.get("link", "")) for result in done.results):
        if link.startswith("https://"):
            create_link_artifact(
                key=_common.artifact_key("archive", done.day.project), link=link, link_text=str(done.day)
            )


def publish_days(done: Sequence[DayDone]) -> None:
    """The table of all days of the run: first those that are not as they should be."""
    ordered = sorted(done, key=lambda each: each.good)
    cut = f", the first {SHOWN}" if len(done) > SHOWN else ""
    create_table_artifact(
        key=_common.artifact_key(flow_run.flow_name),
        table=[_summary(each) for each in ordered[:SHOWN]],
        description=f"{counted(len(done), 'project day')}{cut}",
    )


def _done(day: ProjectDay, state: State[Any]) -> DayDone:
    """What a task run left; one that broke off says so, as does one whose process is gone."""
    died = LseError("The process that worked on it died.", hint="The next sweep goes on where it was.")
    left = state.result(raise_on_failure=False) if state.is_final() else died
    if isinstance(left, DayDone):
        return left
    error = left if isinstance(left, LseError) else LseError(f"The task run ended as {state.name}.")
    return DayDone(day, (_common.failure(error),))


def _row(result: StepResult) -> dict[str, Any]:
    counts = {
        name: value for name, value in result.figures.items() if name not in ("seconds", "path", "link")
    }
    return {
        "step": result.step,
        "state": result.state,
        "seconds": result.figures.get("seconds"),
        "summary": result.summary,
        "figures": ", ".join(f"{name} {value}" for name, value in counts.items()),
        "next": result.hint,
    }


def _summary(done: DayDone) -> dict[str, Any]:
    hints = [result.hint for result in _common.wrong(done.results) if result.hint]
    return {
        "project": done.day.project,
        "date": done.day.day.isoformat(),
        "outcome": "done" if done.good else "partial" if done.partial else "failed",
        "seconds": done.seconds,
        "waited": done.waited,
        "requests": done.requests,
        "summary": _common.said(done.results),
        "next": " ".join(hints[:1]),
    }
