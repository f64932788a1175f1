"""What repairs put aside, a folder for each: `<LSE_STATE_DIR>/repairs/<time>_<project>_<date>/`.

A line of the journal is on disk before what it tells of is done, so that a repair can be taken back wherever
it was killed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from lse.archive.files import (
    append_line,
    atomic_file,
    blocks_of,
    file_sha256,
    sync_directory,
    whole_lines,
)
from lse.archive.layout import project_slug
from lse.errors import UsageError
from lse.models import ProjectDay

_JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Batch:
    """One repair of one day."""

    folder: Path
    day: ProjectDay

    @property
    def name(self) -> str:
        """What `lse archive undo` calls it."""
        return self.folder.name

    @property
    def undone(self) -> bool:
        """Whether it was taken back."""
        return self.note_of("undone") is not None

    def note_of(self, step: str) -> Mapping[str, Any] | None:
        """The last line of this kind in the journal."""
        return next((line for line in reversed(self.steps()) if line["step"] == step), None)

    def steps(self) -> list[Mapping[str, Any]]:
        """What was done, the first first; half a line that a killed process left tells of nothing done."""
        return [json.loads(line) for line in whole_lines(self.folder / _JOURNAL)[1:]]

    def keep_file(self, path: Path) -> None:
        """Put a copy of `path` aside, or note that there is none, before it is replaced or removed."""
        kept = None
        if path.exists():
            kept = self._next_name(path.name)
            copy_file(path, self.folder / kept)
        self.note("file", path=str(path.absolute()), kept=kept)

    def keep_object(self, path: str, kept: Path | None, properties: Mapping[str, str]) -> None:
        """Note an object of the target before it is replaced; `kept`, in the folder, has its bytes."""
        self.note("object", path=path, kept=kept.name if kept else None, properties=dict(properties))

    def new_folder(self, name: str) -> Path:
        """An empty folder in the batch's own."""
        folder = self.folder / self._next_name(name)
        folder.mkdir(mode=0o700)
        return folder

    def note(self, step: str, **facts: Any) -> None:
        """Add a line to the journal, on disk when this returns."""
        append_line(self.folder / _JOURNAL, json.dumps({"step": step, **facts}).encode())

    def files_left(self) -> dict[str, str]:
        """The SHA-256 of what stands now in each place that the batch wrote; empty where there is nothing."""
        places = {step["path"] for step in self.steps() if step["step"] == "file"}
        return {place: file_sha256(Path(place)) for place in sorted(places)}

    def _next_name(self, name: str) -> str:
        return f"{len(list(self.folder.iterdir()))}_{name}"


def begin_batch(state_dir: Path, day: ProjectDay, now: datetime) -> Batch:
    """A batch without steps."""
    root = state_dir / "repairs"
    folder = root / f"{now:%Y%m%dT%H%M%S%fZ}_{project_slug(day.project)}_{day.day}"
    folder.mkdir(parents=True, mode=0o700)
    batch = Batch(folder, day)
    batch.note("begun", project=day.project, date=str(day.day))
    sync_directory(root)
    return batch


def batches(state_dir: Path) -> list[Batch]:
    """All that there are, the oldest first."""
    root = state_dir / "repairs"
    folders = sorted(path for path in root.iterdir() if _begun(path)) if root.is_dir() else []
    return [_read(folder) for folder in folders]


def find_batch(state_dir: Path, name: str | None) -> Batch:
    """The batch of this name, by default the last that was not undone. Raises `UsageError`."""
    known = batches(state_dir)
    chosen = [batch for batch in known if batch.name == name or (name is None and not batch.undone)]
    if not chosen:
        standing = [batch.name for batch in known if not batch.undone]
        there = f"There are: {', '.join(standing[-3:])}." if standing else "There is none to take back."
        raise UsageError(f"There is no repair {name or 'to take back'}.", hint=there if name else "")
    return chosen[-1]


def copy_file(source: Path, place: Path) -> None:
    """Make `place` hold the bytes of `source`, whole or not at all; also on another disk."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_file(place) as file:
        file.writelines(blocks_of(source))


def _begun(folder: Path) -> bool:
    return folder.is_dir() and bool(whole_lines(folder / _JOURNAL))


def _read(folder: Path) -> Batch:
    first = json.loads(whole_lines(folder / _JOURNAL)[0])
    return Batch(folder, ProjectDay(first["project"], date.fromisoformat(first["date"])))
