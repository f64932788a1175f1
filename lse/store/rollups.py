"""The daily figures of a project day, made again from its rows."""

from typing import Any

import psycopg

from lse.models import ProjectDay
from lse.store.queries import QUERIES


def refresh_rollups(connection: psycopg.Connection[Any], day: ProjectDay) -> None:
    """Make the rollups of `day` anew, in the caller's transaction; one at a time for each day."""
    key = {"project": day.project, "run_date": day.day}
    connection.execute(QUERIES["lock_load"], {"day": str(day)})
    connection.execute(QUERIES["empty_rollups"], key)
    connection.execute(QUERIES["fill_rollups"], key)
