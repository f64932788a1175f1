"""Runs in memory: the exact text of every member, and a small parsed record beside it for finding runs."""

import json
import re
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.usage import NOTHING, Usage, of_fields, of_payload, subtree_totals

_ID_END = re.compile(r"[0-9a-fA-F-]{36}$")
_THREAD_KEYS = ("session_id", "thread_id", "conversation_id")
_CACHED_SELECTIONS = 16


class BadRun(ValueError):
    """A run that cannot be kept; the message says why and quotes no content."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a run: its kind, and the key of its bytes in the blob store."""

    mime_type: str
    blob: str


@dataclass(frozen=True, eq=False)
class Run:
    """One run. `members` holds each top-level key with its exact JSON text; the rest was read from it.

    `verbatim` runs are served in the order of `members`, others in the order of LangSmith's schema.
    Times are aware and UTC.
    """

    members: Mapping[str, bytes]
    id: str
    trace_id: str
    session_id: str
    parent_ids: tuple[str, ...]
    name: str
    run_type: str
    status: str
    start: datetime
    end: datetime | None
    error: object
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    reference_example_id: str | None
    usage: Usage | None
    verbatim: bool = False
    attachments: Mapping[str, Attachment] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        members: Mapping[str, bytes],
        session_id: str,
        *,
        parsed: Mapping[str, Any] | None = None,
        verbatim: bool = False,
        attachments: Mapping[str, Attachment] | None = None,
    ) -> Self:
        """The run that `members` describe, read leniently: an odd value counts as absent.

        `parsed` is the same object as JSON values, if the caller has it. Raises `BadRun` when there is no
        id, or neither a start time nor a `dotted_order` that holds one.
        """
        values = parsed if parsed is not None else _Lenient(members)
        dotted = values.get("dotted_order")
        dotted = dotted if isinstance(dotted, str) else ""
        run_id = _text(values.get("id")) or own_id(dotted)
        start = times.moment(values.get("start_time")) or times.stamped(dotted)
        if not run_id:
            raise BadRun("the run has no id")
        if start is None:
            raise BadRun("the run has no start_time")
        extra = values.get("extra")
        metadata = extra.get("metadata") if isinstance(extra, dict) else None
        metadata = metadata if isinstance(metadata, dict) else {}
        parents = _parents(values, dotted)
        end, error = times.moment(values.get("end_time")), values.get("error")
        tags = values.get("tags")
        return cls(
            members=members,
            id=run_id.lower(),
            trace_id=(_text(values.get("trace_id")) or (parents[0] if parents else run_id)).lower(),
            session_id=session_id,
            parent_ids=parents,
            name=_text(values.get("name")),
            run_type=_text(values.get("run_type")) or "chain",
            status=_text(values.get("status")) or ("error" if error else "success" if end else "pending"),
            start=start,
            end=end,
            error=error,
            tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
            metadata=metadata,
            reference_example_id=_text(values.get("reference_example_id")) or None,
            usage=_usage(values, metadata),
            verbatim=verbatim,
            attachments=attachments or {},
        )

    @property
    def parent_id(self) -> str | None:
        """The direct parent, or None on a root."""
        return self.parent_ids[-1] if self.parent_ids else None

    @property
    def is_root(self) -> bool:
        """Whether the run has no parent."""
        return not self.parent_ids

    @cached_property
    def key(self) -> tuple[int, str]:
        """What runs are ordered by: microseconds of the start, then the id."""
        return times.micros(self.start), self.id

    @property
    def latency(self) -> float | None:
        """Seconds from start to end."""
        return None if self.end is None else (self.end - self.start) / timedelta(seconds=1)

    @property
    def thread_id(self) -> str | None:
        """The conversation, from the metadata keys that LangSmith's documentation on threads names."""
        found = next((self.metadata[key] for key in _THREAD_KEYS if self.metadata.get(key)), None)
        return None if found is None else str(found)

    @cached_property
    def first_token(self) -> datetime | None:
        """When the first token arrived: as stated, else at the first `new_token` event."""
        if (stated := times.moment(self.value("first_token_time"))) is not None:
            return stated
        events = self.value("events") if b"new_token" in self.members.get("events", b"") else None
        tokens = [e for e in events or () if isinstance(e, dict) and e.get("name") == "new_token"]
        return times.moment(tokens[0].get("time")) if tokens else None

    @property
    def dotted_order(self) -> str:
        """The `dotted_order` as text, empty when it is missing or odd."""
        return _text(self.value("dotted_order"))

    def value(self, key: str) -> Any:
        """The member `key` as a JSON value; None when it is absent or Python cannot hold it."""
        return lenient(self.members[key]) if key in self.members else None


