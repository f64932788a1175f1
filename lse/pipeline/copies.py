"""The copies of a project day that a comparison looks at, and what the records beside them promise."""

from dataclasses import dataclass, field

from lse.archive.fetch_record import FetchRecord, parse_fetch_record, read_fetch_record
from lse.archive.layout import archive_name
from lse.archive.zip import ZipInfo
from lse.errors import AccessError, DifferencesFound, LseError, TemporaryError
from lse.models import ProjectDay
from lse.pipeline.common import pruned, was_pruned
from lse.pipeline.target_copy import find_copy
from lse.resources import Resources
from lse.store import LedgerEntry
from lse.targets import StoredObject
from lse.verify import Difference


@dataclass(frozen=True, slots=True)
class Records:
    """What is noted of a day, outside of its copies."""

    fetch: FetchRecord | None
    """Beside the trace files"""
    ledger: LedgerEntry | None
    noted: FetchRecord | None
    """The record of the last fetch as the ledger has it"""
    content_sha256: str | None
    """Of what the last fetch left, by the best of the notes; None when nothing is noted"""
    runs: int
    """How many runs it left at least"""


def read_records(resources: Resources, day: ProjectDay) -> Records:
    """What is noted of `day`."""
    fetch = read_fetch_record(resources.folder(day))
    entry = resources.ledger.ledger(day) if resources.ledger else None
    noted = parse_fetch_record(entry.fetch_record) if entry and entry.fetch_record else None
    last, gone = fetch or noted, pruned(resources, day)
    content = last.content_sha256 if last else gone.content_sha256 if gone else None
    if content is None and entry and entry.packed_at and packed_since_fetch(entry):
        content = entry.content_sha256
    runs = last.runs if last else (entry.runs or 0) if entry else 0
    return Records(fetch, entry, noted, content or None, runs)


def packed_since_fetch(entry: LedgerEntry) -> bool:
    """Whether the ledger's zip holds what the ledger's last fetch left."""
    return entry.packed_at is not None and (entry.fetched_at is None or entry.packed_at >= entry.fetched_at)


def same_bytes(entry: LedgerEntry | None, info: ZipInfo) -> bool | None:
    """Whether a zip is the one that was packed last, by the ledger; None when it may be another.

    Another zlib gives other bytes of the same content, and practically never as many of them.
    """
    if entry is None or entry.zip_size != info.size:
        return None
    return (entry.zip_sha256, entry.zip_md5) == (info.sha256, info.md5)


@dataclass(slots=True)
class Copies:
    """What a comparison found."""

    held: dict[str, str] = field(default_factory=dict)
    """Each copy that is there → what it holds."""
    pruned: list[str] = field(default_factory=list)
    """Each copy that is not there on purpose."""
    differences: list[Difference] = field(default_factory=list)
    """The worst first"""
    unchecked: list[tuple[str, LseError]] = field(default_factory=list)
    """Each copy that could not be looked at, and why"""
    whole: set[str] = field(default_factory=set)
    """The archives, `files`, `zip`, `target`, that hold all that the last fetch left, as far as is noted"""
    runs: int = 0
    """How many runs the best copies hold together"""
    quarantined: int = 0

    def miss(self, copy: str, item: str) -> None:
        """Note that something as a whole is missing in a copy."""
        self.differences.append(Difference("missing", copy, item))

    def damaged(self, copy: str, sentence: str) -> None:
        """Note what is wrong with a copy."""
        self.differences.append(Difference("damaged", copy, sentence))

    def __str__(self) -> str:
        held = ", ".join(f"{copy} {what}" for copy, what in self.held.items()) or "none"
        return f"{held}; pruned: {', '.join(self.pruned)}" if self.pruned else held


def find_in_target(
    resources: Resources, day: ProjectDay, copies: Copies, records: Records
) -> StoredObject | None:
    """The target's object of `day`; None when there is none to compare, which is noted in `copies`."""
    if resources.settings.target is None:
        return None
    try:
        stored = find_copy(resources, day)
    except (AccessError, TemporaryError) as error:
        copies.unchecked.append(("target", error))
        return None
    except DifferencesFound as error:
        copies.damaged("target", error.message)
        return None
    if stored is None:
        if was_pruned(resources, day, "target"):
            copies.pruned.append("target")
        elif records.ledger and records.ledger.uploaded_at:
            copies.miss("target", archive_name(day))
    return stored
