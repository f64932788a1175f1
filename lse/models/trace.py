"""Runs, feedback and traces as the server sent them: exact bytes plus what places them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import Struct


def content_hash(text: bytes) -> UUID:
    """The first 128 bits of the SHA-256 of `text`, as a UUID.

    A fixed-width value keeps the store's rows narrow; 128 bits leave accidental collisions out of reach.
    """
    return UUID(bytes=hashlib.sha256(text).digest()[:16])


class RawRun(Struct, frozen=True):
    """One run: the exact JSON text the server sent, and the few values that place it."""

    id: UUID
    trace_id: UUID
    parent_id: UUID | None
    dotted_order: str
    ended: bool
    """Whether the run has an end time or an error, that is, will not change by itself any more."""
    text: bytes
    started: datetime | None = None
    """Start of the run, UTC; None when the text holds none that can be read."""

    resolved: bytes | None = None
    """The text with the payloads that the server keeps as files filled in, where there are any."""

    @property
    def order(self) -> tuple[str, str]:
        """The sort key inside a trace file: (dotted_order, id)."""
        return self.dotted_order, str(self.id)


@dataclass(frozen=True, slots=True)
class RawFeedback:
    """One feedback record of a run, as served."""

    id: UUID
    run_id: UUID
    text: bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Content that the server keeps beside a run's text: an attachment, or a payload too large for it."""

    run_id: UUID
    name: str
    """`attachment.<name>`, or the field of the run whose value it is: `inputs`, `outputs`, `extra`, …"""
    sha256: str
    """Of the content, in hexadecimal; also its name in the archive."""
    size: int
    mime_type: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """A root run with its descendants, in file order, and the feedback on any of them."""

    id: UUID
    started: datetime
    """UTC start of the root run; without a root, the first stamp of the dotted order."""
    runs: tuple[RawRun, ...]
    feedback: tuple[RawFeedback, ...]
    files: tuple[StoredFile, ...] = ()
