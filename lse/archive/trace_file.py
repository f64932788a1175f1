"""Trace files: a JSON document per trace, one run per line, exactly as served (`docs/archive-format.md`)."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from lse.archive.files import atomic_file
from lse.archive.identity import Unplaced, identify_feedback, identify_run
from lse.archive.jsontext import one_line
from lse.archive.layout import is_trace_file, trace_file_name
from lse.errors import DifferencesFound, LseError
from lse.models import RawFeedback, RawRun, StoredFile, Trace

_HEAD = re.compile(
    rb'\{"format":"lse-trace/1","trace_id":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})","runs":\[\n'
)
_MIDDLE = b'],"feedback":[\n'
_FILES = b'],"files":[\n'
_TAIL = b"]}\n"
_ENDS = (_MIDDLE, _FILES, _TAIL)
_ODD_LINE = "a line does not end as it should"

Part = RawRun | RawFeedback | StoredFile


class DamagedArchive(LseError):
    """An archived file does not have the form it was written in."""

    exit_code = DifferencesFound.exit_code


def trace_lines(trace: Trace) -> Iterator[bytes]:
    """The lines of the trace's file, each with its line break."""
    yield b'{"format":"lse-trace/1","trace_id":"%s","runs":[\n' % str(trace.id).encode()
    yield from _array_lines(run.text for run in trace.runs)
    yield _MIDDLE
    yield from _array_lines(feedback.text for feedback in trace.feedback)
    yield _FILES
    yield from _array_lines(map(_dump_file, trace.files))
    yield _TAIL


def write_trace(folder: Path, trace: Trace, *, name_later: bool = False) -> Path:
    """Write the trace's file into `folder`, whole or not at all; returns its path. See `atomic_file`."""
    path = folder / trace_file_name(trace.id, trace.started)
    with atomic_file(path, name_later=name_later) as file:
        file.writelines(trace_lines(trace))
    return path


def read_trace(lines: Iterable[bytes], name: str) -> Trace:
    """The trace in a trace file's lines. Raises `DamagedArchive` naming a file that is not as written."""
    trace_id, found = open_trace(lines, name)
    parts: dict[type[Part], list[Any]] = {RawRun: [], RawFeedback: [], StoredFile: []}
    for part in found:
        parts[type(part)].append(part)
    return make_trace(trace_id, parts[RawRun], parts[RawFeedback], parts[StoredFile])


def open_trace(lines: Iterable[bytes], name: str) -> tuple[UUID, Iterator[Part]]:
    """The trace's id, and what is in its file, one after the other; errors as for `read_trace`.

    Whether the file is as written is only known after the last part.
    """
    remaining = iter(lines)
    trace_id = UUID(_head(remaining, name))
    return trace_id, _parts(remaining, trace_id, name)


def open_sections(lines: Iterable[bytes], name: str) -> tuple[str, Iterator[Iterator[bytes]]]:
    """The trace's id, then the texts of its runs, of its feedback, and of the entries of its files.

    By the file's form alone: no text is read. Each section is to be taken to its end before the next.
    Raises `DamagedArchive` for a file that does not have the form, at last after the third section.
    """
    remaining = iter(lines)
    return _head(remaining, name), _sections(remaining, name)


def _sections(lines: Iterator[bytes], name: str) -> Iterator[Iterator[bytes]]:
    for end in _ENDS:
        yield _array_texts(lines, end, name)
    _require_end(lines, name)


def count_texts(lines: Iterable[bytes], name: str) -> tuple[int, int]:
    """How many runs and feedback records a trace file holds; errors as for `open_sections`."""
    remaining = iter(lines)
    _head(remaining, name)
    runs, feedback, _ = (_count_texts(remaining, end, name) for end in _ENDS)
    _require_end(remaining, name)
    return runs, feedback


def read_trace_file(path: Path) -> Trace:
    """The trace in the file at `path`; see `read_trace`."""
    with path.open("rb") as file:
        return read_trace(file, path.name)


def make_trace(
    trace_id: UUID,
    runs: Iterable[RawRun],
    feedback: Iterable[RawFeedback] = (),
    files: Iterable[StoredFile] = (),
) -> Trace:
    """A trace in file order: runs by (dotted_order, id), feedback by (run, id), files by (run, name)."""
    in_order = tuple(sorted(runs, key=lambda run: run.order))
    by_run = tuple(sorted(feedback, key=lambda item: (str(item.run_id), str(item.id))))
    by_name = tuple(sorted(files, key=lambda file: (str(file.run_id), file.name)))
    return Trace(trace_id, _start(trace_id, in_order), in_order, by_run, by_name)


