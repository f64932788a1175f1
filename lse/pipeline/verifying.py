"""The step `verify`: compare every copy of a day. It reads, and changes nothing but the ledger's note."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lse.archive.fetch_record import FetchRecord, read_fetch_record
from lse.archive.inventory import inventory_of_folder, inventory_of_zip
from lse.archive.layout import archive_name, archived_files
from lse.archive.manifest import content_sha256_of
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import describe_zip, open_zip
from lse.errors import AccessError, DifferencesFound, IncompleteError, LseError, TemporaryError
from lse.models import Figure, Inventory, Progress, ProjectDay, StepResult
from lse.pipeline.common import (
    as_fetched,
    counted,
    is_empty,
    no_progress,
    note,
    options,
    pruned,
    was_pruned,
)
from lse.pipeline.target_copy import bring, find_copy, holds
from lse.resources import Resources
from lse.store import LedgerEntry, Store
from lse.targets import StoredObject
from lse.verify import Difference, compare, damage


@dataclass(slots=True)
class Copies:
    """The copies of a day that were looked at."""

    inventories: list[Inventory] = field(default_factory=list)
    """Those that were read, best first; the first is the reference."""
    held: dict[str, str] = field(default_factory=dict)
    """Each copy that is there → what it holds."""
    part: Inventory | None = None
    """What is back of trace files that were pruned; it need not be whole."""
    pruned: list[str] = field(default_factory=list)
    """Each copy that is not there on purpose."""
    differences: list[Difference] = field(default_factory=list)
    """What is missing as a whole, or differs by its hashes; at last every difference."""
    unchecked: list[LseError] = field(default_factory=list)
    """Why a copy could not be looked at."""

    def add(self, inventory: Inventory) -> None:
        self.inventories.append(inventory)
        self.held[inventory.copy] = f"{len(inventory.runs):,}"

    def miss(self, copy: str, item: str) -> None:
        self.differences.append(Difference("missing", copy, item))

    def __str__(self) -> str:
        held = ", ".join(f"{copy} {what}" for copy, what in self.held.items()) or "none"
        return f"{held}; pruned: {', '.join(self.pruned)}" if self.pruned else held


def verify(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, deep: bool = False
) -> StepResult:
    """Compare the copies of `day` by id and content hash: trace files, zip, target, store.

    The best copy that is there, in that order, is the reference. The target is compared by its hashes; with
    `deep` it is downloaded, decrypted where it is encrypted, and read. A copy that was pruned is not missed.
    Raises `UsageError` when nothing of the day is archived.
    """
    return compare_copies(resources, day, progress, deep=deep)[0]


def compare_copies(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, deep: bool = False
) -> tuple[StepResult, Copies]:
    """What `verify` says, and the copies that it looked at."""
    entry = resources.ledger.ledger(day) if resources.ledger else None
    copies = Copies()
    _read_local(resources, day, copies, entry)
    progress(1, 3)
    _read_target(resources, day, copies, entry, deep=deep)
    progress(2, 3)
    if resources.ledger is not None and entry and entry.loaded_at:
        copies.add(_inventory_of_store(resources.ledger, day))
    if not copies.held and not copies.differences and not copies.pruned and is_empty(resources, day):
        return StepResult("verify", "done", "no traces on this day"), copies
    reference, *others = copies.inventories or [Inventory("none")]
    copies.differences += damage(reference)
    for other in others:
        copies.differences += compare(reference, other)
    if copies.part and copies.inventories:
        copies.differences += (d for d in compare(reference, copies.part) if d.kind != "missing")
    note(resources, day, verified_at=resources.now(), differences=len(copies.differences))
    return _verified(day, copies, read_fetch_record(resources.folder(day))), copies


def _read_local(resources: Resources, day: ProjectDay, copies: Copies, entry: LedgerEntry | None) -> None:
    """Read trace files and zip; the ledger knows whether one should be there."""
    folder, path = resources.folder(day), resources.zip_path(day)
    whole = as_fetched(resources, day)
    if was_pruned(resources, day, "files") and not (whole and archived_files(folder)):
        copies.pruned.append("files")
        copies.part = inventory_of_folder(folder) if archived_files(folder) else None
        whole = True
    elif archived_files(folder):
        copies.add(inventory_of_folder(folder))
    elif entry and entry.runs:
        copies.miss("files", f"every trace file of {day}")
    if path.exists():
        copies.add(inventory_of_zip(path, "zip"))
    elif was_pruned(resources, day, "zip"):
        copies.pruned.append("zip")
    elif entry and entry.packed_at:
        copies.miss("zip", path.name)
    if not whole:
        copies.differences.append(Difference("damaged", "files", "they are not what the last fetch left"))
        copies.inventories.reverse()  # the zip is the better reference


def _read_target(
    resources: Resources, day: ProjectDay, copies: Copies, entry: LedgerEntry | None, *, deep: bool
) -> None:
    """Compare the target's object by its hashes, or read it when asked to or when nothing is known of it."""
    if resources.settings.target is None:
        return
    try:
        stored = find_copy(resources, day)
    except (AccessError, TemporaryError) as error:
        copies.unchecked.append(error)
        return
    if stored is None:
        if was_pruned(resources, day, "target"):
            copies.pruned.append("target")
        elif entry and entry.uploaded_at:
            copies.miss("target", archive_name(day))
        return
    expected = None if deep else _expected(resources, day)
    if expected is None:
        copies.add(_download(resources, stored))
        return
    copies.held["target"] = found = expected.compared_with(stored)
    if found == "other bytes":
        copies.differences.append(Difference("differs", "target", stored.path))


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the target's object should be: these bytes, or other bytes of this content."""

    content_sha256: str | None
    size: int | None = None
    md5: str | None = None

    def compared_with(self, stored: StoredObject) -> Literal["same bytes", "same content", "other bytes"]:
        if (self.size, self.md5) == (stored.size, stored.md5):
            return "same bytes"
        same = self.content_sha256 is not None and holds(stored, self.content_sha256)
        return "same content" if same else "other bytes"


