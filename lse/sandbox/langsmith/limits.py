"""Rate limits as LangSmith's documentation on usage limits gives them."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from lse.sandbox.langsmith import times

SHORT_WINDOW = timedelta(days=7)
LIMITS: dict[str, tuple[int, float]] = {
    "query": (10, 10.0),
    "query_long": (3, 10.0),
    "query_costly": (3, 10.0),
    "query_costly_long": (1, 10.0),
    "read_run": (30, 60.0),
    "v2": (300, 10.0),
    "ingest": (5000, 60.0),
    "other": (2000, 60.0),
}
"""Requests per seconds, for each kind of request."""
_KINDS = {
    "read_run": "read_run",
    "v2_query_runs": "v2",
    "v2_read_run": "v2",
    "ingest_multipart": "ingest",
    "ingest_batch": "ingest",
    "post_run": "ingest",
    "patch_run": "ingest",
    "create_feedback": "ingest",
}


class RateLimiter:
    """Counts requests per kind over a sliding window."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, scale: float = 1.0) -> None:
        """`scale` stretches every window; 0.1 makes a 10 s window last one second."""
        self._clock = clock
        self._scale = scale
        self._seen: dict[str, deque[float]] = {kind: deque() for kind in LIMITS}
        self._lock = threading.Lock()

    def wait(self, kind: str) -> float:
        """0.0 when a request of this kind may pass (it then counts), else the seconds until one may."""
        most, seconds = LIMITS[kind]
        with self._lock:
            now, seen = self._clock(), self._seen[kind]
            while seen and seen[0] <= now - seconds * self._scale:
                seen.popleft()
            if len(seen) < most:
                seen.append(now)
                return 0.0
            return seen[0] + seconds * self._scale - now


def retry_after(seconds: float) -> str:
    """The header value for a wait: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


def kind_of(operation: str, body: Callable[[], Mapping[str, Any]], now_micros: int) -> str:
    """Which limit a request counts against; `body()` is only read for queries of runs.

    A query is long when its window exceeds 7 days or has no start, and costly when it searches full text
    or selects `child_run_ids`.
    """
    if operation != "query_runs":
        return _KINDS.get(operation, "other")
    asked = body()
    start, end = times.moment(asked.get("start_time")), times.moment(asked.get("end_time"))
    latest = now_micros if end is None else times.micros(end)
    long = start is None or latest - times.micros(start) > SHORT_WINDOW // timedelta(microseconds=1)
    searches = asked.get("query") or "search(" in str(asked.get("filter"))
    costly = searches or "child_run_ids" in str(asked.get("select"))
    return "query" + ("_costly" if costly else "") + ("_long" if long else "")
