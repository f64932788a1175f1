"""The step `verify`: compare every copy of a day. It reads, and changes nothing but the ledger's note."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from lse.archive.fetch_record import dump_fetch_record
from lse.archive.manifest import content_sha256_of
from lse.archive.reading import DayReader
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import ZipInfo, ZipReader, describe_zip, open_zip
from lse.errors import AccessError, DifferencesFound, IncompleteError, TemporaryError, UsageError
from lse.models import Figure, Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, is_empty, no_progress, note, options, was_pruned
from lse.pipeline.comparing import Archive, Found, Rows, folder_archive, walk, zip_archive
from lse.pipeline.copies import Copies, Records, find_in_target, read_records, same_bytes
from lse.pipeline.glancing import glance
from lse.pipeline.ledger_check import compare_ledger
from lse.pipeline.notes_check import check_notes
from lse.pipeline.target_copy import bring, holds
from lse.resources import Resources
from lse.sources import Window
from lse.targets import StoredObject
from lse.verify import Difference, by_severity, kinds_of

Depth = Literal["quick", "default", "deep"]
"""`quick`: counts, sizes and hashes that are noted; no content. `default`: every byte on this disk, the ids
and hashes of the store, size and MD5 of the target. `deep`: the target's bytes and each column of the store's
rows as well."""


def verify(
    resources: Resources,
    day: ProjectDay,
    progress: Progress = no_progress,
    *,
    deep: bool = False,
    quick: bool = False,
    source: bool = False,
) -> StepResult:
    """Compare the copies of `day` by id and content hash: trace files, zip, target, store, and the ledger.

    What holds the content that the last fetch left is trusted first. The target is compared by its hashes;
    with `deep` it is downloaded, decrypted where it is encrypted, and read, and each column of the store's
    rows is compared with its text. `quick` reads no content. With `source`, LangSmith is asked how many runs
    it counts. A copy that was pruned is not missed. Raises `UsageError` when nothing of the day is archived.
    """
    depth: Depth = "deep" if deep else "quick" if quick else "default"
    return compare_copies(resources, day, progress, depth=depth, source=source)[0]


def compare_copies(
    resources: Resources,
    day: ProjectDay,
    progress: Progress = no_progress,
    *,
    depth: Depth = "default",
    source: bool = False,
) -> tuple[StepResult, Copies]:
    """What `verify` says, and the copies that it looked at."""
    copies, records = Copies(), read_records(resources, day)
    if resources.ledger_failure and resources.settings.database_url:
        copies.unchecked.append(("store", resources.ledger_failure))
    if depth == "quick":
        glance(resources, day, copies, records)
    else:
        with ExitStack() as opened:
            _Comparison(resources, day, copies, records, opened).compare(progress, deep=depth == "deep")
    copies.differences += check_notes(resources.folder(day), records.fetch, records.noted)
    if not copies.held and not copies.differences and not copies.pruned and is_empty(resources, day):
        return StepResult("verify", "done", "no traces on this day"), copies
    if source:
        _ask_source(resources, day, copies)
    copies.differences = by_severity(copies.differences)
    if depth != "quick":
        facts = {"verified_at": resources.now(), "differences": len(copies.differences)}
        note(resources, day, **facts, **_unnoted(records))
    return _verified(day, copies, records), copies


def _unnoted(records: Records) -> dict[str, str]:
    """The record of the last fetch, for a ledger that knows the fetch and does not have its record."""
    fetch, entry = records.fetch, records.ledger
    if fetch is None or entry is None or entry.fetch_record or entry.fetched_at != fetch.time:
        return {}
    return {"fetch_record": dump_fetch_record(fetch)}


class _Comparison:
    """One comparison by content under way."""

    def __init__(
        self, resources: Resources, day: ProjectDay, copies: Copies, records: Records, opened: ExitStack
    ) -> None:
        self._resources = resources
        self._day = day
        self._copies = copies
        self._records = records
        self._opened = opened
        self._archives: dict[str, Archive] = {}
        self._contents: dict[str, str] = {}
        """Copy → the content hash that its manifest says"""
        self._part: str | None = None
        self._info: ZipInfo | None = None
        self._target_is_whole = False
        """Whether the target holds what the last fetch left, by what was noted when it arrived"""

    def compare(self, progress: Progress, *, deep: bool) -> None:
        """Fill the copies with what is there and where it disagrees."""
        rows = self._rows()  # which the server makes ready while the archives are opened
        self._open_files()
        self._open_zip()
        self._look_at_target(deep=deep)
        trust = self._trust(rows is not None)
        if trust:
            found = walk(list(self._archives.values()), rows, trust, self._part, progress)
            self._conclude(found, rows)
        if deep and rows:
            self._compare_columns()

    def _open_files(self) -> None:
        folder, copies = self._resources.folder(self._day), self._copies
        files = folder_archive(folder)
        if files.names:
            self._archives["files"] = files
        if was_pruned(self._resources, self._day, "files"):
            whole = files.names and content_sha256_of(folder) == self._records.content_sha256
            if not whole:
                copies.pruned.append("files")
                self._part = "files" if files.names else None
        elif not files.names and self._records.runs:
            copies.miss("files", f"every trace file of {self._day}")

    def _open_zip(self) -> None:
        path, copies, entry = self._resources.zip_path(self._day), self._copies, self._records.ledger
        if not path.exists():
            if was_pruned(self._resources, self._day, "zip"):
                copies.pruned.append("zip")
            elif entry and entry.packed_at:
                copies.miss("zip", path.name)
            return
        with ThreadPoolExecutor(1) as thread:
            described = thread.submit(describe_zip, path)  # to open a zip of many members takes as long
            opened = self._opened_zip("zip", path)
            self._info = described.result()
        if opened and same_bytes(entry, self._info) is False:
            agree = entry and (entry.zip_sha256 == self._info.sha256 or entry.zip_md5 == self._info.md5)
            if not agree:  # else the ledger is wrong, which is named as such
                copies.damaged("zip", f"{path.name} has other bytes than were packed")

    def _opened_zip(self, copy: str, path: Path) -> ZipReader | None:
        """Open the zip of a copy; None when it is damaged, which is noted."""
        try:
            reader = self._opened.enter_context(open_zip(path))
            if reader.manifest.day != self._day:
                raise DamagedArchive(f"{path.name} holds {reader.manifest.day}, not {self._day}.")
        except DamagedArchive as error:
            self._copies.damaged(copy, error.message)
            self._copies.held[copy] = "damaged"
            return None
        self._archives[copy] = zip_archive(copy, reader)
        self._contents[copy] = reader.manifest.content_sha256
        return reader

    def _look_at_target(self, *, deep: bool) -> None:
        """Compare the target's object by its hashes, or read it when asked to or when nothing is known."""
        stored = find_in_target(self._resources, self._day, self._copies, self._records)
        if stored is None:
            return
        if deep or not (self._archives or self._records.content_sha256):
            self._read_target(stored)
        else:
            self._compare_target(stored)

    def _read_target(self, stored: StoredObject) -> None:
        path = self._opened.enter_context(self._resources.scratch()) / "target.zip"
        try:
            bring(self._resources, stored, path)
        except DifferencesFound as error:
            self._copies.damaged("target", error.message)
            return
        self._opened_zip("target", path)

    def _compare_target(self, stored: StoredObject) -> None:
        info, content, copies = self._info, self._content(), self._copies
        self._target_is_whole = content is not None and holds(stored, content)
        if info and (info.size, info.md5) == (stored.size, stored.md5):
            copies.held["target"] = "same bytes"
        elif self._target_is_whole or any(holds(stored, sha256) for sha256 in self._contents.values()):
            copies.held["target"] = "same content"
            if info and info.size == stored.size and "zip" in self._archives:
                copies.damaged("zip", f"{info.path.name} has other bytes than were uploaded")
        else:
            copies.held["target"] = "other bytes"
            copies.differences.append(Difference("differs", "target", stored.path))

    def _content(self) -> str | None:
        """The content hash of what should be there."""
        if self._records.content_sha256:
            return self._records.content_sha256
        if "zip" in self._contents:
            return self._contents["zip"]
        return content_sha256_of(self._resources.folder(self._day)) if "files" in self._archives else None

    def _rows(self) -> Rows | None:
        """The store's rows of the day; None when there are none and none should be."""
        store, entry = self._resources.ledger, self._records.ledger
        if store is None:
            return None
        number = store.count_rows(self._day)["runs"]
        if not number and not (entry and entry.loaded_at):
            return None
        quarantined = {item.content_hash for item in store.quarantined(self._day)}
        runs = self._opened.enter_context(store.run_entries(self._day))
        return Rows(runs, store.feedback_entries(self._day), quarantined)

    def _trust(self, rows: bool) -> Sequence[str]:
        """The names of the copies, those first that hold what the last fetch left; a part comes last."""
        content = self._records.content_sha256
        proved = [copy for copy, sha256 in self._contents.items() if content and sha256 == content]
        others = [copy for copy in self._archives if copy not in proved]
        store = ["store"] if rows else []
        if "files" in others and (self._part or self._files_are_doubtful(proved)):
            others.remove("files")
            return [*proved, *others, *store, "files"]
        return [*proved, *others, *store]

    def _files_are_doubtful(self, proved: Sequence[str]) -> bool:
        """Whether the trace files are known not to be what the last fetch left, and only then are hashed."""
        content = self._records.content_sha256
        if proved or content is None:
            return False
        return content_sha256_of(self._resources.folder(self._day)) != content

    def _conclude(self, found: Found, rows: Rows | None) -> None:
        copies, records = self._copies, self._records
        numbers = {copy: f"{found.runs[copy]:,}" for copy in self._archives if copy != self._part}
        copies.held = numbers | copies.held | ({"store": f"{found.runs['store']:,}"} if rows else {})
        copies.held = {copy: copies.held[copy] for copy in _ORDER if copy in copies.held}
        copies.runs, copies.quarantined = found.reference_runs, found.quarantined
        if "files" in self._archives and self._part is None:
            self._judge_files(found)
        copies.differences += found.differences
        copies.differences += self._lost(found)
        in_store = [d for d in copies.differences if d.copy == "store"]
        proved = found.runs["store"] if rows and not in_store and self._archives else None
        if self._resources.ledger is not None:
            copies.differences += compare_ledger(records, self._info, proved)
        copies.whole = set(self._whole(found))

    def _whole(self, found: Found) -> Iterator[str]:
        """The archives without a difference that are of the content that the last fetch left, where noted."""
        wrong = {difference.copy for difference in self._copies.differences}
        contents = {**self._contents, "files": found.files_sha256}
        for copy in self._archives:
            if copy not in wrong and self._records.content_sha256 in (None, contents.get(copy)):
                yield copy
        if self._target_is_whole:
            yield "target"

    def _judge_files(self, found: Found) -> None:
        """Say that the trace files are not what the last fetch left, unless its record is what changed."""
        fetch, ledger = self._records.fetch, self._records.ledger
        if fetch is None or found.files_sha256 == fetch.content_sha256:
            return
        others = {self._contents.get("zip"), ledger.content_sha256 if ledger else None}
        if others == {found.files_sha256}:
            self._copies.damaged("record", "_fetch.json does not say what the last fetch left")
        else:
            self._copies.damaged("files", "they are not what the last fetch left")

    def _lost(self, found: Found) -> Iterator[Difference]:
        """What is whole in no archive; what the target holds by its hashes is not lost."""
        if self._target_is_whole or any(copy == "target" for copy, _ in self._copies.unchecked):
            return
        for _, item in sorted(found.unsound):
            yield Difference("lost", "archive", item)
        short = self._records.runs - found.reference_runs
        if short > 0 and not found.unsound:
            yield Difference("lost", "archive", f"{counted(short, 'run')} that the last fetch left")
        elif found.runs["store"] and not self._archives and not self._copies.pruned:
            yield Difference("lost", "archive", f"the text of {counted(found.runs['store'], 'run')}")

    def _compare_columns(self) -> None:
        """Compare the store's rows with what a load would make of the texts in a sound archive."""
        store = self._resources.ledger
        unsound = {difference.copy for difference in self._copies.differences}
        archive = next((a for a in self._archives.values() if a.copy not in unsound), None)
        if store is None or archive is None or archive.copy == self._part:
            return
        reader = DayReader(tuple(archive.names), archive.blocks)
        for row in store.differing_rows(self._day, reader.traces()):
            if row.table == "runs":
                text = f"the row of run {row.item} of trace {row.owner}"
                found = Difference("differs", "store", text, row.owner, (row.item,))
            else:
                text = f"the row of feedback {row.item}"
                found = Difference("differs", "store", text, feedback_id=row.item)
            self._copies.differences.append(found)


