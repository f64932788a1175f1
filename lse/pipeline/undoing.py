"""`undo`: a repair taken back, byte for byte and row for row."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from lse.errors import DifferencesFound
from lse.models import StepResult
from lse.pipeline.batches import Batch, copy_file, find_batch
from lse.pipeline.common import counted
from lse.pipeline.repairing import left_by
from lse.resources import Resources
from lse.store import RowKeys


def undo(resources: Resources, name: str | None = None) -> tuple[Batch, StepResult]:
    """Take back the repair called `name`, by default the last one, the last of its steps first.

    What the repair wrote is replaced. May be repeated after a break. Raises `UsageError` when there is no
    such repair, `BusyError` when somebody works on its day, and `DifferencesFound` when something changed
    since the repair, which would be lost.
    """
    batch = find_batch(resources.settings.state_dir, name)
    ways: Mapping[str, Callable[[Resources, Batch, Mapping[str, Any]], None]] = {
        "file": _undo_file,
        "object": _undo_object,
        "rows": _undo_rows,
    }
    if batch.undone:
        return batch, StepResult("undo", "unchanged", f"{batch.name} was taken back before")
    steps = [step for step in batch.steps() if step["step"] in ways]
    with resources.lock(batch.day):
        if batch.note_of("undoing") is None:
            _require_as_left(resources, batch)
            batch.note("undoing")
        for step in reversed(steps):
            ways[step["step"]](resources, batch, step)
        batch.note("undone")
    summary = f"{counted(len(steps), 'step')} of {batch.name} taken back"
    return batch, StepResult("undo", "done", summary, {"batch": batch.name, "steps": len(steps)})


def _require_as_left(resources: Resources, batch: Batch) -> None:
    """Raise where other files or rows stand than the repair left; one that was killed does not say which."""
    left = batch.note_of("left")
    if left is None:
        return
    found = left_by(resources, batch, with_object=left["object"] is not None)
    changed = [place for place, sha256 in left["files"].items() if found["files"].get(place) != sha256]
    names = {"object": f"the target's archive of {batch.day}", "rows": f"the rows of {batch.day}"}
    changed += [name for kind, name in names.items() if left[kind] not in (None, found[kind])]
    if changed:
        raise DifferencesFound(
            f"{changed[0]} changed since the repair {batch.name}, so nothing of it is taken back.",
            hint=f"What was put aside before the repair is in {batch.folder}.",
        )


def _undo_file(resources: Resources, batch: Batch, step: Mapping[str, Any]) -> None:  # noqa: ARG001
    path = Path(step["path"])
    if step["kept"] is None:
        path.unlink(missing_ok=True)
    else:
        copy_file(batch.folder / step["kept"], path)


def _undo_object(resources: Resources, batch: Batch, step: Mapping[str, Any]) -> None:
    if step["kept"] is None:
        resources.target.trash(step["path"])
    else:
        resources.target.put(step["path"], batch.folder / step["kept"], step["properties"])


def _undo_rows(resources: Resources, batch: Batch, step: Mapping[str, Any]) -> None:
    runs = [(UUID(trace_id), UUID(run_id)) for trace_id, run_id in step["runs"]]
    keys = RowKeys(batch.day, runs, [UUID(each) for each in step["feedback"]])
    resources.store.put_rows_back(keys, batch.folder / step["kept"])
