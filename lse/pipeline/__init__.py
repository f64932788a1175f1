"""The steps: fetch, pack, upload, load, verify, restore, and full_sweep over them.

Each step takes a project day, may be repeated at any time, and converges. A step returns a `StepResult`
or raises an `LseError`; it never does half of its work silently.
"""

from lse.pipeline.common import archived_projects, no_progress
from lse.pipeline.due import DueDay, due_days, rotation
from lse.pipeline.fetching import fetch
from lse.pipeline.listing import ListedDay, list_days
from lse.pipeline.loading import load
from lse.pipeline.packing import pack, upload
from lse.pipeline.planning import PlannedDay, plan
from lse.pipeline.pruning import COPIES, Pruned, prune
from lse.pipeline.reporting import Answer, answer, report
from lse.pipeline.restoring import days_of_trace, restore, restore_trace
from lse.pipeline.status import ProjectStatus, statuses
from lse.pipeline.sweeping import STEPS, RunStep, exit_code, full_sweep, run_step
from lse.pipeline.verifying import verify

__all__ = [
    "COPIES",
    "STEPS",
    "DueDay",
    "ListedDay",
    "PlannedDay",
    "ProjectStatus",
    "Pruned",
    "RunStep",
    "answer",
    "archived_projects",
    "days_of_trace",
    "due_days",
    "exit_code",
    "fetch",
    "full_sweep",
    "list_days",
    "load",
    "no_progress",
    "pack",
    "plan",
    "prune",
    "report",
    "restore",
    "restore_trace",
    "rotation",
    "run_step",
    "statuses",
    "upload",
    "verify",
]
