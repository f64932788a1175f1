"""The step `verify`: compare every copy of a day. It reads, and changes nothing but the ledger's note."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lse.archive.fetch_record import FetchRecord, read_fetch_record
from lse.archive.inventory import inventory_of_folder, inventory_of_zip
from lse.archive.layout import archive_name, archived_files
from lse.archive.manifest import describe_folder
from lse.archive.zip import describe_zip
from lse.errors import AccessError, DifferencesFound, IncompleteError, LseError, TemporaryError
from lse.models import Figure, Inventory, Progress, ProjectDay, StepResult
from lse.pipeline.common import as_fetched, counted, is_empty, no_progress, note, options
from lse.resources import Resources
from lse.store import LedgerEntry, Store
from lse.targets import StoredObject
from lse.verify import Difference, compare, damage


@dataclass(slots=True)
class _Copies:
    """The copies of a day that were looked at."""

    inventories: list[Inventory] = field(default_factory=list)
    """Those that were read, best first; the first is the reference."""
    held: list[str] = field(default_factory=list)
    """Each copy that is there, with what it holds."""
    differences: list[Difference] = field(default_factory=list)
    """What is missing as a whole, or differs by its hashes."""
    unchecked: list[LseError] = field(default_factory=list)
    """Why a copy could not be looked at."""

    def add(self, inventory: Inventory) -> None:
        self.inventories.append(inventory)
        self.held.append(f"{inventory.copy} {len(inventory.runs):,}")

    def miss(self, copy: str, item: str) -> None:
        self.differences.append(Difference("missing", copy, item))


def verify(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, deep: bool = False
) -> StepResult:
    """Compare the copies of `day` by id and content hash: trace files, zip, target, store.

    The best copy that is there, in that order, is the reference. The target is compared by its hashes; with
    `deep` it is downloaded and read. Raises `UsageError` when nothing of the day is archived.
    """
    entry = resources.ledger.ledger(day) if resources.ledger else None
    copies = _Copies()
    _read_local(resources, day, copies, entry)
    progress(1, 3)
    _read_target(resources, day, copies, entry, deep=deep)
    progress(2, 3)
    if resources.ledger is not None and entry and entry.loaded_at:
        copies.add(_inventory_of_store(resources.ledger, day))
    if not copies.held and not copies.differences and is_empty(resources, day):
        return StepResult("verify", "done", "no traces on this day")
    reference, *others = copies.inventories or [Inventory("none")]
    differences = [*copies.differences, *damage(reference)]
    for other in others:
        differences += compare(reference, other)
    note(resources, day, verified_at=resources.now(), differences=len(differences))
    return _verified(day, copies, differences, read_fetch_record(resources.folder(day)))


def _read_local(resources: Resources, day: ProjectDay, copies: _Copies, entry: LedgerEntry | None) -> None:
    """Read trace files and zip; the ledger knows whether one should be there."""
    folder, path = resources.folder(day), resources.zip_path(day)
    if archived_files(folder):
        copies.add(inventory_of_folder(folder))
    elif entry and entry.runs:
        copies.miss("files", f"every trace file of {day}")
    if path.exists():
        copies.add(inventory_of_zip(path, "zip"))
    elif entry and entry.packed_at:
        copies.miss("zip", path.name)
    if not as_fetched(resources, day):
        copies.differences.append(Difference("damaged", "files", "they are not what the last fetch left"))
        copies.inventories.reverse()  # the zip is the better reference


def _read_target(
    resources: Resources, day: ProjectDay, copies: _Copies, entry: LedgerEntry | None, *, deep: bool
) -> None:
    """Compare the target's object by its hashes, or read it when asked to or when nothing local is left."""
    if resources.settings.target is None:
        return
    name = archive_name(day)
    try:
        stored = resources.target.find(name)
    except (AccessError, TemporaryError) as error:
        copies.unchecked.append(error)
        return
    if stored is None:
        if entry and entry.uploaded_at:
            copies.miss("target", name)
    elif deep or not copies.inventories:
        copies.add(_download(resources, day))
    else:
        same = _is_same(resources, day, stored)
        copies.held.append(f"target {'same bytes' if same else 'other bytes'}")
        if not same:
            copies.differences.append(Difference("differs", "target", name))


def _is_same(resources: Resources, day: ProjectDay, stored: StoredObject) -> bool:
    """Whether a stored object is the local zip, by size and md5, or by content hash where the zip is gone."""
    path = resources.zip_path(day)
    if path.exists():
        local = describe_zip(path)
        return (stored.size, stored.md5) == (local.size, local.md5)
    manifest = describe_folder(resources.folder(day), day)
    return stored.properties.get("content_sha256") == manifest.content_sha256


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


def _verified(
    day: ProjectDay, copies: _Copies, differences: list[Difference], record: FetchRecord | None
) -> StepResult:
    held = ", ".join(copies.held) or "none"
    figures: dict[str, Figure] = {
        "copies": held,
        "runs": len(copies.inventories[0].runs) if copies.inventories else 0,
        "differences": len(differences),
        "quarantined": sum(len(copy.quarantined) for copy in copies.inventories),
        "complete": record.complete if record else None,
    }
    if differences:
        return StepResult(
            "verify",
            "differences",
            f"{counted(len(differences), 'difference')} (copies: {held})",
            figures,
            tuple(map(str, differences)),
            hint=_repair(day, differences, copies.inventories[0].copy if copies.inventories else "files"),
            exit_code=DifferencesFound.exit_code,
        )
    doubts = tuple(_doubts(day, copies, record))
    return StepResult(
        "verify",
        "partial" if doubts else "done",
        f"no differences (copies: {held})",
        figures,
        doubts,
        exit_code=next(
            (error.exit_code for error in copies.unchecked), IncompleteError.exit_code if doubts else 0
        ),
    )


def _repair(day: ProjectDay, differences: list[Difference], reference: str) -> str:
    """The command that writes the first copy that is not whole anew from the better ones.

    When something is only in another copy, it is the reference that is not whole.
    """
    copies = {reference if difference.kind == "extra" else difference.copy for difference in differences}
    commands = {"files": "restore", "zip": "zip", "target": "upload", "store": "to-db"}
    command = next(command for copy, command in commands.items() if copy in copies)
    force = " --force" if command == "restore" else ""
    return f"Write that copy again: lse archive {command} {options(day)}{force}"


def _doubts(day: ProjectDay, copies: _Copies, record: FetchRecord | None) -> Iterator[str]:
    """What keeps copies that agree from being proved complete."""
    for error in copies.unchecked:
        yield f"the target could not be checked: {error.message}"
    if len(copies.held) < 2:
        yield f"only one copy of {day} exists, so nothing could be compared"
    if record is not None and not record.complete:
        yield f"the fetch of {day} is partial: {record.reason}"
    for copy in copies.inventories:
        if copy.quarantined:
            yield f"{counted(len(copy.quarantined), 'run')} of {day} in quarantine: see `lse db quarantine`"