def _expected(resources: Resources, day: ProjectDay) -> _Expected | None:
    """What the target should hold: the zip, or else the trace files, or what was pruned."""
    path, folder, record = resources.zip_path(day), resources.folder(day), pruned(resources, day)
    if path.exists():
        info = describe_zip(path)
        return _Expected(_content_of(path), info.size, info.md5)
    if record is not None:
        return _Expected(record.content_sha256)
    return _Expected(content_sha256_of(folder)) if archived_files(folder) else None


def _content_of(path: Path) -> str | None:
    """The content hash in a zip's manifest; None when it is damaged, which is found elsewhere."""
    try:
        with open_zip(path) as archive:
            return archive.manifest.content_sha256
    except DamagedArchive:
        return None


def _inventory_of_store(store: Store, day: ProjectDay) -> Inventory:
    return Inventory(
        "store",
        runs={run_id: (trace_id, content) for trace_id, run_id, content in store.run_hashes(day)},
        feedback={feedback_id: content for _, feedback_id, content in store.feedback_hashes(day)},
        quarantined={item.content_hash for item in store.quarantined(day)},
    )


def _download(resources: Resources, stored: StoredObject) -> Inventory:
    with resources.scratch() as scratch:
        path = scratch / "target.zip"
        bring(resources, stored, path)
        return inventory_of_zip(path, "target")


def _verified(day: ProjectDay, copies: Copies, record: FetchRecord | None) -> StepResult:
    differences = copies.differences
    figures: dict[str, Figure] = {
        "copies": str(copies),
        "runs": len(copies.inventories[0].runs) if copies.inventories else 0,
        "differences": len(differences),
        "quarantined": sum(len(copy.quarantined) for copy in copies.inventories),
        "complete": record.complete if record else None,
    }
    if differences:
        return StepResult(
            "verify",
            "differences",
            f"{counted(len(differences), 'difference')} (copies: {copies})",
            figures,
            tuple(map(str, differences)),
            hint=_repair(day, differences, copies.inventories[0].copy if copies.inventories else "files"),
            exit_code=DifferencesFound.exit_code,
        )
    doubts = tuple(_doubts(day, copies, record))
    return StepResult(
        "verify",
        "partial" if doubts else "done",
        f"no differences (copies: {copies})",
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


def _doubts(day: ProjectDay, copies: Copies, record: FetchRecord | None) -> Iterator[str]:
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