class _Lenient(dict[str, Any]):
    """Reads members when they are asked for."""

    def __init__(self, members: Mapping[str, bytes]) -> None:
        self._members = members

    def get(self, key: str, default: Any = None) -> Any:
        return lenient(self._members[key]) if key in self._members else default


def lenient(text: bytes) -> Any:
    """The JSON value, or None when it is too deep or its integers are too long for Python."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def own_id(dotted_order: str) -> str:
    """The run id at the end of a `dotted_order`, or an empty text."""
    found = _ID_END.search(dotted_order)
    return found[0].lower() if found else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _parents(values: Mapping[str, Any], dotted: str) -> tuple[str, ...]:
    """All ancestors, root first: stated, else from `dotted_order`, else the stated direct parent."""
    if isinstance(stated := values.get("parent_run_ids"), list) and stated:
        return tuple(str(item).lower() for item in stated)
    from_order = tuple(own_id(part) for part in dotted.split(".")[:-1])
    direct = values.get("parent_run_id")
    if isinstance(direct, str) and direct.lower() not in from_order[-1:]:
        return (direct.lower(),)
    return from_order


def _usage(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> Usage | None:
    stated = of_fields(values)
    if stated is None and values.get("run_type") == "llm":
        return of_payload(values.get("outputs"), metadata)
    return stated


class Trace:
    """The runs that share a trace id."""

    def __init__(self, trace_id: str) -> None:
        self.id = trace_id
        self.runs: dict[str, Run] = {}
        self._totals: dict[str, Usage] | None = None
        self._span: tuple[datetime, datetime] | None = None
        self._first_tokens: dict[str, datetime] | None = None

    @property
    def root(self) -> Run | None:
        """The run whose id is the trace id; None until it has arrived."""
        return self.runs.get(self.id)

    @property
    def received(self) -> datetime:
        """When the first run started: unlike the time of arrival, it does not depend on the clock."""
        return self._starts()[0]

    @property
    def last_start(self) -> datetime:
        """When the last run started."""
        return self._starts()[1]

    def children(self, parent_id: str) -> list[Run]:
        """The direct children of a run, in order of start."""
        return sorted((r for r in self.runs.values() if r.parent_id == parent_id), key=lambda run: run.key)

    def total(self, run: Run) -> Usage:
        """The usage of `run` and all its descendants."""
        if self._totals is None:
            own = {each.id: each.usage for each in self.runs.values()}
            self._totals = subtree_totals(own, lambda run_id: self.runs[run_id].parent_id)
        return self._totals.get(run.id, NOTHING)

    def first_token(self, run: Run) -> datetime | None:
        """When the first token arrived anywhere in the tree below `run`, itself included."""
        if self._first_tokens is None:
            self._first_tokens = {}
            for each in self.runs.values():
                if each.first_token is not None:
                    for run_id in (*each.parent_ids, each.id):
                        known = self._first_tokens.get(run_id, each.first_token)
                        self._first_tokens[run_id] = min(known, each.first_token)
        return self._first_tokens.get(run.id)

    def put(self, run: Run) -> None:
        """Keep a run of this trace."""
        self.runs[run.id] = run
        self._totals = self._span = self._first_tokens = None

    def drop(self, run: Run) -> None:
        """Forget a run of this trace."""
        del self.runs[run.id]
        self._totals = self._span = self._first_tokens = None

    def _starts(self) -> tuple[datetime, datetime]:
        if self._span is None:
            starts = [run.start for run in self.runs.values()]
            self._span = min(starts), max(starts)
        return self._span


class Runs:
    """All runs of the server, found by id, by trace, and by project in order of start."""

    def __init__(self) -> None:
        self.version = 0
        self._runs: dict[str, Run] = {}
        self._traces: dict[str, Trace] = {}
        self._by_project: dict[str, list[tuple[int, str, Run]]] = {}
        self._cache: OrderedDict[object, tuple[int, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> Run | None:
        """The run with this id."""
        return self._runs.get(run_id.lower())

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id, if any run of it is there."""
        return self._traces.get(trace_id.lower())

    def trace_of(self, run: Run) -> Trace:
        """The trace that `run` belongs to."""
        return self._traces[run.trace_id]

    def changed(self) -> None:
        """Forget what was worked out from the present content."""
        self.version += 1

    def put(self, run: Run) -> None:
        """Keep `run`, in place of the run with the same id."""
        self._replace(run)
        insort(self._by_project.setdefault(run.session_id, []), (*run.key, run), key=_place)
        self.changed()

    def put_all(self, runs: Iterable[Run]) -> None:
        """Keep many runs; much faster than one by one."""
        touched = set()
        for run in runs:
            self._replace(run)
            self._by_project.setdefault(run.session_id, []).append((*run.key, run))
            touched.add(run.session_id)
        for session_id in touched:
            # A run that comes twice in one call is there twice until here.
            kept = [entry for entry in self._by_project[session_id] if self._runs.get(entry[1]) is entry[2]]
            self._by_project[session_id] = sorted(kept, key=_place)
        self.changed()

    def drop(self, runs: Iterable[Run]) -> None:
        """Forget `runs`."""
        for run in list(runs):
            self._forget(run)
        self.changed()

    def between(self, session_id: str, low: int | None = None, high: int | None = None) -> list[Run]:
        """The runs of a project with low <= start < high (microseconds since 1970), by (start, id)."""
        entries = self._by_project.get(session_id, [])
        begin = 0 if low is None else bisect_left(entries, low, key=lambda entry: entry[0])
        end = len(entries) if high is None else bisect_left(entries, high, key=lambda entry: entry[0])
        return [entry[2] for entry in entries[begin:end]]

    def first(self, session_id: str) -> Run | None:
        """The earliest run of a project."""
        entries = self._by_project.get(session_id)
        return entries[0][2] if entries else None

    def last(self, session_id: str) -> Run | None:
        """The latest run of a project."""
        entries = self._by_project.get(session_id)
        return entries[-1][2] if entries else None

    def sessions(self) -> list[str]:
        """The ids of the projects that hold runs."""
        return [session_id for session_id, entries in self._by_project.items() if entries]

    def cached(self, question: object, answer: Any) -> Any:
        """`answer()` to a hashable question, remembered until a run or feedback changes."""
        known = self._cache.get(question)
        if known is None or known[0] != self.version:
            known = (self.version, answer())
            self._cache[question] = known
        self._cache.move_to_end(question)
        while len(self._cache) > _CACHED_SELECTIONS:
            self._cache.popitem(last=False)
        return known[1]

    def _replace(self, run: Run) -> None:
        if known := self._runs.get(run.id):
            self._forget(known)
        self._runs[run.id] = run
        self._traces.setdefault(run.trace_id, Trace(run.trace_id)).put(run)

    def _forget(self, run: Run) -> None:
        del self._runs[run.id]
        entries = self._by_project[run.session_id]
        place = bisect_left(entries, run.key, key=_place)
        while place < len(entries) and entries[place][2] is not run:
            place += 1
        if place < len(entries):
            del entries[place]
        trace = self._traces[run.trace_id]
        trace.drop(run)
        if not trace.runs:
            del self._traces[run.trace_id]


def _place(entry: tuple[int, str, Run]) -> tuple[int, str]:
    return entry[0], entry[1]
