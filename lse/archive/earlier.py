"""Read what an earlier exporter left: one JSON file per run, in folders and zips of project days.

A file is named `<run id>_<HHMMSS>.json` and holds the run as the SDK's `Run` object was dumped: bare, or as
`trace` beside `metadata` (`project_name`, `extracted_at`), then often with `feedback_records` inside. Each
re-fetch added files, so a run may be there several times.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from os import walk
from pathlib import Path
from typing import Any, Protocol

from lse.archive.identity import Unplaced, identify_feedback, identify_run, utc_time
from lse.archive.jsontext import MalformedJson, elements, fields
from lse.archive.layout import is_archived
from lse.archive.merge import merge_trace
from lse.archive.trace_file import single_line
from lse.models import RawFeedback, RawRun, Trace

LARGEST_FILE = 512 * 2**20
"""Bytes of one run file that are read at most; a hostile zip may promise any size."""

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ZIP = re.compile(rf"(.*)_{_DAY}\.zip")
_TIME_OF_SAVE = re.compile(r"_([0-9]{6})\.json$")
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Saved:
    """One file or row of the earlier tool, as it is."""

    place: str
    """Where it stands: names it in messages, and finds it again."""
    project: str
    """The project that its folder or row names; a folder's name may lack characters of the project's."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or row that no run can be had from, or only in part."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """One run as the earlier tool saved it."""

    run: RawRun
    """Its text is that of the file, on one line."""
    feedback: tuple[RawFeedback, ...]
    project: str | None
    """The project's exact name; None where the file does not say it."""
    saved: str
    """When it was saved, as text that sorts; the exporter's clock."""
    odd_feedback: int
    """Feedback records that name no run or have no id."""


class EarlierSource(Protocol):
    """Where runs of the earlier tool are read from."""

    @property
    def name(self) -> str:
        """What it is called in messages; holds no password."""

    def scan(self) -> Iterator[Saved | Unreadable]:
        """Everything that is there, one at a time."""

    def read(self, places: Iterable[str]) -> Iterator[Saved]:
        """What stands at `places` now."""

    def close(self) -> None:
        """Let go of what is open."""


class EarlierFolder:
    """The earlier tool's output folder, or any part of it, with the zips that it made."""

    def __init__(self, root: Path, parts: Sequence[str] = ("",)) -> None:
        """All of `root`, or only those `parts` of it, named by their paths in it."""
        self.name = str(root)
        self._root = root.resolve()
        self._parts = parts
        self._zip: tuple[Path, zipfile.ZipFile] | None = None

    def scan(self) -> Iterator[Saved | Unreadable]:
        """Every `.json` file, and the members of every `<project>_<date>.zip`, in any folder below.

        Names that begin with `_` or `.` are notes, not runs; trace files of `lse` may stand beside them.
        """
        for folder, folders, names in chain.from_iterable(walk(self._root / part) for part in self._parts):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in (Path(folder, name) for name in sorted(names)):
                if is_run_file(path.name):
                    yield self._file(path)
                elif _ZIP.fullmatch(path.name):
                    yield from self._members(path)

    def read(self, places: Iterable[str]) -> Iterator[Saved]:
        """What stands at `places` now. Raises `Unplaced` for what cannot be read any more."""
        for place in places:
            found = self._at(place)
            if isinstance(found, Unreadable):
                raise Unplaced(found.reason)
            yield found

    def close(self) -> None:
        """Close the zip that was read last."""
        if self._zip is not None:
            self._zip[1].close()
            self._zip = None

    def _at(self, place: str) -> Saved | Unreadable:
        if ".zip!" not in place or (self._root / place).is_file():
            return self._file(self._root / place)
        name, _, member = place.partition(".zip!")
        path = self._root / f"{name}.zip"
        try:
            return self._member(path, self._opened(path).getinfo(member))
        except (KeyError, FileNotFoundError, *_ZIP_FAULTS):
            return _gone(place)

    def _file(self, path: Path) -> Saved | Unreadable:
        place = str(path.relative_to(self._root))
        try:
            if path.stat().st_size > LARGEST_FILE:
                return Unreadable(place, "it is too large for a run")
            return Saved(place, self._project_at(place), path.read_bytes())
        except FileNotFoundError:
            return _gone(place)

    def _project_at(self, place: str) -> str:
        """The folder above that of the day; without days, the file's own folder."""
        folders = [self._root.name, *place.split("/")[:-1]]
        days = len(folders) > 1 and re.fullmatch(_DAY, folders[-1])
        return storable(folders[-2] if days else folders[-1])

    def _members(self, path: Path) -> Iterator[Saved | Unreadable]:
        try:
            members = self._opened(path).infolist()
        except _ZIP_FAULTS:
            yield Unreadable(str(path.relative_to(self._root)), "it is no zip that can be read")
            return
        for member in members:
            if is_run_file(Path(member.filename).name):
                yield self._member(path, member)

    def _member(self, path: Path, member: zipfile.ZipInfo) -> Saved | Unreadable:
        place = f"{path.relative_to(self._root)}!{member.filename}"
        if member.file_size > LARGEST_FILE:
            return Unreadable(place, "it is too large for a run")
        try:
            content = self._opened(path).read(member)
        except _ZIP_FAULTS:
            return Unreadable(place, "the zip is damaged there")
        return Saved(place, _ZIP.sub(r"\1", path.name), content)

    def _opened(self, path: Path) -> zipfile.ZipFile:
        if self._zip is None or self._zip[0] != path:
            self.close()
            self._zip = path, zipfile.ZipFile(path)
        return self._zip[1]


