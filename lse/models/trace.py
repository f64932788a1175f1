"""Runs, feedback and traces as the server sent them: exact bytes plus what places them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from lse.models.run import Run, ServedRun, decode_run, parse_run, run_as_served


def content_digest(text: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of `text`.

    A fixed width keeps the store's rows narrow; 128 bits leave accidental collisions out of reach.
    """
    return hashlib.sha256(text).digest()[:16]


def content_hash(text: bytes) -> UUID:
    """`content_digest` as a UUID."""
    return UUID(bytes=content_digest(text))


class RawRun(Struct, frozen=True, eq=False, gc=False):
    """One run: the exact JSON text the server sent, and the few values that place it.

    Two are equal when both say the same; what `served` remembers does not count.
    """

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

    served: ServedRun | None = None
    """The members of interest in `text`, where whoever read its ids has decoded them on the way."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawRun) and self._placed() == other._placed()

    def __hash__(self) -> int:
        return hash(self._placed())

    def _placed(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "served")

    def typed(self) -> Run:
        """The run with typed values, payloads filled in. Raises `UnreadableRun`, as `parse_run` does."""
        if self.resolved is not None:
            return parse_run(self.resolved)
        return run_as_served(self.text, self.served or decode_run(self.text))

    @property
    def order(self) -> tuple[str, UUID]:
        """The sort key inside a trace file: (dotted_order, id), where ids order as their texts do."""
        return self.dotted_order, self.id


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
