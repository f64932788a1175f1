"""What one copy of a project day holds of a trace, by id and content hash."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

Entries = bytes
"""For each item, by id: the 16 bytes of its id, then the 16 bytes of the content hash of its text.

One value instead of two UUIDs an item takes a tenth of the memory, and equal copies are compared at once.
"""

_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Holding:
    """What one copy holds of one trace."""

    runs: Entries
    feedback: Entries = b""
    sha256: str = ""
    """Of the trace's file; empty for rows of the store"""
    stored_files: Mapping[str, UUID] = field(default_factory=dict)
    """SHA-256 of each stored file that the trace names → one of its runs"""

    def agrees(self, other: "Holding") -> bool:
        """Whether both hold the same runs, in the same file where both are of files."""
        same_file = self.sha256 == other.sha256 or not (self.sha256 and other.sha256)
        return same_file and self.runs == other.runs


def pack_entries(entries: Iterable[bytes]) -> Entries:
    """Entries of 32 bytes, in any order, as one value."""
    return b"".join(sorted(entries))


def read_entries(entries: Entries) -> Iterator[tuple[UUID, UUID]]:
    """(id, content hash) of each item, by id."""
    for begin in range(0, len(entries), _LENGTH):
        middle = begin + _LENGTH // 2
        yield UUID(bytes=entries[begin:middle]), UUID(bytes=entries[middle : begin + _LENGTH])


def count_entries(entries: Entries) -> int:
    """How many items there are."""
    return len(entries) // _LENGTH
