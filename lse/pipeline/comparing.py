"""Walk the copies of a project day side by side, a trace at a time, and name where they disagree.

Traces come in the order of their ids from every copy, so that one of each is in memory. A file that is equal
to one that was read already is known by its hash, and its bytes are only hashed.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from uuid import UUID

from lse.archive.files import blocks_of
from lse.archive.holding import holding_of, sha256_of, text_hashes
from lse.archive.layout import (
    SUPERSEDED,
    UNPLACED,
    archived_names,
    content_file_name,
    content_of_file,
    trace_id_in,
)
from lse.archive.manifest import FileEntry, check_content, combined_sha256
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import ZipReader
from lse.models import Entries, Holding, Progress, count_entries
from lse.verify import Difference, compare_feedback, compare_runs

_NOTHING = Holding(b"")

_LARGE = 2**16
"""Bytes from which a file is looked at in a thread beside the walk. To hand over a small one takes longer:
files of 10 kB were compared in 1.7 s with the thread and in 1.6 without, of 500 kB in 0.9 and 1.2."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One copy of the day's files that is there."""

    copy: str
    """`files`, `zip` or `target`"""
    names: Sequence[str]
    blocks: Callable[[str], Iterator[bytes]]
    """The content of the file with this name. Raises `DamagedArchive`."""
    entries: Mapping[str, FileEntry] = field(default_factory=dict)
    """What the manifest says of each file; empty for a folder, which has none"""


def folder_archive(folder: Path) -> Archive:
    """The trace files of a day, and the other files that belong to its archive."""
    return Archive("files", archived_names(folder), lambda name: blocks_of(f"{folder}/{name}"))