_ORDER = ("files", "zip", "target", "store")


def _ask_source(resources: Resources, day: ProjectDay, copies: Copies) -> None:
    """Miss what LangSmith counts and no copy holds; that it counts less is the way of its retention."""
    try:
        project = resources.source.project(day.project)
        counts = resources.source.counts(Window(project, day.start, day.end))
    except (AccessError, TemporaryError, UsageError) as error:
        copies.unchecked.append(("LangSmith", error))
        return
    if counts is None:
        return
    copies.held["langsmith"] = f"{counts.runs:,}"
    if counts.runs > copies.runs:
        copies.miss("archive", f"{counted(counts.runs - copies.runs, 'run')} that LangSmith counts")


def _verified(day: ProjectDay, copies: Copies, records: Records) -> StepResult:
    differences, record = copies.differences, records.fetch
    figures: dict[str, Figure] = {
        "copies": str(copies),
        "runs": copies.runs,
        "differences": len(differences),
        **kinds_of(differences),
        "quarantined": copies.quarantined,
        "complete": record.complete if record else None,
    }
    if differences:
        return StepResult(
            "verify",
            "differences",
            f"{counted(len(differences), 'difference')} (copies: {copies})",
            figures,
            tuple(map(str, differences)),
            hint=_hint(day, differences),
            exit_code=DifferencesFound.exit_code,
        )
    doubts = tuple(_doubts(day, copies, records))
    return StepResult(
        "verify",
        "partial" if doubts else "done",
        f"no differences (copies: {copies})",
        figures,
        doubts,
        exit_code=next(
            (error.exit_code for _, error in copies.unchecked), IncompleteError.exit_code if doubts else 0
        ),
    )


