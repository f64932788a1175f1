"""From the texts of a finished walk to trace files."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import reduce
from pathlib import Path
from uuid import UUID

from lse.archive.files import atomic_file, sync_directory
from lse.archive.identity import Unplaced, identify_run
from lse.archive.layout import UNPLACED, trace_of_file
from lse.archive.merge import merge_trace
from lse.archive.spool import Spool
from lse.archive.trace_file import DamagedArchive, make_trace, read_trace_file, trace_lines, write_trace
from lse.archive.versions import Superseded
from lse.models import RawFeedback, StoredFile, Trace, content_hash

logger = logging.getLogger(__name__)

# May also match inside a payload; that costs one look-up of feedback that is not there.
_HAS_FEEDBACK = re.compile(rb'"(?:feedback_stats|FEEDBACK_STATS)"\s*:\s*\{\s*"')


Collect = Callable[[Trace, Sequence[StoredFile]], list[StoredFile]]
"""Stores the files of a fetched trace; is told which are known from before, and says which there are."""

Merge = Callable[[Trace | None, Trace], Trace]
"""Puts a later trace over what is archived of it, as `merge_trace` does."""


@dataclass(slots=True)
class SpoolIndex:
    """Where each run's latest text stands in a spool."""

    traces: dict[UUID, dict[UUID, int]] = field(default_factory=dict)
    """trace id → run id → offset"""
    unplaced: list[int] = field(default_factory=list)
    """Offsets of the distinct texts that name no trace"""
    with_feedback: set[UUID] = field(default_factory=set)
    started: Counter[date] = field(default_factory=Counter)
    """How many of the placed runs started on each UTC day"""

    @property
    def runs(self) -> set[UUID]:
        """The ids of all placed runs."""
        return {run_id for runs in self.traces.values() for run_id in runs}


@dataclass(frozen=True, slots=True)
class Update:
    """A trace as it is archived now, and what of it is different from before."""

    trace: Trace
    written: bool
    """Whether its file was written"""
    added: int = 0
    """Runs that were not archived before"""
    changed: int = 0
    """Runs whose text was replaced"""
    vanished: int = 0
    """Runs that were archived before and were not fetched"""
    feedback: int = 0
    """Feedback records that were added or replaced"""


def index_spool(spool: Spool, begin: int = 0, end: int | None = None) -> SpoolIndex:
    """The index of the texts in `[begin, end)`. A finished version is kept over a later unfinished one."""
    index = SpoolIndex()
    finished: set[UUID] = set()
    unplaced: set[UUID] = set()
    for offset, text in spool.texts(begin, end):
        try:
            run = identify_run(text)
        except Unplaced:
            if (content := content_hash(text)) not in unplaced:
                unplaced.add(content)
                index.unplaced.append(offset)
            continue
        if run.ended or run.id not in finished:
            runs = index.traces.setdefault(run.trace_id, {})
            if run.started is not None and run.id not in runs:
                index.started[run.started.date()] += 1
            runs[run.id] = offset
        if run.ended:
            finished.add(run.id)
        if _HAS_FEEDBACK.search(text):
            index.with_feedback.add(run.id)
    return index


def write_traces(
    folder: Path,
    spool: Spool,
    index: SpoolIndex,
    feedback: Mapping[UUID, list[RawFeedback]],
    collect: Collect | None = None,
) -> Iterator[Update]:
    """Bring the trace files in `folder` up to date; yields what became of each trace that was fetched.

    `collect` stores the files that a trace's runs link to, before the trace that names them is written;
    without it, no file is added. See `update_traces`.
    """
    yield from update_traces(folder, _fetched(spool, index, feedback), collect)
    _add_unplaced(folder, spool.read(index.unplaced))


