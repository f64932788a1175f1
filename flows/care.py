"""The flows `verify-rotation`, `drill` and `prune`: what keeps an archive sound and small."""

from typing import Annotated, Any, Literal

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows import _common, _days
from flows._spread import opened
from lse import pipeline
from lse.errors import LseError
from lse.models import ProjectDay, StepResult
from lse.pipeline.common import counted, sized
from lse.pipeline.drilling import Drill, Drilled
from lse.pipeline.drilling import drill as restore_some
from lse.resources import Resources

Copy = Literal["files", "zip", "target"]


def _rotation_name() -> str:
    """`verify-rotation/7 of 30`."""
    values = flow_run.parameters
    parts = values.get("parts") or 30
    return f"verify-rotation/{values.get('part') or _part(parts)} of {parts}"


def _drill_name() -> str:
    """`drill/2025-09-13`: the day on which it was due."""
    return f"drill/{_common.due_date()}"


def _prune_name() -> str:
    """`prune/older than 90 days (dry)`."""
    values = flow_run.parameters
    return f"prune/older than {values['keep_days']} days{'' if values.get('execute') else ' (dry)'}"


def _part(parts: int) -> int:
    """Each day the next part."""
    return _common.due_date().toordinal() % parts + 1


@flow(name="verify-rotation", flow_run_name=_rotation_name, persist_result=False)
def verify_rotation(
    parts: Annotated[int, Field(ge=1)] = 30,
    part: Annotated[int, Field(ge=1)] | None = None,
    deep: bool = False,
    projects: list[str] = ["*"],  # noqa: B006 - Prefect shows it as the default, and nobody changes it
    at_once: _common.AtOnce = 2,
) -> State[Any]:
    """Compare the copies of a part of the archive, so that so many runs see all of it.

    Args:
        parts: In how many runs the whole archive is seen.
        part: Which of them, from 1; by default each day the next.
        deep: Download the target's copy and read every byte.
        projects: Names, or patterns such as `chat-*`; `*` means every archived project.
        at_once: How many project days are worked on side by side.
    """

    def compare(resources: Resources, day: ProjectDay) -> list[StepResult]:
        with resources.lock(day):
            return [pipeline.run_step("verify", resources, day, deep=deep)]

    try:
        days = find_rotation(projects, part or _part(parts), parts)
    except LseError as error:
        return _common.final_state([_common.failure(error)])
    done = _days.each_day(days, compare, at_once)
    _days.publish_days(done)
    return _days.final_state(done)


@task(name="which days are looked at", **_common.STEP)
def find_rotation(projects: list[str], part: int, parts: int) -> list[ProjectDay]:
    """The archived days that belong to this part."""
    with opened() as resources:
        return pipeline.rotation(resources, _archived(resources, projects), part, parts)


@flow(name="drill", flow_run_name=_drill_name, persist_result=False)
def drill(
    count: Annotated[int, Field(ge=1)] = 3, seed: Annotated[int, Field(ge=0)] | None = None
) -> State[Any]:
    """Restore archives chosen at random into a scratch place, and compare them with what is live.

    Args:
        count: So many archived days are restored.
        seed: Choose the days of an earlier drill again.
    """
    try:
        done = restore_and_compare(count, seed)
    except LseError as error:
        return _common.final_state([_common.failure(error)])
    create_table_artifact(
        key="drill",
        table=[_restored(each) for each in done.days[: _days.SHOWN]],
        description=f"Archives that were restored, chosen by the seed {done.seed}",
    )
    message = f"{counted(len(done.days), 'day')} restored, seed {done.seed}"
    if done.sound:
        return Completed(message=message)
    wrong = [each for each in done.days if each.problems]
    first = f"{wrong[0].project}/{wrong[0].date}: {'; '.join(wrong[0].problems)}"
    return Failed(message=f"{message}; {counted(len(wrong), 'day')} came back otherwise, first {first}")


@task(name="restore and compare", **_common.STEP)
def restore_and_compare(count: int, seed: int | None) -> Drill:
    """What came of restoring so many days."""
    with opened() as resources:
        return restore_some(resources, count, seed)


@flow(name="prune", flow_run_name=_prune_name, persist_result=False)
def prune(
    keep_days: Annotated[int, Field(ge=0)],
    what: set[Copy] = {"files"},  # noqa: B006 - Prefect shows it as the default, and nobody changes it
    max_share: Annotated[float, Field(ge=0, le=100)] = 10,
    projects: list[str] = ["*"],  # noqa: B006
    execute: bool = False,
) -> State[Any]:
    """Move copies of old days to the trash where others are proved whole; unless `execute`, only say which.

    Args:
        keep_days: The last so many UTC days stay as they are.
        what: The copies to take away.
        max_share: Refuse when more than this percentage of the archived days is due.
        projects: Names, or patterns such as `chat-*`; `*` means every archived project.
        execute: Do it.
    """
    try:
        found = find_and_prune(projects, keep_days, sorted(what), max_share, execute)
    except LseError as error:
        return _common.final_state([_common.failure(error)])
    create_table_artifact(
        key="prune",
        table=[_row(each) for each in found[: _days.SHOWN]],
        description="What went to the trash"
        if execute
        else "What would go to the trash; nothing was changed",
    )
    return _pruned(found, execute)


@task(name="prune", **_common.ONCE)
def find_and_prune(
    projects: list[str], keep_days: int, what: list[str], max_share: float, execute: bool
) -> list[pipeline.Pruned]:
    """What becomes of each old day."""
    with opened() as resources:
        names = _archived(resources, projects)
        return pipeline.prune(
            resources, names, keep_days=keep_days, what=what, max_share=max_share, execute=execute
        )


def _archived(resources: Resources, projects: list[str]) -> list[str] | None:
    """The archived projects that are meant; None for all of them, also when there is none yet."""
    return None if projects == ["*"] else _days.chosen(resources, projects, archived=True)


def _pruned(found: list[pipeline.Pruned], execute: bool) -> State[Any]:
    taken = [each for each in found if not each.reason]
    size = sized(sum(each.bytes for each in taken))
    message = f"{counted(len(taken), 'day')}, {size} {'went' if execute else 'would go'} to the trash"
    stay = [each for each in found if each.reason]
    if not any(each.exit_code for each in stay):
        return Completed(message=message)
    return Failed(
        message=f"{message}; {counted(len(stay), 'day')} stay, first {stay[0].day}: {stay[0].reason}"
    )


def _row(each: pipeline.Pruned) -> dict[str, Any]:
    return {
        "project": each.day.project,
        "date": each.day.day.isoformat(),
        "copies": ", ".join(each.copies),
        "bytes": each.bytes,
        "left": each.left,
        "stays because": each.reason,
    }


def _restored(each: Drilled) -> dict[str, Any]:
    return {
        "project": each.project,
        "date": each.date,
        "from": each.source,
        "runs": each.runs,
        "problems": "; ".join(each.problems),
    }