def zip_archive(copy: str, reader: ZipReader) -> Archive:
    """The files in an open zip."""
    entries = {entry.path: entry for entry in reader.manifest.files}
    return Archive(copy, list(entries), lambda name: reader.blocks(entries[name]), entries)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the store holds of the day."""

    traces: Iterable[tuple[str, Entries]]
    """(trace id, entries of its runs), by trace id; taken once"""
    feedback: Entries
    quarantined: Collection[UUID]
    """Content hashes of texts that could not become rows"""


@dataclass(slots=True)
class Found:
    """What a walk found."""

    differences: list[Difference] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    """copy → how many runs it holds"""
    reference_runs: int = 0
    """How many runs the best copies hold together"""
    quarantined: int = 0
    files_sha256: str | None = None
    """The content hash of the trace files, when they were walked"""
    unsound: list[tuple[str, str]] = field(default_factory=list)
    """(trace, or file name; what it is called) of what no archive that was walked holds undamaged"""


def walk(
    archives: Sequence[Archive], rows: Rows | None, trust: Sequence[str], part: str | None, progress: Progress
) -> Found:
    """Compare `archives` and `rows`, whose names stand in `trust`, the most trusted first.

    What the most trusted copy lacks is extra in the others. Nothing is missing in `part`, a copy that need
    not be whole. The differences come by trace id, then those of stored files, loose texts and feedback.
    """
    with _reader() as thread:
        walking = _Walk(archives, rows, trust, part, thread)
        walking.traces(progress)
        walking.content_files()
        walking.loose_texts()
        walking.feedback()
        return walking.conclude()


@contextmanager
def _reader() -> Iterator[ThreadPoolExecutor]:
    thread = ThreadPoolExecutor(1)
    try:
        yield thread
    finally:
        thread.shutdown(cancel_futures=True)  # who is interrupted need not wait for the last byte


def _damage(archive: Archive, name: str) -> str | None:
    """Why a file is not as the manifest of its archive says; None when it is."""
    try:
        deque(archive.blocks(name), maxlen=0)
    except DamagedArchive as error:
        return error.message
    return None


class _Walk:
    """One walk under way."""

    def __init__(
        self,
        archives: Sequence[Archive],
        rows: Rows | None,
        trust: Sequence[str],
        part: str | None,
        thread: Executor,
    ) -> None:
        self._archives = {archive.copy: archive for archive in archives}
        self._rows = rows
        self._trust = trust
        self._part = part
        self._thread = thread
        self._looked: list[tuple[str, str, Future[str | None]]] = []
        self._found = Found()
        self._sha256: dict[str, str] = {}
        self._feedback: list[Entries] = []
        self._named: dict[str, UUID] = {}
        self._damaged: dict[tuple[str, str], str] = {}
        """(copy, file) → what is wrong with it"""

    def traces(self, progress: Progress) -> None:
        """Compare trace by trace."""
        total = max((len(archive.names) for archive in self._archives.values()), default=None)
        streams = [_by_trace(archive) for archive in self._archives.values()]
        if self._rows:
            streams.append((trace_id, "store", entries) for trace_id, entries in self._rows.traces)
        held = groupby(merge(*streams, key=itemgetter(0)), itemgetter(0))
        for done, (trace_id, items) in enumerate(held):
            self._trace(trace_id, list(items))
            if done % 100 == 0:
                progress(done, total)

    def _trace(self, trace_id: str, items: list[tuple[str, str, str | Entries]]) -> None:
        names: dict[str, list[str]] = {}
        holdings: dict[str, Holding] = {}
        for _, copy, item in items:
            if isinstance(item, bytes):
                holdings[copy] = Holding(item)
            else:
                names.setdefault(copy, []).append(item)
        for copy, in_copy in names.items():
            if holding := self._holding(self._archives[copy], in_copy, holdings):
                holdings[copy] = holding
        for copy, holding in holdings.items():
            self._found.runs[copy] += count_entries(holding.runs)
        if names and not names.keys() & holdings.keys():
            self._found.unsound.append((trace_id, f"trace {trace_id}"))
        self._compare_trace(trace_id, names, holdings)

    def _holding(
        self, archive: Archive, names: Sequence[str], known: Mapping[str, Holding]
    ) -> Holding | None:
        """What an archive holds of a trace; None when it is damaged. A second file of a trace is extra."""
        name = names[0] if len(names) == 1 else self._choose(archive, names)
        if name in archive.entries:
            promised = archive.entries[name].sha256
            equal = (holding for holding in known.values() if holding.sha256 == promised)
            if holding := next(equal, None):
                self._look(archive, name)
                return holding
        return self._read(archive, name)

    def _choose(self, archive: Archive, names: Sequence[str]) -> str:
        """The file that another archive names too, or the first; the others are extra."""
        others = [other for other in self._archives.values() if other is not archive]
        elsewhere = (name for name in names if any(name in other.entries for other in others))
        chosen = next(elsewhere, names[0])
        for name in names:
            if name != chosen:
                self._add(Difference("extra", archive.copy, name))
                self._look(archive, name)
        return chosen

    def _look(self, archive: Archive, name: str) -> None:
        """Read a file only to see whether it is as the archive's manifest says, where there is one."""
        if archive.entries and archive.entries[name].size > _LARGE:
            self._looked.append((archive.copy, name, self._thread.submit(_damage, archive, name)))
        elif archive.entries and (damage := _damage(archive, name)):
            self._damaged[archive.copy, name] = damage

    def _settle(self) -> None:
        """Note what was found damaged in the thread."""
        for copy, name, looked in self._looked:
            if damage := looked.result():
                self._damaged[copy, name] = damage
        self._looked.clear()

    def _read(self, archive: Archive, name: str) -> Holding | None:
        try:
            holding = holding_of(name, archive.blocks(name))
        except DamagedArchive as error:
            self._damaged[archive.copy, name] = error.message
            return None
        if archive.copy == "files":
            self._sha256[name] = holding.sha256
        return holding

    def _compare_trace(
        self, trace_id: str, names: Mapping[str, Sequence[str]], holdings: Mapping[str, Holding]
    ) -> None:
        best = next((copy for copy in self._trust if copy in holdings), None)
        if best is None:
            return
        known = self._trust[0] in holdings or self._trust[0] in names
        reference = holdings[best]
        if known:
            self._take(reference)
        for copy in self._trust:
            if copy in names and copy not in holdings:
                continue  # damaged, and named as such
            if not known:
                if copy in holdings:
                    self._add_all(compare_runs(UUID(trace_id), _NOTHING, holdings[copy], copy))
            elif copy not in holdings:
                self._add_all(self._missing(UUID(trace_id), reference, copy))
            elif not reference.agrees(holdings[copy]):
                self._add_all(self._compared(UUID(trace_id), reference, holdings[copy], copy, names))

    def _take(self, reference: Holding) -> None:
        self._found.reference_runs += count_entries(reference.runs)
        self._feedback.append(reference.feedback)
        self._named.update(reference.stored_files)

    def _missing(self, trace_id: UUID, reference: Holding, copy: str) -> Iterator[Difference]:
        if copy == self._part:
            return
        found = list(compare_runs(trace_id, reference, _NOTHING, copy, self._excused(copy)))
        if copy != "store" and reference.sha256:
            found += compare_feedback(reference.feedback, b"", copy)
            if not found:
                found.append(Difference("missing", copy, f"trace {trace_id} without runs", trace_id))
        yield from found

    def _compared(
        self,
        trace_id: UUID,
        reference: Holding,
        other: Holding,
        copy: str,
        names: Mapping[str, Sequence[str]],
    ) -> Iterator[Difference]:
        found = list(compare_runs(trace_id, reference, other, copy, self._excused(copy)))
        if copy != "store" and reference.sha256:
            found += compare_feedback(reference.feedback, other.feedback, copy)
            if not found:
                found.append(Difference("differs", copy, names[copy][0], trace_id))
        yield from found

    def _excused(self, copy: str) -> Collection[UUID]:
        return self._rows.quarantined if self._rows and copy == "store" else ()

    def content_files(self) -> None:
        """Compare the files that are named after their content, and miss those that a trace names."""
        listed = {copy: set(filter(content_of_file, a.names)) for copy, a in self._archives.items()}
        for copy, names in listed.items():
            for name in sorted(names):
                self._look_at_content(self._archives[copy], name)
        self._settle()
        sound = {name for copy in listed for name in listed[copy] if (copy, name) not in self._damaged}
        self._compare_names(listed)
        for sha256, run_id in sorted(self._named.items()):
            name = content_file_name(sha256)
            if name not in sound and listed:
                self._found.unsound.append((name, f"{name} of run {run_id}"))

    def _look_at_content(self, archive: Archive, name: str) -> None:
        try:
            entry = archive.entries.get(name)
            check_content(
                name, content_of_file(name) or "", entry.sha256 if entry else self._hash(archive, name)
            )
            self._look(archive, name)
        except DamagedArchive as error:
            self._damaged[archive.copy, name] = error.message

    def _hash(self, archive: Archive, name: str) -> str:
        found = sha256_of(archive.blocks(name))
        if archive.copy == "files":
            self._sha256[name] = found
        return found

    def _compare_names(self, listed: Mapping[str, set[str]]) -> None:
        """Name the files that the most trusted archive has and another lacks, or the other way round."""
        order = [copy for copy in self._trust if copy in listed]
        for copy in order[1:]:
            if copy != self._part:
                for name in sorted(listed[order[0]] - listed[copy]):
                    self._add(Difference("missing", copy, self._called(name)))
            for name in sorted(listed[copy] - listed[order[0]]):
                self._add(Difference("extra", copy, name))

    def _called(self, name: str) -> str:
        run_id = self._named.get(content_of_file(name) or "")
        return f"{name} of run {run_id}" if run_id else name

    def loose_texts(self) -> None:
        """Compare the texts outside of traces: between archives, and unplaced runs with the quarantine."""
        for name, item in ((UNPLACED, "unplaced run"), (SUPERSEDED, "earlier text")):
            held = {
                copy: texts
                for copy, archive in self._archives.items()
                if (texts := self._texts(archive, name)) is not None
            }
            if name == UNPLACED and self._rows and held:
                excused = set(self._rows.quarantined)
                best = next(iter(held.values()))
                held |= {"store": excused & best}
            order = [copy for copy in self._trust if copy in held]
            for copy in order[1:]:
                if copy == self._part:
                    continue
                for content in sorted(held[order[0]] - held[copy]):
                    self._add(Difference("missing", copy, f"{item} with content {content}"))
                for content in sorted(held[copy] - held[order[0]]):
                    self._add(Difference("extra", copy, f"{item} with content {content}"))

    def _texts(self, archive: Archive, name: str) -> set[UUID] | None:
        """The hashes of the texts in a file; None when it is damaged."""
        if name not in archive.names:
            return set()
        try:
            if archive.copy == "files":
                self._hash(archive, name)
            return text_hashes(archive.blocks(name))
        except DamagedArchive as error:
            self._damaged[archive.copy, name] = error.message
            return None

    def feedback(self) -> None:
        """Compare the feedback of the whole day with the store's, which does not say its trace."""
        if self._rows and self._archives:
            entries = b"".join(self._feedback)
            in_order = sorted(entries[at : at + 32] for at in range(0, len(entries), 32))
            found = compare_feedback(b"".join(in_order), self._rows.feedback, "store", self._rows.quarantined)
            self._add_all(found)

    def conclude(self) -> Found:
        """Everything together, with what is damaged first."""
        found = self._found
        self._settle()
        found.differences[:0] = [
            Difference("damaged", copy, sentence) for (copy, _), sentence in sorted(self._damaged.items())
        ]
        found.quarantined = len(self._rows.quarantined) if self._rows else 0
        files = self._archives.get("files")
        if files and len(self._sha256) == len(files.names):
            found.files_sha256 = combined_sha256(sorted(self._sha256.items()))
        return found

    def _add(self, difference: Difference) -> None:
        self._found.differences.append(difference)

    def _add_all(self, differences: Iterable[Difference]) -> None:
        self._found.differences.extend(differences)


def _by_trace(archive: Archive) -> Iterator[tuple[str, str, str | Entries]]:
    """(trace id, copy, file name) of each trace file, by trace id."""
    traces = ((trace_id_in(name), name) for name in archive.names)
    for trace_id, name in sorted((trace_id, name) for trace_id, name in traces if trace_id):
        yield trace_id, archive.copy, name
