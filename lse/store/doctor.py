"""`diagnose`: whether the database is fit for its work. It reads, and changes nothing.

The statements are asked for their plans with the largest loaded day. A plan that reads a whole partition of
`runs` is a fault in two cases: when the planner finds no other way although sequential scans are made
unattractive to it, for then no index serves the statement; and when it chooses to, although the partition is
large and the day a small part of it, for then its statistics are wrong. A small table is rightly read whole.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from psycopg import Connection
from psycopg.rows import dict_row
from sqlalchemy.dialects import postgresql

from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.queries import QUERIES, read_queries
from lse.store.reading import READING
from lse.store.search_index import PREFIX
from lse.store.tables import RunRow

Severity = Literal["ok", "note", "mend"]

_SQL = read_queries("doctor.sql")
_MB = 2**20
_GRACE = 30.0

_OLDEST_VERSION = 15
_FAST_JSON_VERSION = 16
"""From here on Postgres parses jsonb for two thirds of the time (measured)."""
_MIN_WAL_SIZE = 1024 * _MB
_MIN_SHARED_BUFFERS = 128 * _MB
_BUSY = 0.8
_LONG_TRANSACTION = 3600.0
"""Seconds; it keeps VACUUM from removing anything that died since, and `changes` from going on."""

_READS_RUNS = re.compile(rb"\b(from|join) runs\b")
_WRITES = re.compile(rb"\b(insert|update|delete|copy|create)\b")

_NO_INDEX = "Mend the indexes above; a report of your own may need another condition, or an index."

_LARGE_PAGES = 1_000
"""8 MB: below it a table is read whole in a few milliseconds, whatever the plan."""
_SMALL_PART = 0.1
_DEAD = 0.2
_VISIBLE = 0.8
_BLOATED = 0.4
_UNUSED_FROM = 100 * _MB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, worth a `note`, or to `mend`; and the command that helps."""

    severity: Severity
    check: str
    item: str
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """An index, or one partition's part of it: then `name` is that of the whole."""

    name: str
    own_name: str
    on_table: str
    valid: bool
    is_unique: bool
    size: int
    scans: int
    """How often it was used since the statistics were reset"""


@dataclass(frozen=True, slots=True)
class Partition:
    """One month of `runs`, as the server's statistics know it; a page has 8 kB, sizes are in bytes."""

    name: str
    pages: int
    rows: int
    live: int
    dead: int
    visible_pages: int
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    size: int
    needed_pages: int

    @property
    def bloat(self) -> float:
        """The part of its pages that its rows would not need, estimated."""
        return max(0.0, 1 - self.needed_pages / self.pages) if self.pages else 0.0


def diagnose(url: str, statements: Mapping[str, bytes]) -> list[Finding]:
    """What there is to say about the database at `url`.

    Besides the store's own statements, the plans of `statements` are looked at, such as the reports', by
    name; they may use the parameters `project`, `start` and `end`. Raises `LseError` when the database cannot
    be read.
    """
    with translated(), connect(url) as connection, deadline(connection, STATEMENT_TIMEOUT + _GRACE):
        connection.read_only = True
        with connection.transaction():
            server = _rows(connection, "server")[0]
            indexes = [Index(**row) for row in _rows(connection, "indexes")]
            partitions = [Partition(**row) for row in _rows(connection, "partitions")]
            return [
                *about_server(server),
                *about_indexes(indexes, declared_indexes()),
                *(finding for partition in partitions for finding in about_partition(partition)),
                *_plans(connection, {**reading_statements(), **statements}, partitions),
            ]


