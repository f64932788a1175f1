"""Reading runs: a day by pages, a trace as a tree, a search, what changed. Nothing here can write.

The statements stand in `reading.sql`. Each method is one transaction on a connection of its own, so a
`Reader` may be shared between threads, and its address may be that of a replica.
"""

import contextlib
import json
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection, capabilities, errors
from psycopg.rows import RowFactory, class_row, dict_row, tuple_row

from lse.errors import TemporaryError, UsageError
from lse.models import ProjectDay
from lse.store import revisions
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, each_within, translated
from lse.store.queries import read_queries

_PARTS = ("columns", "document")
_GRACE = 30.0
"""The server's own timeout comes first; the client hangs up when nothing is heard for this much longer."""

_ROWS_AT_ONCE = 5 if capabilities.has_stream_chunked() else 1
"""Rows that come in one piece; libpq before 17 hands over each on its own.

Few, so that a piece of large runs is no burden, and that the server fills the line with the next ones while
these are worked on: of runs of 20 MB, five took 160 MB more than one, and of small runs, more were not read
faster (measured).
"""


def _composed(queries: Mapping[str, bytes]) -> dict[str, bytes]:
    """The statements with their parts filled in."""
    parts = {name: queries[name].decode() for name in _PARTS}
    return {
        name: string.Template(text.decode()).substitute(parts).encode()
        for name, text in queries.items()
        if name not in parts
    }


READING: Mapping[str, bytes] = _composed(read_queries("reading.sql"))
DOCUMENT: bytes = read_queries("reading.sql")["document"]
"""The SQL expression of the text that a search looks at; an index that serves it is on the same."""


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """What a run is, without its data. Times are aware and UTC, `latency` is in seconds.

    `error` is the first 300 characters of the error; it and `tags` are the user's text.
    """

    run_date: date
    project: str
    trace_id: UUID
    run_id: UUID
    parent_run_id: UUID | None
    name: str | None
    run_type: str | None
    status: str | None
    start_time: datetime
    end_time: datetime | None
    latency: float | None
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    total_cost: Decimal | None
    tags: list[str]
    error: str | None


@dataclass(frozen=True)
class Filters:
    """Which runs of a day: each value must be equal, `tag` among the run's tags; None does not filter."""

    name: str | None = None
    status: str | None = None
    run_type: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class Page:
    """Some runs, and the cursor by which to go on: text to be handed back as it is."""

    runs: Sequence[RunLine]
    cursor: str | None


@dataclass(frozen=True)
class Place:
    """Where something is: its project day, its trace, and the run when a single one was meant."""

    project: str
    run_date: date
    trace_id: UUID
    run_id: UUID | None


@dataclass(frozen=True)
class Node:
    """A run of a tree, and how many runs are above it."""

    depth: int
    run: RunLine