def _hint(day: ProjectDay, differences: Sequence[Difference]) -> str:
    """The command that writes the copy anew that differs, or the one that plans a repair of several."""
    commands = {"files": "restore", "zip": "zip", "target": "upload", "store": "to-db"}
    copies = {difference.copy for difference in differences}
    if len(copies) > 1 or not copies <= commands.keys() or any(d.kind == "extra" for d in differences):
        return f"See what can be repaired: lse archive verify {options(day)} --fix-missing"
    command = commands[copies.pop()]
    force = " --force" if command == "restore" else ""
    return f"Write that copy again: lse archive {command} {options(day)}{force}"


def _doubts(day: ProjectDay, copies: Copies, records: Records) -> Iterator[str]:
    """What keeps copies that agree from being proved complete."""
    for copy, error in copies.unchecked:
        yield f"{'' if copy == 'LangSmith' else 'the '}{copy} could not be checked: {error.message}"
    if len(copies.held) < 2:
        yield f"only one copy of {day} exists, so nothing could be compared"
    if records.fetch is not None and not records.fetch.complete:
        yield f"the fetch of {day} is partial: {records.fetch.reason}"
    if copies.quarantined:
        yield f"{counted(copies.quarantined, 'run')} of {day} in quarantine: see `lse db quarantine`"
