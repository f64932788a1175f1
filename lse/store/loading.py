"""Load the traces of one project day: typed rows by binary COPY, one transaction, one bad run alone.

The runs of a day without rows are sent while they are read, so that client and server work at the same time.
Of any other day, or when something about a batch is not as hoped, the store is asked first what it holds:
runs that it does not hold are copied in; changed ones go through a temporary table and one upsert, and the
rows they replace become versions; unchanged ones are recognised by their hash and not sent. When Postgres
refuses a batch, halves of it are tried under savepoints until the refused run stands alone, and is
quarantined.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg import errors, sql

from lse.models import ProjectDay, RawFeedback, Trace, UnreadableRun, content_hash
from lse.store.batch import Batch, Item, Key, key_of, parts_of
from lse.store.binary import HEADER, RUN_COLUMNS, TRAILER
from lse.store.connection import deadline
from lse.store.events import write_ledger_events
from lse.store.ledger import write_entry
from lse.store.patient_writer import PatientWriter
from lse.store.queries import QUERIES
from lse.store.rollups import refresh_rollups
from lse.store.rows import feedback_values, run_row

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

BATCH_RUNS = 2_000
"""Runs that are sent at a time: more is hardly faster and takes more memory."""

BATCH_DEADLINE = 900.0
"""Seconds for one batch, halving included; a healthy one takes a fraction of a second."""

_BLOCK_BYTES = 2**16
"""Rows are handed to the client library in blocks of this size: a third of what a socket holds, so that the
server works on the blocks before while one is made."""

_ROW_FAULTS = ("22", "23", "54")
"""SQLSTATE classes that one row can cause: data exception, integrity violation, limit exceeded."""

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, RUN_COLUMNS))
_KEY = ("run_date", "trace_id", "run_id")

COPY_RUNS = sql.SQL("copy runs ({}) from stdin (format binary)").format(_COLUMNS)
"""Takes `HEADER`, rows as `run_row` makes them, `TRAILER`."""

_COPY_INCOMING = sql.SQL("copy incoming ({}) from stdin (format binary)").format(_COLUMNS)

# A row is written only when it differs, unless all are to be written anew, and a finished run is never
# overwritten by an unfinished one. Sorted by key, so that two sessions never wait for each other in a circle.
_UPSERT = sql.SQL("""
    insert into runs ({columns}) select {columns} from incoming order by {key}
    on conflict ({key}) do update set {changes}, loaded_at = now(), changed_xid = pg_current_xact_id()
    where (%(overwrite)s or runs.content_hash <> excluded.content_hash or runs.project <> excluded.project)
      and (excluded.end_time is not null or coalesce(excluded.status, 'pending') <> 'pending'
           or (runs.end_time is null and coalesce(runs.status, 'pending') = 'pending'))
""").format(
    columns=_COLUMNS,
    key=sql.SQL(", ").join(map(sql.Identifier, _KEY)),
    changes=sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in RUN_COLUMNS if name not in _KEY
    ),
)


@dataclass(frozen=True)
class LoadResult:
    """What became of the runs of one load; the first five add up to the distinct runs of the input."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    kept: int = 0
    """Runs whose finished row in the store was kept against an unfinished one."""
    quarantined: int = 0
    """Runs and feedback records that could not be loaded; raw and reason are in the quarantine."""
    feedback: int = 0
    """Feedback records that are in the store now, changed or not."""

    @property
    def stored(self) -> int:
        """Runs of the input that the store holds now."""
        return self.inserted + self.updated + self.unchanged + self.kept


Loaded = TypeVar("Loaded", Item, RawFeedback)


class _Stored(NamedTuple):
    """What the store holds of a run."""

    hash: bytes
    project: str
    day: date
    ended: bool


def load(
    connection: psycopg.Connection[Any],
    day: ProjectDay,
    traces: Iterable[Trace],
    unplaced: Iterable[bytes] = (),
    progress: Progress | None = None,
    *,
    batch_runs: int,
    overwrite: bool = False,
    content: str | None = None,
) -> LoadResult:
    """Load `traces` in one transaction, which the caller commits; the ledger is written last."""
    loading = _Loading(connection, day, overwrite)
    source = parts_of(traces)
    with deadline(connection, BATCH_DEADLINE):
        connection.execute(QUERIES["lock_load"], {"day": str(day)})
        is_first = loading.is_first()
    batch = None
    while batch is None or batch.is_full:
        batch = Batch(source, batch_runs)
        with deadline(connection, BATCH_DEADLINE):
            loading.batch(batch, is_first)
        if progress is not None:
            progress(batch.read)
    for text in unplaced:
        with deadline(connection, BATCH_DEADLINE):
            loading.quarantine(text, "it names no trace")
    with deadline(connection, BATCH_DEADLINE):
        return loading.finish(content)


def day_digest(connection: psycopg.Connection[Any], day: ProjectDay) -> tuple[int, int]:
    """A number that stands for the ids and hashes of the rows of `day`, and how many are of feedback."""
    key = {"project": day.project, "run_date": day.day}
    [(digest, feedback)] = connection.execute(QUERIES["day_digest"], key)
    return digest, feedback


