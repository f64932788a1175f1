"""Questions about runs: read from the bodies of both APIs, answered from memory, paged by keyset cursors."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from lse.sandbox.langsmith import filters, times
from lse.sandbox.langsmith.filters import Filter, FilterError
from lse.sandbox.langsmith.projection import SELECTABLE, V2_SCHEMA
from lse.sandbox.langsmith.runs import Run, Runs

V1_PAGE = 100
V2_PAGE = 1000
V2_DEFAULT_PAGE = 100
V2_DEFAULT_WINDOW = timedelta(days=1)
V2_LONGEST_WINDOW = timedelta(days=401)
"""Page sizes and windows of LangSmith's documentation and SDK."""

Key = tuple[int, str]
FIRST_DESCENDING: Key = (2**62, "")
FIRST_ASCENDING: Key = (-(2**62), "")


class BadRequest(ValueError):
    """A request that cannot be answered; `status` is the HTTP status, the text goes into the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs are wanted. Empty and None mean any; low <= start < high in microseconds since 1970."""

    sessions: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    trace: str | None = None
    parent: str | None = None
    is_root: bool | None = None
    run_type: str | None = None
    error: bool | None = None
    low: int | None = None
    high: int | None = None
    reference_examples: tuple[str, ...] = ()
    filter: Filter | None = None
    trace_filter: Filter | None = None
    tree_filter: Filter | None = None


def v1_query(body: Mapping[str, Any]) -> Query:
    """The question in the body of `POST /runs/query` or `/runs/stats`; unknown keys are ignored.

    `id` makes the server ignore everything else (LangSmith's documentation). Both time bounds are
    inclusive here; LangSmith does not say which they are. `BadRequest` for values of the wrong kind.
    """
    if ids := _texts(body, "id"):
        return Query(ids=ids)
    end = _time(body, "end_time")
    return Query(
        sessions=_texts(body, "session"),
        trace=_id(body, "trace"),
        parent=_id(body, "parent_run"),
        is_root=_flag(body, "is_root"),
        run_type=_string(body, "run_type"),
        error=_flag(body, "error"),
        low=_time(body, "start_time"),
        high=None if end is None else end + 1,
        reference_examples=_texts(body, "reference_example"),
        filter=read_filter(body, "filter", _string(body, "query")),
        trace_filter=read_filter(body, "trace_filter"),
        tree_filter=read_filter(body, "tree_filter"),
    )


def v2_query(body: Mapping[str, Any], now: datetime) -> Query:
    """The question in the body of `POST /api/v2/runs/query`; min inclusive, max exclusive.

    Without `min_start_time` only the last 24 hours are seen. `BadRequest` for values of the wrong kind.
    """
    sessions = _texts(body, "project_ids")
    if bool(sessions) == bool(body.get("reference_dataset_id")):
        raise BadRequest("Exactly one of project_ids and reference_dataset_id is required")
    low, high = v2_window(body, now)
    run_type = _string(body, "run_type")
    return Query(
        sessions=sessions,
        ids=_texts(body, "ids") or None,
        trace=_id(body, "trace_id"),
        is_root=_flag(body, "is_root"),
        run_type=run_type.lower() if run_type else None,
        error=_flag(body, "has_error"),
        low=low,
        high=high,
        reference_examples=_texts(body, "reference_examples"),
        filter=read_filter(body, "filter"),
        trace_filter=read_filter(body, "trace_filter"),
        tree_filter=read_filter(body, "tree_filter"),
    )


def v2_window(body: Mapping[str, Any], now: datetime) -> tuple[int, int | None]:
    """The window of a v2 request, the last 24 hours by default; `BadRequest` when longer than 401 days."""
    low, high = _time(body, "min_start_time"), _time(body, "max_start_time")
    latest = times.micros(now) if high is None else high
    if low is None:
        low = times.micros(now - V2_DEFAULT_WINDOW)
    if latest - low > V2_LONGEST_WINDOW // timedelta(microseconds=1):
        raise BadRequest(f"time range must not exceed {V2_LONGEST_WINDOW.days} days")
    return low, high


