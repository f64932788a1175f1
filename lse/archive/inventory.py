"""The inventory of a copy on disk: which runs and feedback it holds, and what in it is damaged."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from lse.archive.layout import SUPERSEDED, UNPLACED, archived_files, content_file_name, content_of_file
from lse.archive.manifest import check_content
from lse.archive.trace_file import DamagedArchive, read_trace
from lse.archive.zip import open_zip
from lse.models import Inventory, content_hash


def inventory_of_folder(folder: Path) -> Inventory:
    """What the trace files in `folder` hold; a damaged file is named and the others still count."""
    return _inventory("files", [(path.name, path.read_bytes) for path in archived_files(folder)])


def inventory_of_zip(path: Path, copy: str) -> Inventory:
    """What the zip at `path` holds, every member checked against the manifest."""
    try:
        with open_zip(path) as archive:
            members = [
                (entry.path, lambda entry=entry: archive.read(entry)) for entry in archive.manifest.files
            ]
            return _inventory(copy, members)
    except DamagedArchive as error:
        return Inventory(copy, damage=[error.message])


def _inventory(copy: str, files: Iterable[tuple[str, Callable[[], bytes]]]) -> Inventory:
    inventory = Inventory(copy)
    for name, read in files:
        try:
            _add(inventory, name, read())
        except DamagedArchive as error:
            inventory.damage.append(error.message)
    for sha256, run_id in sorted(inventory.files_named.items()):
        if sha256 not in inventory.files:
            inventory.damage.append(f"{content_file_name(sha256)} of run {run_id} is missing or damaged")
    return inventory


def _add(inventory: Inventory, name: str, content: bytes) -> None:
    if name == UNPLACED:
        inventory.unplaced.update(map(content_hash, content.splitlines()))
        return
    if name == SUPERSEDED:
        inventory.superseded.update(map(content_hash, content.splitlines()))
        return
    if promised := content_of_file(name):
        check_content(name, promised, hashlib.sha256(content).hexdigest())
        inventory.files.add(promised)
        return
    trace = read_trace(content.splitlines(keepends=True), name)
    inventory.files_named.update({file.sha256: file.run_id for file in trace.files})
    inventory.runs.update({run.id: (run.trace_id, content_hash(run.text)) for run in trace.runs})
    inventory.feedback.update({item.id: content_hash(item.text) for item in trace.feedback})
