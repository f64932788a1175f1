"""A project day with all kinds of content in every copy, made without LangSmith, and what it holds."""

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psycopg
from fetch_records import fetch_record

from lse.archive.fetch_record import FetchRecord, write_fetch_record
from lse.archive.identity import identify_run
from lse.archive.layout import archived_files
from lse.archive.manifest import content_sha256_of
from lse.archive.trace_file import make_trace, write_trace
from lse.archive.versions import LogEntry, Superseded, add_to_log
from lse.models import ProjectDay, RawFeedback, RawRun, StepResult, StoredFile
from lse.pipeline import load, pack, upload, verify
from lse.pipeline.common import ledger_facts, note
from lse.pipeline.copies import Copies
from lse.pipeline.repairing import Fixed, compare_and_fix, parse_only
from lse.pipeline.undoing import undo
from lse.pipeline.verifying import Depth, compare_copies
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import Store

DAY = ProjectDay("chat", date(2025, 9, 13))
ATTACHED = 100_000
"""Bytes of the attachment: so many are looked at in a thread"""
TABLES = (
    "runs",
    "run_versions",
    "feedback",
    "quarantine",
    "daily_rollups",
    "daily_traces",
    "daily_feedback",
    "project_days",
)
_CHANGING = {"loaded_at", "changed_xid", "packed_at", "uploaded_at", "verified_at", "differences"}
"""Columns that say when something was done, or were written by the comparison itself"""


class DayOfCopies:
    """Trace files, zip, target and store of one day, below `root`."""

    def __init__(self, root: Path, database_url: str, seed: int = 1) -> None:
        self.rng = Random(seed)
        self.settings = load_settings(
            data_dir=root / "data",
            archive_dir=root / "archives",
            state_dir=root / "state",
            target=f"directory:{root / 'target'}",
            database_url=database_url,
        )
        self.url = database_url
        self.folder = root / "data" / "chat" / "2025-09-13"
        self.zip = root / "archives" / "chat" / "2025-09-13.zip"
        self.object = root / "target" / "chat" / "2025-09-13.zip"
        self.root = root
        self._write_files()
        with Resources(self.settings) as opened:
            note(opened, DAY, **ledger_facts(self._record()))
            for step in (pack, upload, load):
                assert step(opened, DAY).exit_code == 0

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True)
        payload = self.rng.randbytes(500) * (ATTACHED // 500)
        sha256 = hashlib.sha256(payload).hexdigest()
        (self.folder / f"{sha256}.bin").write_bytes(payload)
        for number in range(5):
            runs = self._runs(number, self.rng.randint(2, 5))
            feedback = [self._feedback(runs[0].id)] if number % 2 == 0 else []
            files = [StoredFile(runs[0].id, "attachment.x", sha256, ATTACHED, None)] if number == 0 else []
            write_trace(self.folder, make_trace(runs[0].id, runs, feedback, files))
        Superseded(self.folder).add([b'{"id":"earlier"}'])
        for number, content in enumerate(("0" * 64, "1" * 64, content_sha256_of(self.folder))):
            add_to_log(self.folder, LogEntry(f"2025-09-1{7 + number}T00:00:00+00:00", 6, 1, 0, 1, content))
        write_fetch_record(self.folder, self._record())

    def _runs(self, number: int, size: int) -> list[RawRun]:
        ids = [UUID(int=self.rng.getrandbits(128), version=4) for _ in range(size)]
        started = datetime(2025, 9, 13, 8 + number, tzinfo=UTC)
        return [self._run(run_id, ids[0], started + timedelta(seconds=at)) for at, run_id in enumerate(ids)]

    def _run(self, run_id: UUID, trace_id: UUID, started: datetime) -> RawRun:
        stamp = f"{started:%Y%m%dT%H%M%S%f}Z"
        document = {
            "id": str(run_id),
            "trace_id": str(trace_id),
            "name": "step",
            "run_type": "chain",
            "status": "success",
            "start_time": f"{started:%Y-%m-%dT%H:%M:%S}",
            "end_time": f"{started:%Y-%m-%dT%H:%M:%S.5}",
            "dotted_order": f"{stamp}{trace_id}" + ("" if run_id == trace_id else f".{stamp}{run_id}"),
            "outputs": {"noise": self.rng.randbytes(60).hex()},
        }
        return identify_run(json.dumps(document).encode())

    def _feedback(self, run_id: UUID) -> RawFeedback:
        feedback_id = UUID(int=self.rng.getrandbits(128), version=4)
        document = {"id": str(feedback_id), "run_id": str(run_id), "key": "rating", "score": 0.5}
        return RawFeedback(feedback_id, run_id, json.dumps(document).encode())

    def _record(self) -> FetchRecord:
        runs = sum(path.read_bytes().count(b'"run_type"') for path in self.traces())
        return fetch_record(
            project_id=str(UUID(int=1)),
            source="v2",
            runs=runs,
            traces=5,
            feedback=3,
            stored_files=1,
            server_runs=runs,
            server_traces=5,
            content_sha256=content_sha256_of(self.folder),
            log_lines=3,
        )

    def traces(self) -> list[Path]:
        return [path for path in archived_files(self.folder) if path.suffix == ".json"]

    def attachment(self) -> Path:
        return next(self.folder.glob("*.bin"))

    def flip(self, path: Path, at: int | None = None) -> None:
        """Turn one bit over, at this byte or anywhere."""
        content = bytearray(path.read_bytes())
        content[self.rng.randrange(len(content)) if at is None else at] ^= 1 << self.rng.randrange(8)
        path.write_bytes(content)

    def load_a_stranger(self) -> None:
        """Load a trace, with feedback, that no archive holds."""
        runs = self._runs(9, 3)
        Store(self.url).load(DAY, [make_trace(runs[0].id, runs, [self._feedback(runs[0].id)])])

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def verify(self, **options: Any) -> StepResult:
        with Resources(self.settings) as opened:
            return verify(opened, DAY, **options)

    def compare(self, depth: Depth = "default") -> Copies:
        with Resources(self.settings) as opened:
            return compare_copies(opened, DAY, depth=depth)[1]

    def fix(self, *only: str, depth: Depth = "default") -> Fixed:
        with Resources(self.settings) as opened:
            return compare_and_fix(
                opened,
                DAY,
                lambda done, total: None,
                agree=lambda plan: True,
                only=parse_only(only),
                depth=depth,
            )

    def undo(self, name: str | None = None) -> StepResult:
        with Resources(self.settings) as opened:
            return undo(opened, name)[1]

    def all_bytes(self) -> dict[str, bytes]:
        """Every file of every copy."""
        places = [self.folder, self.zip.parent, self.object.parent]
        found = (path for place in places if place.exists() for path in place.iterdir() if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    def rows(self, *, without: Collection[str] = frozenset()) -> dict[str, list[str]]:
        """Every row of every table, as text, without the columns of this name."""
        keys = " - ".join(["to_jsonb(t)", *(f"'{name}'" for name in sorted(without))])
        return {
            table: [row for (row,) in self.sql(f"select ({keys})::text from {table} t order by 1")]
            for table in TABLES
        }

    def content(self) -> tuple[dict[str, bytes], dict[str, list[str]]]:
        """Bytes and rows, without what says when something was done."""
        return self.all_bytes(), self.rows(without=_CHANGING)

    def exact(self) -> tuple[dict[str, bytes], dict[str, list[str]]]:
        """Bytes and rows as they are, but for the comparison's own note."""
        return self.all_bytes(), self.rows(without={"verified_at", "differences"})