def v1_limit(body: Mapping[str, Any], cap: int) -> int:
    """How many runs a v1 page holds; above the cap the documented 400, not less."""
    limit = body.get("limit")
    if limit is None:
        return min(V1_PAGE, cap)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BadRequest("limit must be an integer of at least 1", 422)
    if limit > cap:
        raise BadRequest(f"Limit exceeds maximum allowed value of {cap}")
    return limit


def v1_select(body: Mapping[str, Any], also: Iterable[str] = ()) -> frozenset[str] | None:
    """The selected members, or None for the default ones; `BadRequest` (422) for a name that is no member.

    `also` are members that runs of this server have beyond the documented ones.
    """
    if body.get("select") is None:
        return None
    names = _texts(body, "select", lower=False)
    if unknown := [name for name in names if name not in SELECTABLE and name not in also]:
        raise BadRequest(f"select: {unknown[0][:60]!r} is not a member of a run", 422)
    return frozenset(names)


def v2_selects(names: object) -> tuple[str, ...]:
    """The selected fields, only `ID` when none are named; `BadRequest` for an unknown one."""
    if names is None or names == []:
        return ("ID",)
    if not isinstance(names, list):
        raise BadRequest("selects must be a list")
    if unknown := [name for name in names if name not in V2_SCHEMA]:
        raise BadRequest(f"selects: {str(unknown[0])[:60]!r} is not a field of a run")
    return tuple(dict.fromkeys(names))


