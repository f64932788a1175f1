"""The flow `dataset`: a dataset of the last days by a recipe, published as a file and kept in LangSmith."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows import _common
from lse.errors import LseError
from lse.pipeline import evaluating
from lse.pipeline.common import counted
from lse.pipeline.evaluating import BuildRecord, DatasetRequest, Plan
from lse.reports import Coverage
from lse.resources import Resources
from lse.settings import load_settings


def _run_name() -> str:
    """`dataset/token_name/chat/2025-09-13`: the recipe, the project and the last day."""
    values = flow_run.parameters
    end = values.get("end") or _common.the_day(None)
    return f"dataset/{values['recipe']}/{values['project']}/{end}"


@task(**_common.STEP)
def build(request: DatasetRequest) -> tuple[BuildRecord, Coverage]:
    """Build the dataset and keep it below the archive folder; also how much of its days the store has."""
    with Resources(load_settings()) as resources:
        covered = evaluating.coverage(resources, request)  # first: what is loaded meanwhile is not promised
        return evaluating.create_dataset(resources, request), covered


@task(**_common.STEP)
def upload(file: Path, name: str, overwrite: bool, prune: bool) -> Plan:
    """Bring the dataset in LangSmith to the examples of the file."""
    with Resources(load_settings()) as resources:
        return evaluating.upload_dataset(resources, file, name, overwrite=overwrite, prune=prune)


@flow(name="dataset", flow_run_name=_run_name, persist_result=False)
def dataset(
    project: str,
    recipe: str,
    days: Annotated[int, Field(ge=1)] = 30,
    end: dt.date | None = None,
    name: str | None = None,
    to_langsmith: bool = True,
    overwrite: bool = True,
    prune: bool = False,
) -> State[Any]:
    """Build a dataset of the last days, and bring LangSmith's copy to it.

    Args:
        project: The LangSmith project whose traces are used.
        recipe: The recipe, as on the command line.
        days: How many UTC days, the last of which is `end`.
        end: The last day; the day before the run was due when left out.
        name: What the dataset is called; after project and recipe when left out, the same every day.
        to_langsmith: Whether it is also uploaded.
        overwrite: Replace examples in LangSmith that differ.
        prune: Remove examples that only LangSmith has.
    """
    last = _common.the_day(end)
    request = DatasetRequest(
        project=project,
        start=last - dt.timedelta(days=days - 1),
        end=last,
        recipe=recipe,
        name=name or f"{project}_{recipe}",
    )
    try:
        record, covered = build(request)
        file, _ = evaluating.dataset_file(load_settings(), record.id)
        plan = upload(file, record.name, overwrite, prune) if to_langsmith else None
    except LseError as error:
        return Failed(message=f"{error.message} {error.hint}".strip())
    _publish(record, covered, file, plan)
    return Completed(message=f"{counted(record.examples, 'example')}, {record.id}", data=record)


def _publish(record: BuildRecord, covered: Coverage, file: Path, plan: Plan | None) -> None:
    """A link to the file, and a table of counts and hash; one history per dataset."""
    key = _common.artifact_key("dataset", record.name)
    about = f"{record.name}, {record.start} to {record.end}: {covered}"
    create_link_artifact(
        key=f"{key}-file", link=file.absolute().as_uri(), link_text=record.id, description=about
    )
    figures: dict[str, str | int] = {
        "examples": record.examples,
        "considered": record.considered,
        **{f"dropped: {reason}": count for reason, count in record.dropped.items()},
        **{f"in {part}": count for part, count in record.split.items()},
        "content sha256": record.content_sha256,
        "recipe sha256": record.recipe_sha256,
    }
    if plan is not None:
        figures |= {"added": len(plan.add), "replaced": len(plan.replace), "removed": len(plan.remove)}
    table = [{"figure": name, "value": str(value)} for name, value in figures.items()]
    create_table_artifact(key=key, table=table, description=about)