def about_server(server: Mapping[str, Any]) -> Iterator[Finding]:
    """Version, settings and connections."""
    version = server["version"] // 10_000
    yield Finding(
        "mend" if version < _OLDEST_VERSION else "note" if version < _FAST_JSON_VERSION else "ok",
        "server",
        "version",
        f"Postgres {server['version_name']}" + (", a replica" if server["replica"] else ""),
        ""
        if version >= _FAST_JSON_VERSION
        else "Postgres 16 or newer loads a third faster; 15 is the oldest that works.",
    )
    yield Finding(
        "ok" if server["autovacuum"] else "mend",
        "server",
        "autovacuum",
        "on" if server["autovacuum"] else "off: reports become slow, and at last the server stops to write",
        "" if server["autovacuum"] else _set("autovacuum = on") + " " + _set("track_counts = on"),
    )
    for name, least, why in (
        ("max_wal_size", _MIN_WAL_SIZE, "a large load stops for checkpoints"),
        ("shared_buffers", _MIN_SHARED_BUFFERS, "reports read from disk more often"),
    ):
        enough = server[name] >= least
        yield Finding(
            "ok" if enough else "note",
            "server",
            name,
            f"{server[name] // _MB} MB" + ("" if enough else f": {why}"),
            "" if enough else _set(f"{name} = '{least // _MB}MB'"),
        )
    busy = server["connections"] >= _BUSY * server["max_connections"]
    yield Finding(
        "note" if busy else "ok",
        "server",
        "connections",
        f"{server['connections']} of {server['max_connections']}",
        "Raise max_connections, or put a pool between, in session mode." if busy else "",
    )
    long = server["oldest_transaction"] > _LONG_TRANSACTION
    yield Finding(
        "note" if long else "ok",
        "server",
        "oldest transaction",
        f"{server['oldest_transaction']:.0f} s"
        + (": it holds up VACUUM and `lse runs changes`" if long else ""),
        "select pid, usename, state, xact_start from pg_stat_activity order by xact_start;" if long else "",
    )


def declared_indexes() -> dict[str, str]:
    """The statement that makes each index and unique constraint that the models declare, by its name."""
    found = {}
    for table in RunRow.metadata.tables.values():
        rules = [table.primary_key, *(r for r in table.constraints if isinstance(r, sa.UniqueConstraint))]
        for rule in rules:
            found[str(rule.name or f"{table.name}_pkey")] = _sql(sa.schema.AddConstraint(rule))
        for index in table.indexes:
            found[str(index.name)] = _sql(sa.schema.CreateIndex(index))
    return found


def _sql(statement: sa.schema.ExecutableDDLElement) -> str:
    """On one line, in double quotes for the shell as well."""
    return " ".join(str(statement.compile(dialect=postgresql.dialect())).split())  # type: ignore[no-untyped-call]


def about_indexes(indexes: Sequence[Index], declared: Mapping[str, str]) -> Iterator[Finding]:
    """Indexes that are missing, cannot be used, or are large and were never used."""
    there = {index.own_name for index in indexes}
    for name in sorted(declared.keys() - there):
        yield Finding("mend", "index", name, "missing", _psql(declared[name]))
    for index in indexes:
        if not index.valid:
            yield Finding("mend", "index", index.own_name, "not valid, so no query uses it", _mending(index))
    for name in sorted({index.name for index in indexes}):
        parts = [index for index in indexes if index.name == name]
        size, scans = sum(part.size for part in parts), sum(part.scans for part in parts)
        if size >= _UNUSED_FROM and not scans and not any(part.is_unique for part in parts):
            yield Finding(
                "note",
                "index",
                name,
                f"{size // _MB} MB, never used since the statistics were reset on this server",
                "A replica counts its own uses: ask it before you drop the index.",
            )
    yield Finding(
        "ok",
        "index",
        "all",
        f"{len(declared)} declared, {sum(index.size for index in indexes) // _MB} MB with all partitions",
    )


def _mending(index: Index) -> str:
    if index.name.startswith(PREFIX):
        return "lse db search-index on"
    if index.on_table == "runs":  # a partitioned index is made valid by its parts
        return "Attach the index of each partition: alter index ... attach partition ..."
    return _psql(f"reindex index concurrently {index.own_name}")


def about_partition(partition: Partition) -> Iterator[Finding]:
    """Dead rows, bloat, and whether statistics and visibility map are there."""
    name, facts = partition.name, f"{partition.rows:,} rows, {partition.size // _MB} MB"
    vacuum = _psql(f"vacuum (analyze) {name}")
    if partition.live and partition.analyzed_at is None and not partition.rows:
        yield Finding("note", "partition", name, f"{partition.live:,} rows, never analyzed", vacuum)
        return
    if partition.pages >= _LARGE_PAGES:
        if partition.dead > _DEAD * max(partition.live, 1):
            dead = f"{partition.dead:,} dead rows beside {partition.live:,}"
            yield Finding("mend", "partition", name, f"{dead}: autovacuum does not keep up", vacuum)
        if partition.visible_pages < _VISIBLE * partition.pages:
            share = f"{partition.visible_pages / partition.pages:.0%} of its pages are known as all-visible"
            yield Finding("note", "partition", name, f"{share}: counts read the table as well", vacuum)
        if partition.bloat > _BLOATED:
            bloat = (
                f"{partition.bloat:.0%} of its {partition.pages * 8 // 1024} MB of rows are free (estimated)"
            )
            yield Finding(
                "note", "partition", name, f"{bloat}: loads fill it again", _psql(f"vacuum full {name}")
            )
    yield Finding(
        "ok",
        "partition",
        name,
        f"{facts}, bloat {partition.bloat:.0%}, vacuumed {_when(partition.vacuumed_at)},"
        f" analyzed {_when(partition.analyzed_at)}",
    )


