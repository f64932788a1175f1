"""The step `verify`: compare every copy of a day. It reads, and changes nothing but the ledger's note."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from lse.archive.fetch_record import FetchRecord, read_fetch_record
from lse.archive.inventory import inventory_of_folder, inventory_of_zip
from lse.archive.layout import archive_name, archived_files
from lse.archive.manifest import describe_folder
from lse.archive.zip import describe_zip
from lse.errors import DifferencesFound, IncompleteError
from lse.models import Figure, Inventory, Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, is_empty, no_progress, options
from lse.resources import Resources
from lse.store import Store
from lse.targets import StoredObject
from lse.verify import Difference, compare, damage


def verify(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, deep: bool = False
) -> StepResult:
    """Compare the copies of `day` by id and content hash: trace files, zip, target, store.

    The best copy that is there, in that order, is the reference. The target is compared by its hashes; with
    `deep` it is downloaded and read. Raises `UsageError` when nothing of the day is archived.
    """
    copies, differences = _read_copies(resources, day, deep=deep)
    if not copies and not differences and is_empty(resources, day):
        return StepResult("verify", "done", "no traces on this day")
    if copies:
        differences += damage(copies[0])
    for done, other in enumerate(copies[1:], start=1):
        progress(done, len(copies))
        differences += compare(copies[0], other)
    if resources.ledger is not None:
        resources.ledger.record(day, verified_at=resources.now(), differences=len(differences))
    return _verified(day, copies, differences, read_fetch_record(resources.folder(day)))


def _read_copies(
    resources: Resources, day: ProjectDay, *, deep: bool
) -> tuple[list[Inventory], list[Difference]]:
    """The copies that are there, best first, and those that should be there by the ledger but are not."""
    copies: list[Inventory] = []
    missing: list[Difference] = []
    folder, path = resources.folder(day), resources.zip_path(day)
    entry = resources.ledger.ledger(day) if resources.ledger else None
    if archived_files(folder):
        copies.append(inventory_of_folder(folder))
    elif entry and entry.runs:
        missing.append(Difference("missing", "files", f"every trace file of {day}"))
    if path.exists():
        copies.append(inventory_of_zip(path, "zip"))
    elif entry and entry.packed_at:
        missing.append(Difference("missing", "zip", path.name))
    if resources.settings.target is not None:
        stored = resources.target.find(archive_name(day))
        if stored is None and entry and entry.uploaded_at:
            missing.append(Difference("missing", "target", archive_name(day)))
        elif stored and (deep or not copies):
            copies.append(_download(resources, day))
        elif stored:
            missing += _compare_stored(resources, day, stored)
    if resources.ledger is not None and entry and entry.loaded_at:
        copies.append(_inventory_of_store(resources.ledger, day))
    return copies, missing


def _inventory_of_store(store: Store, day: ProjectDay) -> Inventory:
    return Inventory(
        "store",
        runs={run_id: (trace_id, content) for trace_id, run_id, content in store.run_hashes(day)},
        feedback={feedback_id: content for _, feedback_id, content in store.feedback_hashes(day)},
        quarantined={item.content_hash for item in store.quarantined(day)},
    )


def _download(resources: Resources, day: ProjectDay) -> Inventory:
    with tempfile.TemporaryDirectory(prefix="lse-verify-") as scratch:
        path = Path(scratch) / "target.zip"
        resources.target.get(archive_name(day), path)
        return inventory_of_zip(path, "target")


def _compare_stored(resources: Resources, day: ProjectDay, stored: StoredObject) -> Iterator[Difference]:
    """Compare a stored object with the local zip by its hashes, and with the files by its content hash."""
    path = resources.zip_path(day)
    if path.exists():
        local = describe_zip(path)
        agrees = (stored.size, stored.md5) == (local.size, local.md5)
    else:
        manifest = describe_folder(resources.folder(day), day)
        agrees = stored.properties.get("content_sha256") == manifest.content_sha256
    if not agrees:
        yield Difference("differs", "target", stored.path)


def _verified(
    day: ProjectDay, copies: list[Inventory], differences: list[Difference], record: FetchRecord | None
) -> StepResult:
    held = ", ".join(f"{copy.copy} {len(copy.runs)}" for copy in copies)
    figures: dict[str, Figure] = {
        "copies": held,
        "runs": len(copies[0].runs) if copies else 0,
        "differences": len(differences),
        "quarantined": sum(len(copy.quarantined) for copy in copies),
        "complete": record.complete if record else None,
    }
    if differences:
        return StepResult(
            "verify",
            "differences",
            f"{counted(len(differences), 'difference')} between the copies (runs: {held})",
            figures,
            tuple(map(str, differences)),
            hint=f"Load, pack or restore again what is missing: lse archive to-db {options(day)}",
            exit_code=DifferencesFound.exit_code,
        )
    doubts = tuple(_doubts(day, copies, record))
    return StepResult(
        "verify",
        "partial" if doubts else "done",
        f"all copies agree (runs: {held})",
        figures,
        doubts,
        exit_code=IncompleteError.exit_code if doubts else 0,
    )


def _doubts(day: ProjectDay, copies: list[Inventory], record: FetchRecord | None) -> Iterator[str]:
    """What keeps copies that agree from being proved complete."""
    if len(copies) < 2:
        yield f"only one copy of {day} exists, so nothing could be compared"
    if record is not None and not record.complete:
        yield f"the fetch of {day} is partial: {record.reason}"
    for copy in copies:
        if copy.quarantined:
            yield f"{counted(len(copy.quarantined), 'run')} of {day} in quarantine: see `lse db quarantine`"
