"""MD5s of files that did not change since they were read, as git's index knows what did not change."""

import json
import os
from contextlib import suppress
from pathlib import Path

from lse.targets._measure import Measure, measure

_RACY_NS = 2_000_000_000
"""A file that was changed this shortly before it was noted may have been changed once more without another
time: file systems count in steps of up to two seconds (FAT)."""


def known_measure(file: Path, note: Path) -> Measure:
    """What `file` holds: as `note` says of this very file, or else read, which is then noted.

    Size, inode and both times must be those of the note, and older than it. What a disk damages without a
    write shows only when the file is read.
    """
    before = file.stat()
    md5 = _noted(note, before)
    if md5 is not None:
        return Measure(before.st_size, md5)
    found = measure(file)
    if _identity(file.stat()) == _identity(before):
        with suppress(OSError):  # who may only read the directory reads the files each time
            _write(note, json.dumps({"file": _identity(before), "md5": found.md5}).encode())
    return found


def _noted(note: Path, stat: os.stat_result) -> str | None:
    try:
        value, written = json.loads(note.read_bytes()), note.stat().st_mtime_ns
        if value["file"] == _identity(stat) and max(stat.st_mtime_ns, stat.st_ctime_ns) + _RACY_NS < written:
            return str(value["md5"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the file itself can tell
    return None


def _write(note: Path, content: bytes) -> None:
    """Without a flush to disk, which would take longer than the reading: half a note is none."""
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)


def _identity(stat: os.stat_result) -> list[int]:
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