def single_line(text: bytes) -> bytes:
    """A run's text as it is archived: without line breaks between tokens."""
    return one_line(text.strip())


def _head(lines: Iterator[bytes], name: str) -> str:
    """The trace id that the first line says, which a trace file's name says too."""
    head = _HEAD.fullmatch(next(lines, b""))
    if head is None:
        raise _damaged(name, "it does not begin as a trace file")
    trace_id = head[1].decode()
    if is_trace_file(name) and not name.endswith(f"_{trace_id}.json"):
        raise _other_trace(name)
    return trace_id


def _parts(lines: Iterator[bytes], trace_id: UUID, name: str) -> Iterator[Part]:
    """What stands after the head, each part in the trace that the head says."""
    try:
        for text in _array_texts(lines, _MIDDLE, name):
            run = identify_run(text)
            if run.trace_id != trace_id:
                raise _other_trace(name)
            yield run
        yield from map(identify_feedback, _array_texts(lines, _FILES, name))
        yield from map(load_file, _array_texts(lines, _TAIL, name))
    except Unplaced as error:
        raise _damaged(name, str(error)) from error
    _require_end(lines, name)


def _require_end(lines: Iterator[bytes], name: str) -> None:
    if next(lines, None) is not None:
        raise _damaged(name, "text follows its end")


def _dump_file(file: StoredFile) -> bytes:
    fields = {**asdict(file), "run_id": str(file.run_id)}
    return json.dumps(fields, separators=(",", ":")).encode()


def load_file(text: bytes) -> StoredFile:
    """What an entry of a trace's files says. Raises `Unplaced`."""
    try:
        fields = json.loads(text)
        return StoredFile(**{**fields, "run_id": UUID(fields["run_id"])})
    except (ValueError, KeyError, TypeError) as error:
        raise Unplaced("an entry of its files cannot be read") from error


def _array_lines(texts: Iterable[bytes]) -> Iterator[bytes]:
    previous = None
    for text in texts:
        if previous is not None:
            yield previous + b",\n"
        previous = text
    if previous is not None:
        yield previous + b"\n"


def _array_texts(lines: Iterator[bytes], end: bytes, name: str) -> Iterator[bytes]:
    """The texts of the lines before `end`: all but the last are followed by a comma."""
    previous: bytes | None = None
    for line in lines:
        if line == end:
            break
        if previous is not None:
            if not previous.endswith(b",\n"):
                raise _damaged(name, _ODD_LINE)
            yield previous[:-2]
        previous = line
    else:
        raise _damaged(name, "it ends too early")
    if previous is not None:
        if not previous.endswith(b"\n"):
            raise _damaged(name, _ODD_LINE)
        yield previous[:-1]


def _count_texts(lines: Iterator[bytes], end: bytes, name: str) -> int:
    """How many texts `_array_texts` gives, in a third of its time: no text is cut out."""
    count, previous = 0, b",\n"
    for line in lines:
        if line == end:
            return count
        if not previous.endswith(b",\n"):
            raise _damaged(name, _ODD_LINE)
        count, previous = count + 1, line
    raise _damaged(name, "it ends too early")


def _other_trace(name: str) -> DamagedArchive:
    return _damaged(name, "it holds another trace than it says")


def _damaged(name: str, reason: str) -> DamagedArchive:
    return DamagedArchive(
        f"{name} is damaged: {reason}.", hint="Compare the copies with `lse archive verify`."
    )


def _start(trace_id: UUID, runs: tuple[RawRun, ...]) -> datetime:
    """The root's start; without a readable one, the first stamp of a dotted order, then any start."""
    root = (run.started for run in runs if run.id == trace_id)
    stamps = (stamp_of(run.dotted_order) for run in runs)
    others = (run.started for run in runs)
    known = (time for time in chain(root, stamps, others) if time is not None)
    return next(known, datetime.fromtimestamp(0, UTC))


def stamp_of(dotted_order: str) -> datetime | None:
    """The start of the root, UTC, in `YYYYMMDDTHHMMSSffffffZ<uuid>...`; None when it holds none."""
    try:
        return datetime.strptime(dotted_order[:22], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
