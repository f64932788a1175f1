"""The manifest of a project day: what its archive holds, and one hash over all of it.

It holds no creation time, host or codec, so equal content gives equal bytes.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from lse.archive.files import blocks_of, lines_of
from lse.archive.layout import LOOSE, SUPERSEDED, UNPLACED, archived_files, content_of_file, is_trace_file
from lse.archive.trace_file import DamagedArchive, count_texts
from lse.models import ProjectDay

NAME = "manifest.json"
_FORMAT = "lse-archive/1"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the archive."""

    path: str
    size: int
    sha256: str
    runs: int
    feedback: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one project day, sorted by path."""

    day: ProjectDay
    files: tuple[FileEntry, ...]

    @property
    def content_sha256(self) -> str:
        """SHA-256 over the lines `<path> NUL <sha256> LF`, by path: equal exactly for equal content."""
        return combined_sha256((entry.path, entry.sha256) for entry in self.files)

    @property
    def counts(self) -> dict[str, int]:
        """Totals: traces, runs, feedback, loose texts, stored files, and bytes before compression."""
        placed = [entry for entry in self.files if entry.path not in LOOSE]
        loose = {entry.path: entry.runs for entry in self.files if entry.path in LOOSE}
        return {
            "traces": sum(is_trace_file(entry.path) for entry in placed),
            "runs": sum(entry.runs for entry in placed),
            "feedback": sum(entry.feedback for entry in placed),
            "unplaced": loose.get(UNPLACED, 0),
            "superseded": loose.get(SUPERSEDED, 0),
            "stored_files": sum(content_of_file(entry.path) is not None for entry in placed),
            "bytes": sum(entry.size for entry in self.files),
        }


def describe_folder(folder: Path, day: ProjectDay) -> Manifest:
    """The manifest of the files in `folder`. Raises `DamagedArchive` for a file that is not as written."""
    return Manifest(day, tuple(describe_file(path.name, blocks_of(path)) for path in archived_files(folder)))


def content_sha256_of(folder: Path) -> str:
    """The content hash of the files in `folder`, without a look at whether they are as written."""
    return combined_sha256((path.name, _sha256(path)) for path in archived_files(folder))


def describe_file(name: str, blocks: Iterable[bytes]) -> FileEntry:
    """The entry of one file, from its bytes, all of which are taken. Raises `DamagedArchive`.

    Of a trace file the form is checked, and no run is read.
    """
    content, promised = Hashed(blocks), content_of_file(name)
    runs = feedback = 0
    if name in LOOSE:
        runs = sum(block.count(b"\n") for block in content)
    elif promised:
        deque(content, maxlen=0)
        check_content(name, promised, content.sha256)
    else:
        runs, feedback = count_texts(lines_of(content), name)
    return FileEntry(name, content.size, content.sha256, runs, feedback)


class Hashed:
    """Blocks that are hashed and measured while they go by."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = blocks
        self._sha256 = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self._sha256.update(block)
            self.size += len(block)
            yield block

    @property
    def sha256(self) -> str:
        """Of what went by, in hexadecimal."""
        return self._sha256.hexdigest()


def check_content(name: str, promised: str, sha256: str) -> None:
    """Raise `DamagedArchive` when a content file is not what its name promises."""
    if promised != sha256:
        raise DamagedArchive(f"{name} is damaged: its content is not what its name says.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(files: Iterable[tuple[str, str]]) -> str:
    """The content hash of files given as (name, SHA-256), by name."""
    return hashlib.sha256(b"".join(f"{name}\0{sha256}\n".encode() for name, sha256 in files)).hexdigest()


def dump_manifest(manifest: Manifest) -> bytes:
    """The manifest's bytes: JSON with two spaces of indentation and a final line break."""
    document = {
        "format": _FORMAT,
        "project": msgspec.Raw(json.dumps(manifest.day.project).encode()),  # in ASCII, as msgspec does not
        "date": manifest.day.day.isoformat(),
        "content_sha256": manifest.content_sha256,
        "counts": manifest.counts,
        "files": manifest.files,
    }
    # The json module takes ten times as long: a manifest would take a sixth of the time of packing.
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def parse_manifest(content: bytes, name: str) -> Manifest:
    """The manifest in `content`. Raises `DamagedArchive` naming the archive `name`."""
    try:
        document = json.loads(content)
        day = ProjectDay(str(document["project"]), date.fromisoformat(document["date"]))
        manifest = Manifest(day, _entries(document["files"]))
        content_sha256 = manifest.content_sha256
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedArchive(f"The manifest of {name} cannot be read.") from error
    if document.get("format") != _FORMAT:
        raise DamagedArchive(f"{name} has a format that this version of lse does not know.")
    if document.get("content_sha256") != content_sha256:
        raise DamagedArchive(f"The manifest of {name} does not match its own content hash.")
    return manifest


def _entries(items: Iterable[object]) -> tuple[FileEntry, ...]:
    entries = (msgspec.convert(item, FileEntry, strict=True) for item in items)
    return tuple(sorted(entries, key=lambda entry: entry.path))
