"""The inventory of a copy on disk: which runs and feedback it holds, and what in it is damaged."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

from lse.archive.files import blocks_of, lines_of
from lse.archive.layout import SUPERSEDED, UNPLACED, archived_files, content_file_name, content_of_file
from lse.archive.manifest import check_content
from lse.archive.trace_file import DamagedArchive, open_trace
from lse.archive.zip import open_zip
from lse.models import Inventory, RawFeedback, RawRun, content_hash

_Blocks = Callable[[], Iterator[bytes]]


def inventory_of_folder(folder: Path) -> Inventory:
    """What the trace files in `folder` hold; a damaged file is named and the others still count."""
    return _inventory("files", [(path.name, partial(blocks_of, path)) for path in archived_files(folder)])


def inventory_of_zip(path: Path, copy: str) -> Inventory:
    """What the zip at `path` holds, every member checked against the manifest."""
    try:
        with open_zip(path) as archive:
            files = [(entry.path, partial(archive.blocks, entry)) for entry in archive.manifest.files]
            return _inventory(copy, files)
    except DamagedArchive as error:
        return Inventory(copy, damage=[error.message])


def _inventory(copy: str, files: Iterable[tuple[str, _Blocks]]) -> Inventory:
    inventory = Inventory(copy)
    for name, blocks in files:
        try:
            _add(inventory, name, blocks())
        except DamagedArchive as error:
            inventory.damage.append(error.message)
    for sha256, run_id in sorted(inventory.files_named.items()):
        if sha256 not in inventory.files:
            inventory.damage.append(f"{content_file_name(sha256)} of run {run_id} is missing or damaged")
    return inventory


def _add(inventory: Inventory, name: str, blocks: Iterator[bytes]) -> None:
    """Add what a file holds, once it is known to be sound."""
    if name == UNPLACED:
        inventory.unplaced.update(_line_hashes(blocks))
    elif name == SUPERSEDED:
        inventory.superseded.update(_line_hashes(blocks))
    elif promised := content_of_file(name):
        check_content(name, promised, _sha256(blocks))
        inventory.files.add(promised)
    else:
        _add_trace(inventory, name, blocks)


def _add_trace(inventory: Inventory, name: str, blocks: Iterator[bytes]) -> None:
    runs: dict[UUID, tuple[UUID, UUID]] = {}
    feedback: dict[UUID, UUID] = {}
    files: dict[str, UUID] = {}
    _, parts = open_trace(lines_of(blocks), name)
    for part in parts:
        if isinstance(part, RawRun):
            runs[part.id] = part.trace_id, content_hash(part.text)
        elif isinstance(part, RawFeedback):
            feedback[part.id] = content_hash(part.text)
        else:
            files[part.sha256] = part.run_id
    inventory.runs.update(runs)
    inventory.feedback.update(feedback)
    inventory.files_named.update(files)


def _line_hashes(blocks: Iterator[bytes]) -> set[UUID]:
    return {content_hash(line.rstrip(b"\n")) for line in lines_of(blocks)}


def _sha256(blocks: Iterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    for block in blocks:
        sha256.update(block)
    return sha256.hexdigest()
