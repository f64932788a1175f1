"""From the texts of a finished walk to trace files."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from uuid import UUID

from lse.archive.files import atomic_file
from lse.archive.identity import Unplaced, identify_run
from lse.archive.layout import UNPLACED, trace_of_file
from lse.archive.merge import merge_trace
from lse.archive.spool import Spool
from lse.archive.trace_file import make_trace, read_trace_file, trace_lines, write_trace
from lse.models import RawFeedback, StoredFile, Trace, content_hash

# May also match inside a payload; that costs one look-up of feedback that is not there.
_HAS_FEEDBACK = re.compile(rb'"(?:feedback_stats|FEEDBACK_STATS)"\s*:\s*\{\s*"')


Collect = Callable[[Trace, Sequence[StoredFile]], list[StoredFile]]
"""Stores the files of a fetched trace; is told which are known from before, and says which there are."""


@dataclass(slots=True)
class SpoolIndex:
    """Where each run's latest text stands in a spool."""

    traces: dict[UUID, dict[UUID, int]] = field(default_factory=dict)
    """trace id → run id → offset"""
    unplaced: list[int] = field(default_factory=list)
    """Offsets of the distinct texts that name no trace"""
    with_feedback: set[UUID] = field(default_factory=set)

    @property
    def runs(self) -> set[UUID]:
        """The ids of all placed runs."""
        return {run_id for runs in self.traces.values() for run_id in runs}


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
            index.traces.setdefault(run.trace_id, {})[run.id] = offset
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
) -> Iterator[tuple[Trace, bool]]:
    """Bring the trace files in `folder` up to date; yields each trace as archived and whether it changed.

    `collect` stores the files that a trace's runs link to, before the trace that names them is written;
    without it, no file is added.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in folder.glob(".*.tmp"):
        stale.unlink()  # left by a killed process; the lock on the day keeps others out
    existing: dict[UUID | None, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        existing[trace_of_file(path.name)].append(path)
    for trace_id, offsets in index.traces.items():
        runs = [identify_run(text) for text in spool.read(offsets.values())]
        found = [item for run_id in offsets for item in feedback.get(run_id, [])]
        yield _update(folder, existing[trace_id], make_trace(trace_id, runs, found), collect)
    _add_unplaced(folder, spool.read(index.unplaced))


def _update(folder: Path, paths: list[Path], fetched: Trace, collect: Collect | None) -> tuple[Trace, bool]:
    """Merge `fetched` into the trace's file; there are two, oldest first, after a kill while renaming."""
    earlier = [read_trace_file(path) for path in paths]
    if collect is not None:
        known = [file for trace in earlier for file in trace.files]
        fetched = replace(fetched, files=tuple(collect(fetched, known)))
    trace = reduce(merge_trace, [*earlier, fetched])
    if len(earlier) == 1 and list(trace_lines(trace)) == list(trace_lines(earlier[0])):
        return trace, False
    written = write_trace(folder, trace)
    for path in paths:
        if path != written:
            path.unlink()  # the root's start became known: the file has another name now
    return trace, True


def _add_unplaced(folder: Path, texts: Iterable[bytes]) -> None:
    """Keep the runs that name no trace, each text once."""
    path = folder / UNPLACED
    before = path.read_bytes().splitlines() if path.exists() else []
    lines = dict.fromkeys([*before, *texts])
    if len(lines) > len(before):
        with atomic_file(path) as file:
            file.writelines(line + b"\n" for line in lines)
