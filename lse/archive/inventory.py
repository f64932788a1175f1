"""The inventory of a copy on disk: which runs and feedback it holds, and what in it is damaged."""

from collections.abc import Callable, Iterable
from pathlib import Path

from lse.archive.layout import UNPLACED, archived_files
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
            _add(inventory, name, read().splitlines(keepends=True))
        except DamagedArchive as error:
            inventory.damage.append(error.message)
    return inventory


def _add(inventory: Inventory, name: str, lines: list[bytes]) -> None:
    if name == UNPLACED:
        inventory.unplaced.update(content_hash(line.rstrip(b"\n")) for line in lines)
        return
    trace = read_trace(lines, name)
    inventory.runs.update({run.id: (run.trace_id, content_hash(run.text)) for run in trace.runs})
    inventory.feedback.update({item.id: content_hash(item.text) for item in trace.feedback})