def v2_page_size(value: object, default: int = V2_DEFAULT_PAGE, most: int = V2_PAGE) -> int:
    """How many items a v2 page holds; `BadRequest` outside 1 to `most`."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise BadRequest(f"page_size must be between 1 and {most}")
    return value


# --- cursors


def encode_cursor(key: Key, *, newest_first: bool) -> str:
    """An opaque text for the place just after `key`."""
    side = "lt" if newest_first else "gt"
    token = {"v": 1, "a": "runs.query", "k": "pass", "t": [side, *key]}
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def decode_cursor(cursor: object, *, newest_first: bool) -> Key:
    """The place that `encode_cursor` hid; `BadRequest` for any other text."""
    side = "lt" if newest_first else "gt"
    try:
        token = json.loads(base64.urlsafe_b64decode(str(cursor).encode()))
        found, start, run_id = token["t"]
        if found == side and isinstance(start, int) and isinstance(run_id, str):
            return start, run_id
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadRequest("Invalid cursor") from error
    raise BadRequest("Invalid cursor")


# --- answers


def select(runs: Runs, query: Query, knowledge: filters.Knowledge) -> list[Run]:
    """The runs that `query` asks for, in order of (start, id)."""
    found: list[Run] = runs.cached(query, lambda: _select(runs, query, knowledge))
    return found


def page(
    found: Sequence[Run], after: Key | None, size: int, *, newest_first: bool, skip: int = 0
) -> list[Run]:
    """The next `size` runs after a place; `skip` moves the page by that many runs."""
    if newest_first:
        end = len(found) if after is None else _before(found, after)
        stop = max(0, end - skip)
        return list(reversed(found[max(0, stop - size) : stop]))
    begin = 0 if after is None else _before(found, (after[0], after[1] + "\0"))
    begin = max(0, begin + skip)
    return list(found[begin : begin + size])


def _before(found: Sequence[Run], key: Key) -> int:
    """How many runs come before `key`."""
    low, high = 0, len(found)
    while low < high:
        middle = (low + high) // 2
        if found[middle].key < key:
            low = middle + 1
        else:
            high = middle
    return low


def _select(runs: Runs, query: Query, knowledge: filters.Knowledge) -> list[Run]:
    verdicts: dict[str, bool] = {}

    def in_wanted_trace(run: Run) -> bool:
        if run.trace_id not in verdicts:
            verdicts[run.trace_id] = _trace_matches(runs, run.trace_id, query, knowledge)
        return verdicts[run.trace_id]

    by_trace = query.trace_filter is not None or query.tree_filter is not None
    kept = [
        run
        for run in _candidates(runs, query)
        if _matches(run, query, knowledge) and (not by_trace or in_wanted_trace(run))
    ]
    return sorted(kept, key=lambda run: run.key)


def _candidates(runs: Runs, query: Query) -> Iterable[Run]:
    """A small superset of the answer, found through an index."""
    sessions = query.sessions or tuple(runs.sessions())
    if query.ids is not None:
        return [run for run_id in dict.fromkeys(query.ids) if (run := runs.get(run_id))]
    if query.trace is not None:
        trace = runs.trace(query.trace)
        return list(trace.runs.values()) if trace else []
    if query.parent is not None and (parent := runs.get(query.parent)):
        return runs.trace_of(parent).children(parent.id)
    if query.trace_filter is not None and query.trace_filter.window != (None, None):
        low, high = query.trace_filter.window
        roots = (run for session in sessions for run in runs.between(session, low, high))
        return [
            run for root in roots if root.id == root.trace_id for run in runs.trace_of(root).runs.values()
        ]
    return [run for session in sessions for run in runs.between(session, query.low, query.high)]


def _matches(run: Run, query: Query, knowledge: filters.Knowledge) -> bool:
    start = run.key[0]
    return (
        (not query.sessions or run.session_id in query.sessions)
        and (query.low is None or start >= query.low)
        and (query.high is None or start < query.high)
        and (query.trace is None or run.trace_id == query.trace)
        and (query.parent is None or run.parent_id == query.parent)
        and (query.is_root is None or run.is_root is query.is_root)
        and (query.run_type is None or run.run_type == query.run_type)
        and (query.error is None or (run.status == "error" or bool(run.error)) is query.error)
        and (not query.reference_examples or run.reference_example_id in query.reference_examples)
        and (query.filter is None or query.filter.matches(run, knowledge))
    )


def _trace_matches(runs: Runs, trace_id: str, query: Query, knowledge: filters.Knowledge) -> bool:
    trace = runs.trace(trace_id)
    if trace is None:
        return False
    root, wanted, anywhere = trace.root, query.trace_filter, query.tree_filter
    if wanted is not None and (root is None or not wanted.matches(root, knowledge)):
        return False
    return anywhere is None or any(anywhere.matches(run, knowledge) for run in trace.runs.values())


def roots_only(query: Query) -> Query:
    """The same question about roots alone."""
    return replace(query, is_root=True)


# --- reading bodies


def _texts(body: Mapping[str, Any], key: str, *, lower: bool = True) -> tuple[str, ...]:
    value = body.get(key)
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise BadRequest(f"{key} must be a list of texts", 422)
    return tuple(item.lower() if lower else item for item in items)


def _id(body: Mapping[str, Any], key: str) -> str | None:
    value = _string(body, key)
    return value.lower() if value else None


def _string(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key} must be a text", 422)
    return value


def _flag(body: Mapping[str, Any], key: str) -> bool | None:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{key} must be true or false", 422)
    return value


def _time(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    at = times.moment(value)
    if at is None:
        raise BadRequest(f"{key} must be a date and time", 422)
    return times.micros(at)


def read_filter(body: Mapping[str, Any], key: str, words: str | None = None) -> Filter | None:
    """The filter under `key`, joined with a full-text search for `words`; `BadRequest` when it is none."""
    parts = [part for part in (_string(body, key), f"search({json.dumps(words)})" if words else None) if part]
    if not parts:
        return None
    try:
        return filters.parse(parts[0] if len(parts) == 1 else f"and({', '.join(parts)})")
    except FilterError as error:
        raise BadRequest(f"Invalid {key}: {error}") from error
