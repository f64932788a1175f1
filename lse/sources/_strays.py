"""Runs that no walk over traces shows: those of a trace whose root never reached the source.

A walk asks for the traces whose root started on the day, so such a run is in neither walk nor count. It is
found by asking for the runs that started on the day themselves, and only where the source counts more of
those than it has roots for.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from lse.archive.assemble import SpoolIndex, index_spool
from lse.archive.identity import Unplaced, identify_run
from lse.archive.spool import Spool
from lse.models import RawRun
from lse.sources import Source, Window

_LONGEST_TRACE = timedelta(days=400)
"""LangSmith deletes every trace after the longer of its two retentions at the latest."""


def add_strays(source: Source, day: Window, spool: Spool, index: SpoolIndex) -> SpoolIndex:
    """Add the runs of `day` without a root to the spool; the index with them, or as it was without any.

    A source that cannot count is not asked for them.
    """
    if not _counts_more(source, day, index):
        return index
    others = [run for run in _started_on(source, day) if run.trace_id not in index.traces]
    with_root = source.existing(day.project, {run.trace_id for run in others})
    strays = [run.text for run in others if run.trace_id not in with_root]
    if not strays:
        return index
    spool.add_walk(strays)
    return index_spool(spool)


def _counts_more(source: Source, day: Window, index: SpoolIndex) -> bool:
    """Whether more runs started on `day` than those walked and those of traces that began before it."""
    walked = index.started[day.start.date()]
    started = source.count_runs(replace(day, whole_traces=False))
    if started is None or started <= walked:
        return False
    before = replace(
        day, start=day.start - _LONGEST_TRACE, end=day.start, runs_from=day.start, runs_until=day.end
    )
    return started > walked + (source.count_runs(before) or 0)


def _started_on(source: Source, day: Window) -> Iterator[RawRun]:
    """Every run that started on `day`; one that names no trace is none of a trace without root."""
    cursor = None
    while True:
        page = source.page(replace(day, whole_traces=False), cursor)
        for text in page.texts:
            try:
                yield identify_run(text)
            except Unplaced:
                continue
        cursor = page.cursor
        if cursor is None:
            return