def read_earlier(saved: Saved) -> EarlierRun:
    """The run in one file or row, in any of the tool's shapes. Raises `Unplaced`, quoting no content."""
    try:
        parts = fields(saved.content)
        wrapped = "trace" in parts and "id" not in parts
        text = single_line(parts["trace"] if wrapped else saved.content)
        metadata = json.loads(parts.get("metadata", b"null")) if wrapped else None
        feedback = list(_feedback(text))
    except (MalformedJson, ValueError, RecursionError) as error:
        raise Unplaced("not a readable run file") from error
    run = identify_run(text)
    if run.started is None:
        raise Unplaced("start_time is missing or odd")
    known = metadata if isinstance(metadata, dict) else {}
    of_day = _TIME_OF_SAVE.search(saved.place)
    return EarlierRun(
        run=run,
        feedback=tuple(item for item in feedback if item is not None),
        project=storable(_text(known.get("project_name"))) or None,
        saved=f"{_text(known.get('extracted_at'))} {of_day[1] if of_day else ''}",
        odd_feedback=feedback.count(None),
    )


def merge_imported(archived: Trace | None, imported: Trace) -> Trace:
    """`imported` into what is archived: it adds, and replaces only a run that had not ended, or ended sooner.

    What LangSmith served is the fuller text of the same run, since the SDK's object drops fields.
    """
    if archived is None:
        return imported
    runs = {run.id: run for run in archived.runs}
    feedback = {item.id for item in archived.feedback}
    added = replace(
        imported,
        runs=tuple(run for run in imported.runs if run.id not in runs or is_later(run, runs[run.id])),
        feedback=tuple(item for item in imported.feedback if item.id not in feedback),
    )
    return merge_trace(archived, added)


def safe_name(project: str) -> str:
    """The folder that the earlier tool gave a project: letters, digits and `-_.` of its name."""
    return "".join(character for character in project if character.isalnum() or character in "-_.")


def storable(name: str) -> str:
    """A name without what UTF-8 or Postgres cannot hold: such characters stand as `?`."""
    return name.encode("utf-8", "replace").decode().replace("\0", "?")


def is_later(run: RawRun, other: RawRun) -> bool:
    """Whether `run` is a later state than `other` of the same run, as far as their ends say it."""
    return _state(run) > _state(other)


def _state(run: RawRun) -> tuple[bool, datetime]:
    end = json.loads(fields(run.text).get("end_time", b"null"))
    return run.ended, utc_time(end) or _NEVER


def _gone(place: str) -> Unreadable:
    return Unreadable(place, f"{place} is not there any more")


def is_run_file(name: str) -> bool:
    """Whether a file of this name may hold a run: JSON that is no note and no trace file of `lse`."""
    return name.endswith(".json") and not name.startswith(("_", ".")) and not is_archived(name)


def _feedback(text: bytes) -> Iterator[RawFeedback | None]:
    """The feedback records inside a run's text; None for each that cannot be placed."""
    if b'"feedback_records"' not in text:
        return
    records = fields(text).get("feedback_records", b"null")
    for item in elements(records) if records.startswith(b"[") else []:
        try:
            yield identify_feedback(_with_source(item))
        except (Unplaced, MalformedJson):
            yield None


def _with_source(item: bytes) -> bytes:
    """A feedback record that also says where it came from as LangSmith does, under `feedback_source`."""
    parts = fields(item)
    kind = parts.get("feedback_source_type", b"null")
    if "feedback_source" in parts or not kind.startswith(b'"'):
        return item
    return item[:-1].rstrip() + b', "feedback_source": {"type": %s}}' % kind


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
