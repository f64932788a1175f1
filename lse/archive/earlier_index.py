"""An index over what the earlier tool left: which version of each run counts, and on which day.

It lives in a temporary SQLite database, so that its size does not depend on the memory.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from types import TracebackType
from typing import Self
from uuid import UUID

from lse.archive.earlier import EarlierRun, EarlierSource, Saved, Unreadable, read_earlier
from lse.archive.identity import Unplaced
from lse.archive.trace_file import make_trace, stamp_of
from lse.models import Progress, ProjectDay, RawFeedback, Trace, content_hash

_TABLES = """
pragma journal_mode = off;
pragma synchronous = off;
create table found (place text, folder text, project text, run_id blob, trace_id blob, root integer,
                    ended integer, saved text, began text, stamp text, content blob, size integer);
create table feedback (run_id blob, feedback_id blob, primary key (run_id, feedback_id)) without rowid;
create table unreadable (place text, reason text);
begin;
"""

# The newest by content: ended beats unended, then the later save; the rest makes it one answer in any order.
_PLACED = """
update found set project = coalesce(
    (select min(project) from found as other
     where other.folder = found.folder having count(distinct project) = 1),
    folder)
where project is null;

create table ranked as
select *, row_number() over (
    partition by run_id order by ended desc, saved desc, content desc, project desc, place) as rank
from found;
create index ranked_run on ranked (run_id);
create index ranked_trace on ranked (project, trace_id) where rank = 1;

create table traces as
select project, trace_id,
       substr(coalesce(max(case when root then began end), min(stamp), min(began)), 1, 10) as day
from ranked where rank = 1 group by project, trace_id;
create index traces_day on traces (project, day, trace_id);
"""

_ADD = f"insert into found values ({', '.join('?' * 12)})"  # noqa: S608 - nothing but question marks

_DAYS = """
select project, day, count(*), count(distinct trace_id), sum(size),
       sum((select count(*) from ranked as twin where twin.run_id = ranked.run_id) - 1),
       sum((select count(*) from feedback where feedback.run_id = ranked.run_id))
from traces join ranked using (project, trace_id)
where rank = 1 group by project, day order by project, day
"""

_OF_DAY = """
select trace_id, run_id, content
from traces join ranked using (project, trace_id)
where rank = 1 and project = ? and day = ? order by trace_id, run_id
"""

# The version that counts comes last, so that its feedback records win.
_PLACES = """
select kept.trace_id, twin.place, twin.rank
from traces join ranked as kept using (project, trace_id) join ranked as twin using (run_id)
where kept.rank = 1 and traces.project = ? and day = ?
order by kept.trace_id, kept.run_id, twin.rank desc
"""


@dataclass(frozen=True, slots=True)
class FoundDay:
    """What of one project day the earlier tool holds."""

    day: ProjectDay
    runs: int
    traces: int
    size: int
    """Bytes of the runs' texts"""
    twins: int
    """Further versions of the same runs, from fetching again"""
    feedback: int


class EarlierIndex:
    """What a source of the earlier tool holds, by project day; close it, or use it as a context manager."""

    def __init__(self, source: EarlierSource, progress: Progress) -> None:
        """Read everything that `source` holds; tells `progress` how many files or rows were read."""
        self.source = source
        # A file of its own that goes away by itself. Read by one thread at a time, which a load may choose.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)
        for number, found in enumerate(source.scan(), 1):
            self._add(found)
            progress(number, None)
        self._database.executescript(_PLACED)
        self.days: list[FoundDay] = [
            FoundDay(ProjectDay(project, date.fromisoformat(day)), runs, traces, size, twins, feedback)
            for project, day, runs, traces, size, twins, feedback in self._database.execute(_DAYS)
        ]
        """The project days, in order. A trace is whole, on the UTC day of its root."""

    @property
    def unreadable(self) -> list[Unreadable]:
        """What no run, or not all feedback, could be had from, by place."""
        rows = self._database.execute("select place, reason from unreadable order by place, reason")
        return [Unreadable(os.fsdecode(place), reason) for place, reason in rows]

    def hashes(self, day: ProjectDay) -> dict[UUID, UUID]:
        """The content hash of each run of `day`, by its id."""
        rows = self._database.execute(_OF_DAY, _key(day))
        return {UUID(bytes=run_id): UUID(bytes=content) for _, run_id, content in rows}

    def digest(self, day: ProjectDay) -> str:
        """A hash over the runs of `day`: equal for equal runs."""
        rows = self._database.execute(_OF_DAY, _key(day))
        return hashlib.sha256(b"".join(part for row in rows for part in row)).hexdigest()

    def traces(self, day: ProjectDay) -> Iterator[Trace]:
        """The traces of `day` by id, each read when it is asked for.

        Feedback of every version of a run counts, and that of the newest wins. Raises `Unplaced` for a file
        that was readable before and is not now.
        """
        rows = self._database.execute(_PLACES, _key(day))
        for trace_id, places in groupby(rows, key=lambda row: row[0]):
            ranks = {os.fsdecode(place): rank for _, place, rank in places}
            feedback: dict[UUID, RawFeedback] = {}
            runs = []
            for saved in self.source.read(ranks):
                version = read_earlier(saved)
                feedback |= {item.id: item for item in version.feedback}
                if ranks[saved.place] == 1:
                    runs.append(version.run)
            if runs:
                yield make_trace(UUID(bytes=trace_id), runs, feedback.values())

    def close(self) -> None:
        """Let go of the index and its source."""
        self._database.close()
        self.source.close()

    def _add(self, found: Saved | Unreadable) -> None:
        if isinstance(found, Unreadable):
            self._miss(found.place, found.reason)
            return
        try:
            version = read_earlier(found)
        except Unplaced as error:
            self._miss(found.place, str(error))
            return
        self._database.execute(_ADD, _row(found, version))
        self._database.executemany(
            "insert or ignore into feedback values (?, ?)",
            [(version.run.id.bytes, item.id.bytes) for item in version.feedback],
        )
        if version.odd_feedback:
            self._miss(found.place, f"{version.odd_feedback} of its feedback records cannot be placed")

    def _miss(self, place: str, reason: str) -> None:
        self._database.execute("insert into unreadable values (?, ?)", (os.fsencode(place), reason))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(found: Saved, version: EarlierRun) -> tuple[str | int | bytes | None, ...]:
    run = version.run
    stamp = stamp_of(run.dotted_order)
    return (
        os.fsencode(found.place),  # a file's name may be no UTF-8
        found.project,
        version.project,
        run.id.bytes,
        run.trace_id.bytes,
        run.id == run.trace_id,
        run.ended,
        version.saved,
        run.started.isoformat() if run.started else None,
        stamp.isoformat() if stamp else None,
        content_hash(run.text).bytes,
        len(run.text),
    )


def _key(day: ProjectDay) -> tuple[str, str]:
    return day.project, day.day.isoformat()