class _Loading:
    """One load under way: its connection, its day, and the figures so far."""

    def __init__(self, connection: psycopg.Connection[Any], day: ProjectDay, overwrite: bool) -> None:
        self._connection = connection
        self._day = day
        self._overwrite = overwrite
        self._counts = dict.fromkeys(("inserted", "updated", "unchanged", "kept", "feedback"), 0)
        self._quarantined: set[UUID] = set()
        self._changed_days: set[ProjectDay] = set()

    def is_first(self) -> bool:
        """Whether the day has no rows yet, so that all of its runs will be sent."""
        key = {"project": self._day.project, "run_date": self._day.day}
        [(has_rows,)] = self._connection.execute(QUERIES["day_has_rows"], key)
        return not has_rows

    def batch(self, batch: Batch, is_first: bool) -> None:
        """Read a batch and load it; `is_first` says that the store should hold none of its runs."""
        began, before = time.monotonic(), dict(self._counts)
        if not (is_first and self._copy_as_read(batch)):
            for _ in batch.read_on():
                pass
            self._runs(batch.runs)
        self._counts["feedback"] += self._put(batch.feedback, self._upsert_feedback)
        done = ", ".join(f"{self._counts[name] - before[name]:,} {name}" for name in before)
        seconds = time.monotonic() - began
        logger.info(
            "%s: %d runs, %.1f MB in %.2f s: %s", self._day, batch.read, batch.size / 1e6, seconds, done
        )

    def _copy_as_read(self, batch: Batch) -> bool:
        """Send the runs of `batch` while they are read; whether that was all there is to do with them.

        Else nothing is written: a run came twice, stands on another day, or was refused.
        """
        sent, as_hoped = 0, False
        try:
            with self._connection.transaction():
                sent = self._send(batch.read_on(), COPY_RUNS)
                as_hoped = not batch.repeats and not self._stand_elsewhere(batch)
                if not as_hoped:
                    raise psycopg.Rollback
        except psycopg.Error as error:
            if _row_fault(error) is None:
                raise
        self._counts["inserted"] += sent if as_hoped else 0
        return as_hoped

    def _stand_elsewhere(self, batch: Batch) -> bool:
        parameters = {"trace_ids": _trace_ids(batch.runs), "run_date": self._day.day}
        [(elsewhere,)] = self._connection.execute(QUERIES["stand_elsewhere"], parameters)
        return bool(elsewhere)

    def _runs(self, items: dict[Key, Item]) -> None:
        here, elsewhere = self._known(items)
        held_back = {
            key for key, stored in elsewhere.items() if stored.ended and not items[key].raw.ended
        } - here.keys()
        fresh = [item for key, item in items.items() if key not in here and key not in held_back]
        changed = [items[key] for key, stored in here.items() if self._is_changed(items[key], stored)]
        self._changed_days |= {ProjectDay(stored.project, self._day.day) for stored in here.values()} - {
            self._day
        }
        self._counts["unchanged"] += len(here) - len(changed)
        self._counts["kept"] += len(held_back)
        self._move({key: stored for key, stored in elsewhere.items() if key not in held_back})
        self._counts["inserted"] += self._put(fresh, self._copy)
        self._counts["updated"] += self._put(changed, self._upsert)

    def _is_changed(self, item: Item, stored: _Stored) -> bool:
        return self._overwrite or (stored.hash, stored.project) != (item.digest, self._day.project)

    def _known(self, items: dict[Key, Item]) -> tuple[dict[Key, _Stored], dict[Key, _Stored]]:
        """What the store holds of these runs on this day, and what on another."""
        here: dict[Key, _Stored] = {}
        elsewhere: dict[Key, _Stored] = {}
        parameters = {"trace_ids": _trace_ids(items)}
        for key, *rest in self._connection.execute(QUERIES["known_runs"], parameters, binary=True):
            stored = _Stored(*rest)
            if key in items:
                (here if stored.day == self._day.day else elsewhere)[key] = stored
        return here, elsewhere

    def _move(self, elsewhere: dict[Key, _Stored]) -> None:
        """Make room for runs that stand on another day than the one their trace belongs to."""
        if not elsewhere:
            return
        left = {ProjectDay(stored.project, stored.day) for stored in elsewhere.values()}
        self._changed_days |= {self._day, *left}
        parameters = {
            "project": self._day.project,
            "run_date": self._day.day,
            "run_dates": list({day.day for day in left}),
            "trace_ids": list({UUID(bytes=key[:16]) for key in elsewhere}),
            "run_ids": [UUID(bytes=key[16:]) for key in elsewhere],
        }
        self._connection.execute(QUERIES["move_runs"], parameters)

    def finish(self, content: str | None) -> LoadResult:
        """Make the rollups again, release the quarantine, write the ledger, and give the figures."""
        result = LoadResult(quarantined=len(self._quarantined), **self._counts)
        if result.inserted or result.updated:
            self._changed_days.add(self._day)
        for changed in sorted(self._changed_days):
            refresh_rollups(self._connection, changed)
        key = {"project": self._day.project, "run_date": self._day.day}
        self._connection.execute(QUERIES["release_quarantine"], {**key, "kept": list(self._quarantined)})
        columns = {
            "loaded_at": datetime.now(UTC),
            "loaded_runs": result.stored,
            "loaded_content": content,
            "loaded_digest": day_digest(self._connection, self._day)[0] if content else None,
            "quarantined": result.quarantined,
        }
        write_ledger_events(self._connection, self._day, columns)
        write_entry(self._connection, self._day, columns)
        return result

    def _put(self, items: Sequence[Loaded], write: Callable[[Sequence[Loaded]], int]) -> int:
        """Write `items` and return how many were; those that Postgres refuses are quarantined, each alone."""
        if not items:
            return 0
        try:
            with self._connection.transaction():
                return write(items)
        except psycopg.Error as error:
            reason = _row_fault(error)
            if reason is None:
                raise
            if isinstance(error, errors.UniqueViolation) and write == self._copy:
                return self._look_again(items)  # type: ignore[arg-type]
        if len(items) == 1:
            self._quarantine(items[0], reason)
            return 0
        middle = len(items) // 2
        return self._put(items[:middle], write) + self._put(items[middle:], write)

    def _look_again(self, items: Sequence[Item]) -> int:
        """Somebody else loaded some of these meanwhile, for another project: they are known by now."""
        self._runs({key_of(item.raw): item for item in items})
        return 0  # counted already

    def _copy(self, items: Sequence[Item]) -> int:
        return self._send(items, COPY_RUNS)

    def _upsert(self, items: Sequence[Item]) -> int:
        self._connection.execute(QUERIES["create_incoming"])
        self._connection.execute(QUERIES["empty_incoming"])
        sent = self._send(items, _COPY_INCOMING)
        self._connection.execute(QUERIES["keep_versions"])
        written = self._connection.execute(_UPSERT, {"overwrite": self._overwrite}).rowcount
        self._connection.execute(QUERIES["drop_current_versions"])
        self._counts["kept"] += sent - written
        return written

    def _send(self, items: Iterable[Item], statement: sql.Composed) -> int:
        """Copy `items`, each encoded when its turn comes: the server works on those before."""
        unreadable = []
        sent = 0
        cursor = self._connection.cursor()
        with cursor, cursor.copy(statement, writer=PatientWriter(cursor)) as copy:
            block, size = [HEADER], 0
            for item in items:
                try:
                    row = run_row(self._day, item.raw, item.digest)
                except UnreadableRun as error:
                    unreadable.append((item, str(error)))
                    continue
                sent += 1
                block += row
                size += len(row[1])
                if size >= _BLOCK_BYTES:
                    copy.write(b"".join(block))
                    block, size = [], 0
            copy.write(b"".join((*block, TRAILER)))
        for item, reason in unreadable:
            self._quarantine(item, reason)
        return sent

    def _upsert_feedback(self, raws: Sequence[RawFeedback]) -> int:
        readable = []
        for raw in raws:
            try:
                readable.append(feedback_values(self._day, raw))
            except UnreadableRun as error:
                self._quarantine(raw, str(error))
        of_records = {"run_date": self._day.day, "run_ids": [raw.run_id for raw in raws]}
        projects = self._connection.execute(QUERIES["projects_of_feedback"], of_records).fetchall()
        with self._connection.cursor() as cursor:
            cursor.executemany(QUERIES["upsert_feedback"], readable)
            if cursor.rowcount:
                self._changed_days |= {self._day, *(ProjectDay(name, self._day.day) for (name,) in projects)}
        return len(readable)

    def _quarantine(self, item: Item | RawFeedback, reason: str) -> None:
        if isinstance(item, Item):
            self.quarantine(item.raw.text, reason, item.raw.id, item.raw.trace_id)
        else:
            self.quarantine(item.text, f"feedback {item.id}: {reason}", item.run_id)

    def quarantine(
        self, text: bytes, reason: str, run_id: UUID | None = None, trace_id: UUID | None = None
    ) -> None:
        """Keep `text` raw, with the reason why it is no row."""
        key = content_hash(text)
        self._quarantined.add(key)
        parameters = {
            "project": self._day.project,
            "run_date": self._day.day,
            "run_id": run_id,
            "trace_id": trace_id,
            "content_hash": key,
            "raw": text,
            "reason": reason,
        }
        self._connection.execute(QUERIES["quarantine"], parameters)


def _trace_ids(items: dict[Key, Item]) -> list[UUID]:
    return list({item.raw.trace_id for item in items.values()})


def _row_fault(error: psycopg.Error) -> str | None:
    """Why Postgres refuses this row, in words that quote nothing of it; None when no row is to blame."""
    code = error.sqlstate
    if code is None:
        return (
            f"a value that cannot be sent ({type(error).__name__})"
            if isinstance(error, psycopg.DataError)
            else None
        )
    if code[:2] not in _ROW_FAULTS:
        return None
    constraint = f" {error.diag.constraint_name}" if error.diag.constraint_name else ""
    return f"refused by Postgres: {code} {type(error).__name__}{constraint}"
