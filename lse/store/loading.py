"""Load the traces of one project day: typed rows by binary COPY, one transaction, one bad run alone.

Runs that the store does not hold are copied straight in; changed ones go through a temporary table and one
upsert; unchanged ones are recognised by their hash and not sent. When Postgres refuses a batch, halves of it
are tried under savepoints until the refused run stands alone, and is quarantined.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import errors

from lse.models import ProjectDay, RawFeedback, RawRun, Trace, UnreadableRun, content_hash
from lse.store.connection import deadline
from lse.store.ledger import write_entry
from lse.store.queries import QUERIES
from lse.store.rows import RUN_TYPES, feedback_values, run_values

Progress = Callable[[int], None]
Raw = TypeVar("Raw", RawRun, RawFeedback)
_Key = tuple[UUID, UUID]

BATCH_DEADLINE = 900.0
"""Seconds for one batch, halving included; a healthy one takes a fraction of a second."""

_BATCH_BYTES = 16 * 2**20
"""A batch also ends at this many bytes of text, so that large runs do not fill the memory."""

_ROW_FAULTS = ("22", "23", "54")
"""SQLSTATE classes that one row can cause: data exception, integrity violation, limit exceeded."""


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


def load(
    connection: psycopg.Connection[Any],
    day: ProjectDay,
    traces: Iterable[Trace],
    unplaced: Iterable[bytes],
    progress: Progress | None,
    batch_runs: int,
) -> LoadResult:
    """Load `traces` in one transaction, which the caller commits; the ledger is written last."""
    loading = _Loading(connection, day)
    with deadline(connection, BATCH_DEADLINE):
        connection.execute(QUERIES["lock_load"], {"day": str(day)})
    for runs, feedback in _batches(traces, batch_runs):
        with deadline(connection, BATCH_DEADLINE):
            loading.runs(runs)
            loading.feedback(feedback)
        if progress is not None:
            progress(len(runs))
    for text in unplaced:
        with deadline(connection, BATCH_DEADLINE):
            loading.quarantine(text, "it names no trace")
    with deadline(connection, BATCH_DEADLINE):
        return loading.finish()


def _batches(traces: Iterable[Trace], batch_runs: int) -> Iterator[tuple[list[RawRun], list[RawFeedback]]]:
    runs: list[RawRun] = []
    feedback: list[RawFeedback] = []
    size = 0
    for trace in traces:
        feedback.extend(trace.feedback)
        for run in trace.runs:
            runs.append(run)
            size += len(run.text)
            if len(runs) >= batch_runs or size >= _BATCH_BYTES:
                yield runs, feedback
                runs, feedback, size = [], [], 0
    if runs or feedback:
        yield runs, feedback


class _Loading:
    """One load under way: its connection, its day, and the figures so far."""

    def __init__(self, connection: psycopg.Connection[Any], day: ProjectDay) -> None:
        self._connection = connection
        self._day = day
        self._counts = dict.fromkeys(("inserted", "updated", "unchanged", "kept", "feedback"), 0)
        self._quarantined: set[UUID] = set()

    def runs(self, raws: Iterable[RawRun]) -> None:
        """Load one batch of runs."""
        unique = _without_repeats(raws)
        known = self._known(unique)
        fresh = [key for key in unique if key not in known]
        changed = [key for key in known if known[key] != (content_hash(unique[key].text), self._day.project)]
        self._counts["unchanged"] += len(unique) - len(fresh) - len(changed)
        self._counts["inserted"] += self._put([unique[key] for key in fresh], self._copy)
        self._counts["updated"] += self._put([unique[key] for key in changed], self._upsert)

    def feedback(self, raws: Sequence[RawFeedback]) -> None:
        """Load one batch of feedback."""
        self._counts["feedback"] += self._put(raws, self._upsert_feedback)

    def finish(self) -> LoadResult:
        """Release what is no longer in quarantine, write the ledger, and give the figures."""
        result = LoadResult(quarantined=len(self._quarantined), **self._counts)
        self._connection.execute(
            QUERIES["release_quarantine"],
            {"project": self._day.project, "run_date": self._day.day, "kept": list(self._quarantined)},
        )
        columns = {
            "loaded_at": datetime.now(UTC),
            "loaded_runs": result.stored,
            "quarantined": result.quarantined,
        }
        write_entry(self._connection, self._day, columns)
        return result

    def _known(self, keys: Iterable[_Key]) -> dict[_Key, tuple[UUID, str]]:
        """The hash and project of those runs that the store holds."""
        trace_ids, run_ids = zip(*keys, strict=True) if keys else ((), ())
        parameters = {
            "run_date": self._day.day,
            "trace_ids": list(set(trace_ids)),
            "run_ids": list(run_ids),
        }
        found = self._connection.execute(QUERIES["known_runs"], parameters, binary=True)
        return {
            (trace_id, run_id): (stored_hash, project) for trace_id, run_id, stored_hash, project in found
        }

    def _put(self, raws: Sequence[Raw], write: Callable[[Sequence[Raw]], int]) -> int:
        """Write `raws` and return how many were; those that Postgres refuses are quarantined, each alone."""
        if not raws:
            return 0
        try:
            with self._connection.transaction():
                return write(raws)
        except psycopg.Error as error:
            reason = _row_fault(error)
            if reason is None:
                raise
            if isinstance(error, errors.UniqueViolation) and write == self._copy:
                return self._put(raws, self._upsert)  # type: ignore[arg-type]
        if len(raws) == 1:
            self._quarantine(raws[0], reason)
            return 0
        middle = len(raws) // 2
        return self._put(raws[:middle], write) + self._put(raws[middle:], write)

    def _copy(self, raws: Sequence[RawRun]) -> int:
        return self._send(raws, QUERIES["copy_runs"])

    def _upsert(self, raws: Sequence[RawRun]) -> int:
        self._connection.execute(QUERIES["create_incoming"])
        self._connection.execute(QUERIES["empty_incoming"])
        sent = self._send(raws, QUERIES["copy_incoming"])
        written = self._connection.execute(QUERIES["upsert_runs"]).rowcount
        self._counts["kept"] += sent - written
        return written

    def _send(self, raws: Sequence[RawRun], statement: bytes) -> int:
        """Copy `raws`, each typed just before it is sent: the server works while we type the next."""
        unreadable = []
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(RUN_TYPES)
            for raw in raws:
                try:
                    copy.write_row(run_values(self._day, raw))
                except UnreadableRun as error:
                    unreadable.append((raw, str(error)))
        for raw, reason in unreadable:
            self._quarantine(raw, reason)
        return len(raws) - len(unreadable)

    def _upsert_feedback(self, raws: Sequence[RawFeedback]) -> int:
        readable = []
        for raw in raws:
            try:
                readable.append(feedback_values(self._day, raw))
            except UnreadableRun as error:
                self._quarantine(raw, str(error))
        with self._connection.cursor() as cursor:
            cursor.executemany(QUERIES["upsert_feedback"], readable)
        return len(readable)

    def _quarantine(self, raw: RawRun | RawFeedback, reason: str) -> None:
        if isinstance(raw, RawRun):
            self.quarantine(raw.text, reason, raw.id, raw.trace_id)
        else:
            self.quarantine(raw.text, f"feedback {raw.id}: {reason}", raw.run_id)

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


def _without_repeats(raws: Iterable[RawRun]) -> dict[_Key, RawRun]:
    """Each run once: the last one counts, but an ended one never gives way to one that is not."""
    unique: dict[_Key, RawRun] = {}
    for raw in raws:
        key = raw.trace_id, raw.id
        earlier = unique.get(key)
        if earlier is None or raw.ended or not earlier.ended:
            unique[key] = raw
    return unique


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