class Reader:
    """Reads the runs store, in transactions that cannot write.

    Every method raises `TemporaryError` when the database does not answer within `timeout` seconds and
    `ConfigurationError` when address, password or tables are missing; no message quotes data or password.
    """

    def __init__(self, url: str, *, timeout: float = STATEMENT_TIMEOUT) -> None:
        self._url = url
        self._timeout = timeout

    def __repr__(self) -> str:
        return "Reader(...)"

    def check(self) -> None:
        """Raise `ConfigurationError` unless the database answers and its schema is the current one."""
        revisions.check(self._url)

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a report's query, as dicts."""
        return self._rows(sql.encode(), parameters, dict_row)

    def tuples(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The same rows as tuples, sent in binary: together half the time of dicts (measured)."""
        return self._rows(sql.encode(), parameters, tuple_row, binary=True)

    def runs(
        self, day: ProjectDay, filters: Filters = Filters(), *, after: str | None = None, limit: int = 100
    ) -> Page:
        """At most `limit` runs of `day` in order of trace and run id, those after the cursor `after`.

        Version 7 ids, which LangSmith's SDKs give, are in order of time. The page's cursor is None when
        nothing comes after it. Raises `UsageError` for a cursor that is none.
        """
        trace_id, run_id = _parsed(after, (UUID, UUID))
        parameters = {**_of_day(day, filters), "trace_id": trace_id, "run_id": run_id, "limit": limit + 1}
        found = self._rows(READING["runs_of_day"], parameters, class_row(RunLine))
        return _page(found, limit, lambda run: (run.trace_id, run.run_id))

    def all_runs(self, day: ProjectDay, filters: Filters = Filters()) -> Iterator[RunLine]:
        """Every run of `day` in the same order, streamed: the memory it takes does not grow with the day."""
        parameters = {**_of_day(day, filters), "trace_id": None, "run_id": None, "limit": None}
        return self._stream(READING["runs_of_day"], parameters, class_row(RunLine))

    def find(self, id: UUID) -> Place | None:
        """Where the trace, run or feedback record `id` is; None when the store does not hold it.

        Of a trace, `run_id` is None; of a feedback record, it is the run it is about.
        """
        day = _day_of(id)
        windows = [(day - timedelta(days=1), day + timedelta(days=1))] if day else []
        attempts: list[tuple[str, date | None, date | None]] = [
            ("place_of_trace", None, None),
            *(("place_of_run", start, end) for start, end in windows),
            ("place_of_run", None, None),
            ("place_of_feedback", None, None),
        ]
        with self._reading() as connection, connection.cursor(row_factory=class_row(Place)) as cursor:
            for name, start, end in attempts:
                place = cursor.execute(READING[name], {"id": id, "start": start, "end": end}).fetchone()
                if place is not None:
                    return place
        return None

    def trace(self, place: Place) -> list[Node]:
        """The trace at `place` as a tree: depth first, children in order of their start.

        A run whose parent is not there stands at the top, like a root.
        """
        parameters = {"run_date": place.run_date, "trace_id": place.trace_id}
        return arranged(self._rows(READING["trace_runs"], parameters, class_row(RunLine)))

    def payloads(self, place: Place) -> Iterator[tuple[UUID, str]]:
        """(run_id, the run as JSON text) of the run at `place`, or of each run of the trace; streamed."""
        parameters = {"run_date": place.run_date, "trace_id": place.trace_id, "run_id": place.run_id}
        return self._stream(READING["payloads"], parameters)

    def runs_with_feedback(self, day: ProjectDay) -> Iterator[tuple[str, str, int, str, str | None]]:
        """Every run of `day`, those of a trace together; streamed while the caller works on the ones before.

        Each as (trace_id, run_id, start in microseconds since 1970, the run as JSON, the feedback records on
        it as a JSON array or None).
        """
        parameters = {"project": day.project, "run_date": day.day}
        return self._stream(READING["runs_with_feedback"], parameters)

    def search(
        self,
        text: str,
        start: date,
        end: date,
        project: str | None = None,
        *,
        substring: bool = False,
        after: str | None = None,
        limit: int = 20,
    ) -> Page:
        """Runs of the days from `start` to `end`, both included, whose text has the words of `text`.

        Words are looked for in the name and the first 1,000 characters each of error, inputs and outputs,
        without regard to case; `"two words"`, `or` and `-word` mean what they do in a web search. With
        `substring`, `text` as a whole is looked for everywhere in the run, also inside of words. The latest
        day comes first. Raises `TemporaryError` when it takes longer than the reader's timeout.
        """
        if not any(character.isalnum() for character in text) and not substring:
            raise UsageError("There is no word to search for.", hint="`--substring` finds other characters.")
        run_date, trace_id, run_id = _parsed(after, (date.fromisoformat, UUID, UUID))
        parameters = {
            **{"project": project, "start": start, "end": end, "text": text, "pattern": _pattern(text)},
            **{"run_date": run_date, "trace_id": trace_id, "run_id": run_id, "limit": limit + 1},
        }
        statement = READING["search_substring" if substring else "search_words"]
        found = self._rows(statement, parameters, class_row(RunLine))
        return _page(found, limit, lambda run: (run.run_date, run.trace_id, run.run_id))

    def changes(self, after: str | None = None, *, limit: int = 1_000) -> Page:
        """At most `limit` runs written after the cursor `after`, in the order of their transactions.

        The page's cursor is to be kept and handed in the next time, also when there is nothing at present;
        it is None only before the first run. No write is ever missed: what a running transaction may still
        commit before them waits, and comes with a later call. A run that was written twice comes once, as it
        is. Removed runs do not come. A cursor belongs to its database and its replicas.
        """
        xid, run_date, trace_id, run_id = _parsed(after, (_number, date.fromisoformat, UUID, UUID))
        parameters = {
            **{"xid": xid, "run_date": run_date, "trace_id": trace_id, "run_id": run_id, "limit": limit}
        }
        rows = self._rows(READING["changes"], parameters, dict_row)
        xids = [row.pop("xid") for row in rows]
        runs = [RunLine(**row) for row in rows]
        last = runs[-1] if runs else None
        return Page(runs, _cursor(xids[-1], last.run_date, last.trace_id, last.run_id) if last else after)

    def _rows(
        self,
        statement: bytes,
        parameters: Mapping[str, Any],
        factory: RowFactory[Any],
        *,
        binary: bool = False,
    ) -> list[Any]:
        with self._reading() as connection, connection.cursor(row_factory=factory) as cursor:
            return cursor.execute(statement, parameters, binary=binary).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection[Any]]:
        with (
            self._connected() as connection,
            deadline(connection, self._timeout + _GRACE),
            connection.transaction(),
        ):
            yield connection

    def _stream(
        self, statement: bytes, parameters: Mapping[str, Any], factory: RowFactory[Any] = tuple_row
    ) -> Iterator[Any]:
        """Rows, which the server goes on to make while the caller works on those before.

        The work of the caller is no reason to end the statement, so only silence is.
        """
        patience = self._timeout + _GRACE
        with (
            self._connected(autocommit=False) as connection,
            connection.cursor(row_factory=factory) as cursor,
        ):
            try:
                with deadline(connection, patience):
                    cursor.execute("set local statement_timeout = 0")
                rows = cursor.stream(statement, parameters, size=_ROWS_AT_ONCE)
                yield from each_within(connection, rows, patience)
            finally:
                connection.close()  # there is nothing to commit, and no answer to wait for

    @contextlib.contextmanager
    def _connected(self, *, autocommit: bool = True) -> Iterator[Connection[Any]]:
        """A connection whose transactions cannot write."""
        with (
            translated(),
            connect(self._url, autocommit=autocommit, timeout=self._timeout) as connection,
        ):
            connection.read_only = True
            try:
                yield connection
            except errors.QueryCanceled:
                raise TemporaryError(
                    f"Reading took longer than {self._timeout:.0f} s.",
                    hint="Ask for fewer days or one project. `lse db search-index on` makes searches fast.",
                ) from None


def arranged(runs: Sequence[RunLine]) -> list[Node]:
    """`runs` as a tree, depth first; children and roots keep the order of `runs`.

    Each run comes once, also when parents are missing or lead in a circle.
    """
    children: dict[UUID | None, list[RunLine]] = {}
    known = {run.run_id for run in runs}
    for run in runs:
        children.setdefault(run.parent_run_id if run.parent_run_id in known else None, []).append(run)
    nodes: list[Node] = []
    waiting = [Node(0, run) for run in reversed(children.pop(None, []))]
    while waiting or children:
        if not waiting:  # what is left leads in a circle: begin anywhere
            waiting = [Node(0, run) for run in reversed(children.pop(next(iter(children)), []))]
        node = waiting.pop()
        nodes.append(node)
        waiting += [Node(node.depth + 1, run) for run in reversed(children.pop(node.run.run_id, []))]
    return nodes


def _of_day(day: ProjectDay, filters: Filters) -> dict[str, Any]:
    chosen = {field.name: getattr(filters, field.name) for field in fields(filters)}
    return {"project": day.project, "run_date": day.day, **chosen}


def _page(found: list[RunLine], limit: int, key: Callable[[RunLine], tuple[Any, ...]]) -> Page:
    """A page of `limit` runs; one more than that was asked for, to know whether more come."""
    more = len(found) > limit
    return Page(found[:limit], _cursor(*key(found[limit - 1])) if more else None)


def _cursor(*key: Any) -> str:
    return "/".join(map(str, key))


def _parsed(cursor: str | None, kinds: Sequence[Callable[[str], Any]]) -> tuple[Any, ...]:
    """The values in `cursor`; as many None when there is none."""
    if cursor is None:
        return (None,) * len(kinds)
    try:
        return tuple(kind(part) for kind, part in zip(kinds, cursor.split("/"), strict=True))
    except ValueError:
        raise UsageError(
            "That is not a cursor of this command.", hint="Leave it out to begin anew."
        ) from None


def _number(text: str) -> str:
    """A transaction id, as text: it may be larger than a bigint."""
    return str(int(text))


def _pattern(text: str) -> str:
    """What `ilike` takes to find `text` anywhere in JSON, where quotes and line breaks are escaped."""
    text = json.dumps(text, ensure_ascii=False)[1:-1]
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _day_of(id: UUID) -> date | None:
    """The UTC day that a version 7 id says (RFC 9562: milliseconds in the first 48 bits)."""
    if id.version != 7:
        return None
    milliseconds = id.int >> 80
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
