"""Walk a window to its end and prove that nothing was missed."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from threading import Event

from lse.archive.assemble import SpoolIndex, index_spool
from lse.archive.spool import Spool
from lse.errors import TemporaryError
from lse.langsmith.http import NotServed, Refused
from lse.sources import Counts, Source, Window
from lse.sources._read_apis import late_from

logger = logging.getLogger(__name__)

_MOST_WALKS = 3
_LANES = 4
_WORTH_LANES = 5_000
"""Runs from which on lanes pay: with fewer, one walk is done within seconds at the allowed rate."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a fetch has every run, and the figures that say so."""

    complete: bool
    reason: str
    """What proves it, or what does not agree."""
    walks: int
    server: Counts | None


def lanes_for(counts: Counts | None) -> int:
    """How many parts of a window are walked side by side: few, since each may cost a page that is not full.

    The last one is for runs that started more than a week after the window began.
    """
    return 1 + (_LANES if counts is not None and counts.runs >= _WORTH_LANES else 1)


def walk_until_proved(
    source: Source, window: Window, spool: Spool, progress: Callable[[int], None]
) -> tuple[Proof, SpoolIndex]:
    """Walk until the source's own count equals the last walk, or, if it cannot count, two walks agree.

    Gives the proof, and the index of what all walks together found. An unfinished walk in the spool is
    continued at its pages, or starts over when the source does not know a cursor any more. After three walks
    without proof, the result is not complete and says what did not agree. Raises `TemporaryError` when the
    cursors lead in a circle.
    """
    while True:
        progress(spool.position.runs)
        _walk(source, window, spool, progress)
        counts, last = source.counts(window), _walked(spool, -1)
        proof = _judge(spool, last, counts)
        if proof.complete or proof.walks >= _MOST_WALKS:
            return proof, last if proof.walks == 1 else index_spool(spool)


def _walk(source: Source, window: Window, spool: Spool, progress: Callable[[int], None]) -> None:
    """Walk every lane to its end, the late runs last; when one fails, the others stop at their next page."""
    *parts, late = _split(window, len(spool.position.lanes))
    stop = Event()
    with ThreadPoolExecutor(len(parts), thread_name_prefix="lse-walk") as pool:
        walks = [
            pool.submit(_walk_lane, source, part, spool, lane, progress, stop)
            for lane, part in enumerate(parts)
            if not spool.position.lanes[lane].done
        ]
        try:
            for walk in as_completed(walks):
                walk.result()
        finally:
            stop.set()
    _walk_lane(source, late, spool, len(parts), progress, Event())


def _walk_lane(
    source: Source, part: Window, spool: Spool, lane: int, progress: Callable[[int], None], stop: Event
) -> None:
    if part.runs_from is not None and part.runs_from > datetime.now(UTC):
        spool.skip(lane)
        return
    cursor = spool.position.lanes[lane].cursor
    resumed, seen = cursor is not None, {cursor}
    while not stop.is_set():
        try:
            page = source.page(part, cursor)
        except (NotServed, Refused) as error:
            if not resumed:
                raise
            logger.info("%s The fetch starts over.", error)
            spool.restart(lane)
            cursor, resumed, seen = None, False, {None}
            continue
        if page.cursor is not None and page.cursor in seen:
            raise TemporaryError("The source's cursors lead in a circle.", hint="Try again later.")
        spool.add_page(page.texts, page.cursor, lane, doubtful=page.doubtful)
        progress(spool.position.runs)
        if page.cursor is None:
            return
        cursor, resumed = page.cursor, False
        seen.add(cursor)


def _split(window: Window, lanes: int) -> list[Window]:
    """The window in equal parts of time, and a last part for runs that started late.

    A trace belongs to the part in which its root started. Runs that start more than a week later are rare;
    without them a part is short enough for LangSmith's faster rate.
    """
    late = late_from(window)
    until = late if late < datetime.now(UTC) else None
    step = (window.end - window.start) / (lanes - 1)
    bounds = [window.start + step * number for number in range(lanes - 1)] + [window.end]
    parts = [replace(window, start=start, end=end, runs_until=until) for start, end in pairwise(bounds)]
    return [*parts, replace(window, runs_from=late)]


def _judge(spool: Spool, last: SpoolIndex, server: Counts | None) -> Proof:
    walks = len(spool.position.ends)
    if server is not None:
        runs = len(last.runs) + len(last.unplaced)
        agrees = (server.runs, server.traces) == (runs, len(last.traces))
        found = "and so does the walk" if agrees else f"the walk gave {runs} in {len(last.traces)}"
        counted = f"the server counts {server.runs} runs in {server.traces} traces"
        return Proof(agrees, f"{counted}, {found}", walks, server)
    if spool.position.doubtful:
        return Proof(False, "the last page was full, and the server cannot count", walks, None)
    if walks < 2:
        return Proof(False, "the server cannot count and was walked only once", walks, None)
    agrees = last.runs == _walked(spool, -2).runs
    return Proof(agrees, f"the last two walks {'agree' if agrees else 'differ'}", walks, None)


def _walked(spool: Spool, walk: int) -> SpoolIndex:
    """What one finished walk gave; -1 is the last one."""
    bounds = (0, *spool.position.ends)
    return index_spool(spool, bounds[walk - 1], bounds[walk])