def update_traces(
    folder: Path, traces: Iterable[Trace], collect: Collect | None = None, merge: Merge = merge_trace
) -> Iterator[Update]:
    """Bring the files of `traces` in `folder` up to date; yields what became of each.

    A text that is replaced is kept before its trace is written. The names of the files are durable once the
    last trace was yielded.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in folder.glob(".*.tmp"):
        stale.unlink()  # left by a killed process; the lock on the day keeps others out
    existing = _files_by_trace(folder)
    superseded = Superseded(folder)
    for trace in traces:
        yield _update(folder, existing.get(trace.id, []), trace, collect, merge, superseded)
    sync_directory(folder)


def _fetched(spool: Spool, index: SpoolIndex, feedback: Mapping[UUID, list[RawFeedback]]) -> Iterator[Trace]:
    for trace_id, offsets in index.traces.items():
        runs = [identify_run(text) for text in spool.read(offsets.values())]
        yield make_trace(trace_id, runs, [item for run_id in offsets for item in feedback.get(run_id, [])])


def runs_of_other_traces(folder: Path, index: SpoolIndex) -> int:
    """How many runs are archived of traces that were not fetched at all. Damaged files do not count."""
    runs = 0
    for trace_id, paths in _files_by_trace(folder).items():
        if trace_id not in index.traces:
            try:
                runs += len(read_trace_file(paths[-1]).runs)
            except DamagedArchive as error:
                logger.warning("%s", error)
    return runs


def _files_by_trace(folder: Path) -> dict[UUID, list[Path]]:
    """The files of each trace, the oldest first; there are two after a kill while renaming."""
    found: dict[UUID, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        if trace_id := trace_of_file(path.name):
            found[trace_id].append(path)
    return found


def _update(
    folder: Path,
    paths: list[Path],
    fetched: Trace,
    collect: Collect | None,
    merge: Merge,
    superseded: Superseded,
) -> Update:
    """Merge `fetched` into the trace's file, or files."""
    earlier = [read_trace_file(path) for path in paths]
    if collect is not None:
        known = [file for trace in earlier for file in trace.files]
        fetched = replace(fetched, files=tuple(collect(fetched, known)))
    archived = reduce(merge_trace, earlier) if earlier else None
    trace = merge(archived, fetched)
    update = _compared(earlier, fetched, trace)
    if not update.written:
        return update
    superseded.add(_replaced(earlier, trace))
    written = write_trace(folder, trace, name_later=True)
    if others := [path for path in paths if path != written]:
        sync_directory(folder)
        for path in others:
            path.unlink()  # the root's start became known: the file has another name now
    return update


def _compared(earlier: Sequence[Trace], fetched: Trace, trace: Trace) -> Update:
    runs = {run.id: run.text for before in earlier for run in before.runs}
    feedback = {item.id: item.text for before in earlier for item in before.feedback}
    same = len(earlier) == 1 and list(trace_lines(trace)) == list(trace_lines(earlier[0]))
    return Update(
        trace,
        written=not same,
        added=sum(run.id not in runs for run in trace.runs),
        changed=sum(run.text != runs.get(run.id, run.text) for run in trace.runs),
        vanished=len(runs.keys() - {run.id for run in fetched.runs}),
        feedback=sum(item.text != feedback.get(item.id) for item in trace.feedback),
    )


def _replaced(earlier: Iterable[Trace], trace: Trace) -> list[bytes]:
    """The texts of runs and feedback that are not in the trace any more."""
    kept = set(_texts(trace))
    return [text for before in earlier for text in _texts(before) if text not in kept]


def _texts(trace: Trace) -> list[bytes]:
    return [run.text for run in trace.runs] + [item.text for item in trace.feedback]


def _add_unplaced(folder: Path, texts: Iterable[bytes]) -> None:
    """Keep the runs that name no trace, each text once."""
    path = folder / UNPLACED
    before = path.read_bytes().splitlines() if path.exists() else []
    lines = dict.fromkeys([*before, *texts])
    if len(lines) > len(before):
        with atomic_file(path) as file:
            file.writelines(line + b"\n" for line in lines)