# Plans


def reading_statements() -> dict[str, bytes]:
    """The store's own statements that read `runs`, by name."""
    return {name: text for name, text in {**QUERIES, **READING}.items() if _reads_runs(text)}


def _reads_runs(text: bytes) -> bool:
    body = re.sub(rb"--.*", b"", text)
    return bool(_READS_RUNS.search(body)) and not _WRITES.search(body)


def sample_parameters(day: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every parameter of the statements: those of one day and one of its runs."""
    return {
        **{"project": day["project"], "run_date": day["run_date"]},
        **{"start": day["run_date"], "end": day["run_date"]},
        **{"trace_id": run["trace_id"], "run_id": run["run_id"], "id": run["run_id"], "xid": "3"},
        **{"trace_ids": [run["trace_id"]], "run_ids": [run["run_id"]]},
        **{"text": "error", "pattern": "%error%", "limit": 20},
        **dict.fromkeys(("name", "status", "run_type", "tag")),
    }


def _plans(
    connection: Connection[Any], statements: Mapping[str, bytes], partitions: Sequence[Partition]
) -> Iterator[Finding]:
    days = _rows(connection, "sample_day")
    runs = _rows(connection, "sample_run", days[0]) if days else []
    if not runs:
        yield Finding("note", "plan", "all", "nothing is loaded yet, so no plan could be looked at")
        return
    parameters = sample_parameters(days[0], runs[0])
    for name, text in statements.items():
        yield about_plan(
            name,
            _scanned(connection, text, parameters, indexes_only=True),
            _scanned(connection, text, parameters, indexes_only=False),
            partitions,
            days[0]["loaded_runs"] or 0,
        )


def about_plan(
    name: str,
    without_index: Iterable[str],
    chosen: Iterable[str],
    partitions: Sequence[Partition],
    day_runs: int,
) -> Finding:
    """What to say of the partitions that a statement reads whole: because it must, or because it may."""
    by_name = {partition.name: partition for partition in partitions}
    if forced := sorted(by_name.keys() & set(without_index)):
        return Finding(
            "mend", "plan", name, f"no index serves it: it reads {_listed(forced)} whole", _NO_INDEX
        )
    wrong = [
        part
        for part in sorted(by_name.keys() & set(chosen))
        if by_name[part].pages >= _LARGE_PAGES and day_runs <= _SMALL_PART * by_name[part].rows
    ]
    if wrong:
        return Finding(
            "mend",
            "plan",
            name,
            f"reads {_listed(wrong)} whole for a day of {day_runs:,} runs, though an index serves it",
            _psql(f"vacuum (analyze) {wrong[0]}"),
        )
    return Finding("ok", "plan", name, "served by an index")


def _scanned(
    connection: Connection[Any], text: bytes, parameters: Mapping[str, Any], *, indexes_only: bool
) -> list[str]:
    """The tables that the plan of a statement reads from one end to the other."""
    connection.execute(f"set local enable_seqscan = {'off' if indexes_only else 'on'}".encode())
    row = connection.execute(b"explain (format json) " + text, parameters).fetchone()
    return [
        node["Relation Name"]
        for node in _nodes(row[0][0]["Plan"] if row else {})
        if node["Node Type"] == "Seq Scan"
    ]


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows(
    connection: Connection[Any], name: str, parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_SQL[name], parameters).fetchall()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _when(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else "never"


def _psql(statement: str) -> str:
    return f'lse db psql -c "{statement}"'


def _set(assignment: str) -> str:
    return f"alter system set {assignment}; then reload or restart the server."
