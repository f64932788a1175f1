"""The flow `full-sweep`: one project day fetched, packed, uploaded, loaded and verified."""

import datetime as dt
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows import _common, _days
from flows._spread import opened
from lse.errors import LseError
from lse.models import ProjectDay


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
    skip = {name for name, left_out in flags.items() if left_out}
    try:
        with opened() as resources:
            done = _days.work_on(resources, day, _days.sweeping(skip, force))
    except LseError as error:
        return _common.final_state([_common.failure(error)])
    _days.publish_day(done)
    return _common.final_state(done.results)
