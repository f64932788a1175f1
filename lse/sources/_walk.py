"""Walk a window to its end and prove that nothing was missed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from lse.archive.assemble import SpoolIndex, index_spool
from lse.archive.spool import Spool
from lse.errors import TemporaryError
from lse.sources import Counts, Page, Source, Window
from lse.sources._http import NotServed, Refused

logger = logging.getLogger(__name__)

_MOST_WALKS = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a fetch has every run, and the figures that say so."""

    complete: bool
    reason: str
    """What proves it, or what does not agree."""
    walks: int
    server: Counts | None


def walk_until_proved(source: Source, window: Window, spool: Spool, progress: Callable[[int], None]) -> Proof:
    """Walk until the source's own count equals the last walk, or, if it cannot count, two walks agree.

    An unfinished walk in the spool is continued at its page, or starts over when the source does not know
    its cursor any more. After three walks without proof, the result is not complete and says what did not
    agree. Raises `TemporaryError` when the cursors lead in a circle.
    """
    while True:
        _walk(source, window, spool, progress)
        proof = _judge(spool, source.counts(window))
        if proof.complete or proof.walks >= _MOST_WALKS:
            return proof


def _walk(source: Source, window: Window, spool: Spool, progress: Callable[[int], None]) -> None:
    progress(spool.position.runs)
    seen: set[str | None] = set()
    while True:
        page = _next_page(source, window, spool, resumed=not seen)
        seen.add(spool.position.cursor)
        if page.cursor is not None and page.cursor in seen:
            raise TemporaryError("The source's cursors lead in a circle.", hint="Try again later.")
        spool.add_page(page.texts, page.cursor)
        progress(spool.position.runs)
        if page.cursor is None:
            return


def _next_page(source: Source, window: Window, spool: Spool, *, resumed: bool) -> Page:
    try:
        return source.page(window, spool.position.cursor)
    except (NotServed, Refused) as error:
        if not resumed or spool.position.cursor is None:
            raise
        logger.info("%s The fetch starts over.", error)
        spool.start_over()
        return source.page(window, None)


def _judge(spool: Spool, server: Counts | None) -> Proof:
    walks = len(spool.position.ends)
    last = _walked(spool, -1)
    if server is not None:
        runs = len(last.runs) + len(last.unplaced)
        agrees = (server.runs, server.traces) == (runs, len(last.traces))
        found = "and so does the walk" if agrees else f"the walk gave {runs} in {len(last.traces)}"
        counted = f"the server counts {server.runs} runs in {server.traces} traces"
        return Proof(agrees, f"{counted}, {found}", walks, server)
    if walks < 2:
        return Proof(False, "the server cannot count and was walked only once", walks, None)
    agrees = last.runs == _walked(spool, -2).runs
    return Proof(agrees, f"the last two walks {'agree' if agrees else 'differ'}", walks, None)


def _walked(spool: Spool, walk: int) -> SpoolIndex:
    """What one finished walk gave; -1 is the last one."""
    bounds = (0, *spool.position.ends)
    return index_spool(spool, bounds[walk - 1], bounds[walk])
