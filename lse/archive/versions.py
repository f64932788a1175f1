"""Versions of a day: the texts that fetches replaced, and a log of the fetches that changed something.

`superseded.jsonl` belongs to the archive and is packed; `_log.jsonl` stays beside the trace files.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID

from lse.archive.files import sync_directory, write_atomically
from lse.archive.layout import LOG, SUPERSEDED
from lse.archive.sealed import seal, unseal
from lse.models import content_hash

_NOTHING = hashlib.sha256().hexdigest()
"""The content hash of an archive without files"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one fetch changed."""

    time: str
    """Begin of the fetch, ISO 8601, UTC."""
    added: int
    """Runs that were not archived before"""
    changed: int
    """Runs whose text was replaced"""
    vanished: int
    """Runs that the source has no more and the archive keeps; 0 where the walk was not proved complete"""
    feedback: int
    """Feedback records that were added or replaced"""
    content_sha256: str
    """Of the archive after the fetch, as in its manifest"""


class Superseded:
    """The file of the texts that were replaced. It only grows, and holds each text once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SUPERSEDED

    def add(self, texts: Iterable[bytes]) -> None:
        """Keep `texts`, on disk when this returns, so that what replaces them may be written."""
        fresh = {content_hash(text): text for text in texts}
        if not fresh:
            return
        lines = [text + b"\n" for content, text in fresh.items() if content not in self._known]
        if not lines:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        if not self._known:
            sync_directory(self._path.parent)
        self._known.update(fresh)

    @cached_property
    def _known(self) -> set[UUID]:
        """The hashes of the texts that are there; the half of one that a killed process left is cut off."""
        if not self._path.exists():
            return set()
        known, whole = set(), 0
        with self._path.open("r+b") as file:
            for line in file:
                if line.endswith(b"\n"):
                    known.add(content_hash(line[:-1]))
                    whole += len(line)
            file.truncate(whole)
        return known


def read_log(folder: Path) -> list[LogEntry]:
    """The fetches that changed the day in `folder`, the first one first; a damaged line is left out."""
    found = []
    for number, line in enumerate(_lines(folder), 1):
        if entry := _entry(line):
            found.append(entry)
        else:
            logger.warning(
                "Line %d of %s is damaged. The archive itself does not need it.", number, folder / LOG
            )
    return found


def add_to_log(folder: Path, entry: LogEntry) -> int:
    """Keep `entry`, unless the archive and what vanished are as the last line says; the others stay.

    Gives how many lines there are then.
    """
    lines, entries = _lines(folder), read_log(folder)
    before = (entries[-1].content_sha256, entries[-1].vanished) if entries else (_NOTHING, 0)
    if before == (entry.content_sha256, entry.vanished):
        return len(lines)
    return _write_log(folder, [*lines, json.dumps(seal(asdict(entry))).encode()])


def check_log(folder: Path) -> tuple[int, list[int]]:
    """How many lines the log has, and the numbers, from 1 on, of those that are not as they were written."""
    lines = _lines(folder)
    return len(lines), [number for number, line in enumerate(lines, 1) if _entry(line) is None]


def drop_damaged_lines(folder: Path) -> int:
    """Write the log without its damaged lines; gives how many are left."""
    return _write_log(folder, [line for line in _lines(folder) if _entry(line)])


def _lines(folder: Path) -> list[bytes]:
    """The lines of the log, also a last one whose break was lost; none where there is no log."""
    try:
        content = (folder / LOG).read_bytes()
    except FileNotFoundError:
        return []
    return content.removesuffix(b"\n").split(b"\n") if content else []


def _write_log(folder: Path, lines: Sequence[bytes]) -> int:
    write_atomically(folder / LOG, b"".join(line + b"\n" for line in lines))
    return len(lines)


def _entry(line: bytes) -> LogEntry | None:
    """What a line says; None when it is not as it was written."""
    try:
        return LogEntry(**unseal(json.loads(line)))
    except (ValueError, TypeError):
        return None
