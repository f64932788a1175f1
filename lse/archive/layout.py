"""Where things lie: `data/<project>/<date>/<HHMMSS>_<trace_id>.json` and `archives/<project>/<date>.zip`.

Project names come from strangers. The folder name is a readable slug that is the same on every file
system; whenever the slug does not give back the name, a short hash keeps two projects apart.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

from lse.models import ProjectDay

UNPLACED = "unplaced.jsonl"
"""Runs of the day that name no trace: one exact text per line, in the order they came."""

SUPERSEDED = "superseded.jsonl"
"""Texts of runs and feedback that later ones replaced: one per line, in the order they were replaced."""

LOOSE = frozenset({UNPLACED, SUPERSEDED})
"""The files of an archive that hold texts outside of any trace file."""

FETCH_RECORD = "_fetch.json"
"""What the last fetch of the day counted. Names with a leading underscore are never packed."""

LOG = "_log.jsonl"
"""One line for each fetch that changed something."""

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9_-])?")
_OTHER = re.compile(r"[^a-z0-9._-]+")
_HASHED = re.compile(r".*-[0-9a-f]{8}")
_CONTENT_FILE = re.compile(r"([0-9a-f]{64})\.bin")
_DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?"
)  # reserved by Windows, with any extension
_TRACE_FILE = re.compile(r"([0-9]{6})_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json")


def project_slug(project: str) -> str:
    """The folder name of `project`: the name when it is plain, else a slug and 8 hex of its SHA-256."""
    if _SLUG.fullmatch(project) and not _DEVICES.fullmatch(project) and not _HASHED.fullmatch(project):
        return project
    readable = _OTHER.sub("-", project.lower()).strip("-._")[:60].rstrip("-._") or "project"
    if _DEVICES.fullmatch(readable):
        readable = readable.replace(".", "-")  # `con.txt-1a2b3c4d` would still be the device
    return f"{readable}-{hashlib.sha256(project.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def day_folder(data_dir: Path, day: ProjectDay) -> Path:
    """The folder with the trace files of a project day."""
    return data_dir / project_slug(day.project) / day.day.isoformat()


def archive_name(day: ProjectDay) -> str:
    """The path of a project day's zip below the archive folder and in every target."""
    return f"{project_slug(day.project)}/{day.day.isoformat()}.zip"


def trace_file_name(trace_id: UUID, started: datetime) -> str:
    """`<HHMMSS>_<trace_id>.json`, with the UTC time of day at which the root run started."""
    return f"{started.astimezone(UTC):%H%M%S}_{trace_id}.json"


def is_trace_file(name: str) -> bool:
    """Whether this is the name of a trace file."""
    return _TRACE_FILE.fullmatch(name) is not None


def trace_of_file(name: str) -> UUID | None:
    """The trace id in a trace file's name; None for any other name."""
    match = _TRACE_FILE.fullmatch(name)
    return UUID(match[2]) if match else None


def trace_id_in(name: str) -> str | None:
    """As `trace_of_file`, in text, which sorts as the id does and takes a fifth of the time."""
    match = _TRACE_FILE.fullmatch(name)
    return match[2] if match else None


def content_file_name(sha256: str) -> str:
    """The name of the file that holds content with this SHA-256."""
    return f"{sha256}.bin"


def content_of_file(name: str) -> str | None:
    """The SHA-256 that a content file's name promises; None for any other name."""
    match = _CONTENT_FILE.fullmatch(name)
    return match[1] if match else None


def trace_files(folder: Path) -> list[Path]:
    """The trace files of a day, sorted by name."""
    return [path for path in archived_files(folder) if trace_of_file(path.name)]


def archived_files(folder: Path) -> list[Path]:
    """The files of a day that belong to its archive, sorted by name; empty when there is no such folder."""
    return [folder / name for name in archived_names(folder)]


def archived_names(folder: Path) -> list[str]:
    """The names of `archived_files`."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_archived(entry.name) and entry.is_file())


def archived_days(data_dir: Path, project: str) -> Iterator[date]:
    """The days for which `project` has a folder with trace files, ascending."""
    root = data_dir / project_slug(project)
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", folder.name) and archived_files(folder):
            yield date.fromisoformat(folder.name)


def is_archived(name: str) -> bool:
    """Whether a file of this name belongs to a day's archive."""
    return name in LOOSE or is_trace_file(name) or content_of_file(name) is not None
