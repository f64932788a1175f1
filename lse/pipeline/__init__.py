"""The steps: fetch, pack, upload, load, verify, restore, and full_sweep over them.

Each step takes a project day, may be repeated at any time, and converges. A step returns a `StepResult`
or raises an `LseError`; it never does half of its work silently.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lse.pipeline.common import no_progress
    from lse.pipeline.due import DueDay, due_days, rotation
    from lse.pipeline.fetching import fetch
    from lse.pipeline.listing import ListedDay, list_days
    from lse.pipeline.loading import load
    from lse.pipeline.packing import pack, upload
    from lse.pipeline.planning import PlannedDay, plan
    from lse.pipeline.projects import (
        archived_projects,
        require_archived,
        require_known,
        require_projects,
        require_readable,
    )
    from lse.pipeline.pruning import COPIES, Pruned, prune
    from lse.pipeline.reporting import Answer, answer, report
    from lse.pipeline.restoring import day_of_trace, restore, restore_trace
    from lse.pipeline.status import ProjectStatus, statuses
    from lse.pipeline.sweeping import STEPS, RunStep, exit_code, full_sweep, in_turn, run_step
    from lse.pipeline.vanishing import ask_expiry
    from lse.pipeline.verifying import verify

__all__ = [
    "COPIES",
    "STEPS",
    "Answer",
    "DueDay",
    "ListedDay",
    "PlannedDay",
    "ProjectStatus",
    "Pruned",
    "RunStep",
    "answer",
    "archived_projects",
    "ask_expiry",
    "day_of_trace",
    "due_days",
    "exit_code",
    "fetch",
    "full_sweep",
    "in_turn",
    "list_days",
    "load",
    "no_progress",
    "pack",
    "plan",
    "prune",
    "report",
    "require_archived",
    "require_known",
    "require_projects",
    "require_readable",
    "restore",
    "restore_trace",
    "rotation",
    "run_step",
    "statuses",
    "upload",
    "verify",
]

_HOMES = {
    "common": "no_progress",
    "due": "DueDay due_days rotation",
    "fetching": "fetch",
    "listing": "ListedDay list_days",
    "loading": "load",
    "packing": "pack upload",
    "planning": "PlannedDay plan",
    "projects": "archived_projects require_archived require_known require_projects require_readable",
    "pruning": "COPIES Pruned prune",
    "reporting": "Answer answer report",
    "restoring": "day_of_trace restore restore_trace",
    "status": "ProjectStatus statuses",
    "sweeping": "STEPS RunStep exit_code full_sweep in_turn run_step",
    "vanishing": "ask_expiry",
    "verifying": "verify",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a step when it is asked for: LangSmith's SDK, which a fetch needs, takes most of a second."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
