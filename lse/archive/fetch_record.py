"""What the last fetch of a project day counted, kept beside its trace files.

The ledger in the store says the same; the file makes it known again when the store is not there.
"""

import json
import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from lse.archive.files import remove_stale, write_atomically
from lse.archive.layout import FETCH_RECORD
from lse.archive.sealed import SEAL, seal, unseal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """The figures of one fetch."""

    project: str
    project_id: str
    date: str
    source: str
    fetched_at: str
    """Begin of the fetch, ISO 8601, UTC: what changed at the source since then may not be in it."""
    complete: bool
    reason: str
    """What proves completeness, or what is missing."""
    walks: int
    runs: int
    traces: int
    feedback: int
    missing_parents: int
    unplaced: int
    stored_files: int
    missing_files: int
    """Files that runs link to and that could not be had."""
    server_runs: int | None
    server_traces: int | None
    content_sha256: str
    """Of the archive that the fetch left, as in its manifest; empty when there were no runs."""
    server_feedback: int | None = None
    """How many records of feedback the source counted, where it counts them."""
    expires_at: str | None = None
    """When the source will delete the first of the traces, ISO 8601, UTC; None where it does not say."""
    log_lines: int | None = None
    """How many lines the day's log had at least, where it was counted."""

    @property
    def time(self) -> datetime:
        """`fetched_at` as an aware time."""
        return datetime.fromisoformat(self.fetched_at)

    @property
    def expiry(self) -> datetime | None:
        """`expires_at` as an aware time."""
        return datetime.fromisoformat(self.expires_at) if self.expires_at else None


def write_fetch_record(folder: Path, record: FetchRecord) -> None:
    """Keep `record` in the day's folder, for who holds the lock on the day."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_stale(folder / FETCH_RECORD)
    write_atomically(folder / FETCH_RECORD, dump_fetch_record(record).encode())


def dump_fetch_record(record: FetchRecord) -> str:
    """The record's text: a JSON object, and a final line break."""
    return json.dumps(seal(asdict(record)), indent=2) + "\n"


def parse_fetch_record(text: str | bytes) -> FetchRecord | None:
    """The record that `dump_fetch_record` wrote; None when this is not as it was written."""
    try:
        return FetchRecord(**unseal(json.loads(text)))
    except (ValueError, TypeError):
        return None


def read_fetch_record(folder: Path) -> FetchRecord | None:
    """The record in the day's folder; None when no fetch has finished there, or it cannot be read."""
    try:
        text = (folder / FETCH_RECORD).read_bytes()
    except FileNotFoundError:
        return None
    record = parse_fetch_record(text)
    if record is None:
        _warn_of(folder / FETCH_RECORD)
    return record


@cache
def _warn_of(path: Path) -> None:
    """Said once, however often the record is asked for."""
    logger.warning("%s cannot be read, as if the day had not been fetched.", path)


def restored_record(folder: Path, **known: Any) -> FetchRecord | None:
    """The record that was written, where the one that cannot be read differs from it only in what is `known`.

    Its own hash proves that; None without that proof.
    """
    try:
        document = json.loads((folder / FETCH_RECORD).read_bytes())
        return FetchRecord(**unseal(document | known)) if SEAL in document else None
    except (FileNotFoundError, ValueError, TypeError):
        return None
