"""The journal of an import: which days it changed, and what was there before, to take it back."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from lse.archive.files import append_line, sync_directory, whole_lines, write_atomically
from lse.archive.layout import FETCH_RECORD, LOG, SUPERSEDED, is_archived, project_slug
from lse.models import ProjectDay

_HEAD = "batch.json"
_JOURNAL = "journal.jsonl"
_BEFORE = "before"


@dataclass(frozen=True, slots=True)
class DayDone:
    """What an import did to one project day."""

    project: str
    date: str
    added: int
    """Runs that were not archived before"""
    changed: int
    """Runs whose text was replaced"""
    feedback: int
    """Feedback records that were not archived before"""
    content: str
    """Hash over the runs that the source holds of the day"""
    record: str
    """SHA-256 of the fetch record that the import left; empty when the day cannot be taken back"""
    zip: str
    """SHA-256 of the day's zip at that time; empty when there was none"""

    @property
    def day(self) -> ProjectDay:
        """The project day."""
        return ProjectDay(self.project, date.fromisoformat(self.date))

    @property
    def changes(self) -> bool:
        """Whether anything came in."""
        return bool(self.added or self.changed or self.feedback)


class Batch:
    """One import, in a folder of its own: a line of the journal is durable when the method returns."""

    def __init__(self, folder: Path) -> None:
        """The batch in `folder`, with all that its journal says."""
        head = json.loads((folder / _HEAD).read_bytes())
        self.name = folder.name
        self.source: str = head["source"]
        self.began: str = head["began"]
        self.finished = False
        self.done: dict[ProjectDay, DayDone] = {}
        self.undoing: set[ProjectDay] = set()
        """Days of which the taking back has begun"""
        self.undone: set[ProjectDay] = set()
        self._folder = folder
        self._begun: set[ProjectDay] = set()
        for line in whole_lines(folder / _JOURNAL):
            self._apply(json.loads(line))

    def begun(self, day: ProjectDay) -> bool:
        """Whether this import began to change `day`, done or not."""
        return self._before(day).exists()

    @property
    def interrupted(self) -> set[ProjectDay]:
        """The days that this import began to change and did not end."""
        return self._begun - self.done.keys()

    def keep(self, day: ProjectDay, folder: Path) -> None:
        """Keep what `folder` holds now, once: by links, or by copies where links cannot be."""
        kept = self._before(day)
        if kept.exists():
            return
        self._note("begun", _named(day))
        aside = kept.with_name(f".{kept.name}.tmp")
        if aside.exists():
            shutil.rmtree(aside)  # left by a killed import
        aside.mkdir(parents=True, mode=0o700)
        for path in _files(folder):
            _link(path, aside / path.name)
        sync_directory(aside)
        aside.rename(kept)
        sync_directory(kept.parent)

    def kept(self, day: ProjectDay) -> Path:
        """The folder with what was there before."""
        return self._before(day)

    def put_back(self, day: ProjectDay, folder: Path) -> None:
        """Make the archived files and notes in `folder` those that were kept; other files there stay.

        The fetch record comes last, so that whoever looks knows whether this was done.
        """
        kept = {path.name: path for path in _files(self._before(day))}
        for path in sorted(_files(folder), key=lambda path: path.name == FETCH_RECORD):
            if path.name not in kept:
                path.unlink()
        for name in sorted(kept, key=lambda name: name == FETCH_RECORD):
            _put(kept[name], folder / name)
        if folder.exists():
            sync_directory(folder)
            _remove_empty(folder)

    def note_done(self, done: DayDone) -> None:
        """A day is imported and proved; what was kept of one that did not change goes away."""
        self._note("done", asdict(done))
        if not done.changes:
            shutil.rmtree(self._before(done.day))

    def note_undoing(self, day: ProjectDay) -> None:
        """The taking back of a day begins."""
        self._note("undoing", _named(day))

    def note_undone(self, day: ProjectDay) -> None:
        """A day is as it was before the import."""
        self._note("undone", _named(day))
        shutil.rmtree(self._before(day))

    def finish(self) -> None:
        """Every day is done. An import that changed nothing leaves no trace."""
        if any(done.changes for done in Batch(self._folder).done.values()):
            self._note("finished", {})
        else:
            shutil.rmtree(self._folder)

    def _before(self, day: ProjectDay) -> Path:
        return self._folder / _BEFORE / project_slug(day.project) / day.day.isoformat()

    def _note(self, event: str, values: dict[str, Any]) -> None:
        line = {"event": event, **values}
        append_line(self._folder / _JOURNAL, json.dumps(line).encode())
        self._apply(line)

    def _apply(self, line: dict[str, Any]) -> None:
        event, values = line["event"], {name: value for name, value in line.items() if name != "event"}
        if event == "finished":
            self.finished = True
        elif event == "done":
            done = DayDone(**values)
            self.done[done.day] = done
        else:
            days = {"begun": self._begun, "undoing": self.undoing, "undone": self.undone}[event]
            days.add(ProjectDay(values["project"], date.fromisoformat(values["date"])))


def begin_batch(root: Path, source: str, now: datetime) -> Batch:
    """The unfinished import from `source` below `root`, to be continued, or else one that begins now."""
    for batch in batches(root):
        if batch.source == source and not batch.finished and not batch.undoing:
            return batch
    name, number = f"{now:%Y%m%dT%H%M%SZ}", 1
    while (root / name).exists():
        number += 1
        name = f"{now:%Y%m%dT%H%M%SZ}-{number}"
    (root / name).mkdir(parents=True, mode=0o700)
    head = {"source": source, "began": now.isoformat(timespec="seconds")}
    write_atomically(root / name / _HEAD, json.dumps(head).encode() + b"\n")
    return Batch(root / name)


def batches(root: Path) -> list[Batch]:
    """The imports below `root`, the first one first."""
    return [Batch(path.parent) for path in sorted(root.glob(f"*/{_HEAD}"))]


def _named(day: ProjectDay) -> dict[str, Any]:
    return {"project": day.project, "date": day.day.isoformat()}


def _files(folder: Path) -> Iterator[Path]:
    """The files of `folder` that fetches and imports write."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if is_archived(path.name) or path.name in (FETCH_RECORD, LOG):
            yield path


def _put(kept: Path, path: Path) -> None:
    """Put a kept file in its place, whole or not at all."""
    if path.exists() and (path.samefile(kept) or path.read_bytes() == kept.read_bytes()):
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.back.tmp")
    aside.unlink(missing_ok=True)
    _link(kept, aside)
    aside.replace(path)


def _link(path: Path, other: Path) -> None:
    """Give the file at `path` a second name; copy it where that cannot be, or it is written in place."""
    if path.name == SUPERSEDED or not _linked(path, other):
        shutil.copy2(path, other)
        with other.open("rb") as file:
            os.fsync(file.fileno())


def _linked(path: Path, other: Path) -> bool:
    try:
        other.hardlink_to(path)
    except OSError:
        return False  # another file system, or one without links
    return True


def _remove_empty(folder: Path) -> None:
    """Remove the day's folder, and then its project's, when nothing is left in them."""
    for path in (folder, folder.parent):
        if any(path.iterdir()):
            return
        path.rmdir()
