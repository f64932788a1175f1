"""`verify --fix-missing`: what is missing or wrong in a copy comes back from a good one, and can be undone.

Everything that is replaced or removed is put aside first, in a batch of its own below the state directory,
and the batch's journal says what is about to be done before it is done. So a repair that was killed can be
repeated, or taken back by `undo`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from lse.archive.encryption import encrypted_name
from lse.archive.fetch_record import (
    FetchRecord,
    read_fetch_record,
    restored_record,
    write_fetch_record,
)
from lse.archive.files import blocks_of, write_atomically
from lse.archive.holding import sha256_of
from lse.archive.layout import FETCH_RECORD, LOG, archive_name, archived_files
from lse.archive.manifest import FileEntry, content_sha256_of
from lse.archive.trace_file import DamagedArchive
from lse.archive.versions import drop_damaged_lines
from lse.archive.zip import open_zip
from lse.errors import (
    AccessError,
    ConfigurationError,
    DifferencesFound,
    IncompleteError,
    LseError,
    TemporaryError,
    UsageError,
)
from lse.models import Progress, ProjectDay, StepResult
from lse.pipeline.batches import Batch, begin_batch
from lse.pipeline.common import counted, fetch_figures, ledger_facts, note, noted_record, options
from lse.pipeline.copies import Copies, read_records
from lse.pipeline.loading import load
from lse.pipeline.packing import pack, upload
from lse.pipeline.rebuilding import relearn
from lse.pipeline.target_copy import bring, find_copies, find_copy, open_stored, recipients
from lse.pipeline.verifying import Depth, compare_copies
from lse.resources import Resources
from lse.store import LedgerEntry, RowKeys
from lse.verify import NOTES, Difference, Kind

COPIES = ("files", "zip", "target", "store", "ledger", *NOTES)
"""What can be repaired, in this order: a later copy is written from an earlier one."""

_SHORT = {"db": "store"}

_FROM = {"ledger": "what is there", "record": "the ledger", "log": "its whole lines"}
"""What is no archive, and what it is repaired from"""

_ROUNDS = 3
"""Comparisons after which something is repaired: trace files, what comes from them, and the ledger's notes"""

Only = frozenset[tuple[Kind, str]]


@dataclass(frozen=True, slots=True)
class Repair:
    """What is to be done to one copy."""

    copy: str
    differences: tuple[Difference, ...]
    source: str
    """The copy that it comes from; empty where no good copy exists, and nothing is done then"""

    def __str__(self) -> str:
        what = counted(len(self.differences), "difference")
        if not self.source:
            return f"{self.copy}: {what} cannot be repaired, since no good copy exists"
        return f"{self.copy}: {what}, repaired from {self.source}"


def parse_only(names: Collection[str]) -> Only | None:
    """What names such as `missing-in-db`, `damaged-zip` or `files` choose; None when there are none.

    Raises `UsageError` for any other name.
    """
    kinds: tuple[Kind, ...] = ("missing", "damaged", "differs", "extra")
    known = {
        form: (kind, copy)
        for kind in kinds
        for copy in COPIES
        for name in (copy, *(short for short, long in _SHORT.items() if long == copy))
        for form in (f"{kind}-{name}", f"{kind}-in-{name}")
    }
    if unknown := sorted(set(names) - known.keys()):
        raise UsageError(
            f"{unknown[0]!r} names nothing that can be repaired.",
            hint="It is missing, damaged, differs or extra, and a copy: missing-in-db, damaged-zip, ...",
        )
    return frozenset(known[name] for name in names) or None


def plan_repairs(copies: Copies, only: Only | None = None) -> list[Repair]:
    """What a comparison's differences need, a repair for each copy, in the order in which they are done.

    Where no whole archive was compared with the rows, they are left to the comparison after the repair.
    """
    repairs: list[Repair] = []
    whole = set(copies.whole)
    compared = {"files", "zip"} & whole
    for copy in COPIES:
        chosen = tuple(d for d in copies.differences if d.copy == copy and _is_chosen(d, only))
        if not chosen or (copy in ("store", "ledger") and not compared and any(r.source for r in repairs)):
            continue
        source = _source(copy, copies, whole)
        repairs.append(Repair(copy, chosen, source))
        if source and copy in ("files", "zip") and only is None:
            whole.add(copy)
    return repairs


def _is_chosen(difference: Difference, only: Only | None) -> bool:
    return only is None or (difference.kind, difference.copy) in only


def _source(copy: str, copies: Copies, whole: Collection[str]) -> str:
    """The best whole archive for `copy`; files may also come one by one from what is sound of two."""
    if copy in _FROM:
        return _FROM[copy]
    wanted = {"files": ("zip", "target"), "zip": ("files", "target"), "target": ("zip",)}
    found = next((each for each in wanted.get(copy, ("files", "zip", "target")) if each in whole), "")
    if not found and copy == "files" and {"zip", "target"} & copies.held.keys():
        return "what is sound in zip and target"
    return found


def repair(
    resources: Resources,
    day: ProjectDay,
    repairs: Sequence[Repair],
    only: Only | None = None,
    batch: Batch | None = None,
) -> tuple[Batch | None, list[tuple[Repair, LseError]]]:
    """Do `repairs`; gives the batch that `undo` takes back, and each repair that failed, with the reason.

    The caller holds the day's lock, and compares again afterwards. A repair without a source changes
    nothing, and neither does one whose source could not be repaired; without any other there is no batch.
    `batch` is an earlier one to go on with.
    """
    possible = [each for each in repairs if each.source]
    if not possible:
        return None, []
    batch = batch or begin_batch(resources.settings.state_dir, day, resources.now())
    steps: Mapping[str, Callable[[_Work], None]] = {
        "files": _repair_files,
        "zip": _repair_zip,
        "target": _repair_target,
        "store": _repair_store,
        "ledger": _repair_ledger,
        "record": _repair_record,
        "log": _repair_log,
    }
    if resources.ledger is not None:
        _keep_rows(resources, batch, RowKeys(day, (), ()))  # every step writes into the ledger
    failed: dict[str, tuple[Repair, LseError]] = {}
    for each in possible:
        try:
            if each.source in failed:
                raise IncompleteError(
                    f"Nothing was written into {each.copy} of {day}: {each.source} could not be repaired."
                )
            steps[each.copy](_Work(resources, day, batch, each, only))
        except _REASONS as error:
            failed[each.copy] = each, error
    batch.note("left", **left_by(resources, batch, with_object="target" not in failed))
    return batch, list(failed.values())


def left_by(resources: Resources, batch: Batch, *, with_object: bool) -> dict[str, Any]:
    """What stands now where the batch wrote, by which `undo` sees whether anything came after the repair.

    SHA-256 of each of the `files`, MD5 of the target's `object`, and a digest of the day's `rows`; None for
    what was not written or is not asked for.
    """
    asked = with_object and any(step["step"] == "object" for step in batch.steps())
    stored = find_copy(resources, batch.day) if asked else None
    digest = resources.ledger.row_digest(batch.day) if resources.ledger else None
    return {"files": batch.files_left(), "object": stored.md5 if stored else None, "rows": digest}


_REASONS = (AccessError, DamagedArchive, DifferencesFound, IncompleteError, TemporaryError, UsageError)
"""Why one copy cannot be repaired, while others can"""


@dataclass(frozen=True, slots=True)
class _Work:
    """One repair under way."""

    resources: Resources
    day: ProjectDay
    batch: Batch
    repair: Repair
    only: Only | None

    def wants(self, *kinds: Kind) -> bool:
        """Whether one of these kinds is to be repaired in this copy."""
        return self.only is None or any((kind, self.repair.copy) in self.only for kind in kinds)


def _repair_files(work: _Work) -> None:
    """Bring each file that is not as it was, and put aside what does not belong there."""
    folder = work.resources.folder(work.day)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as opened:
        readers, refusal = _readers(work, opened)
        wanted = _wanted(work, readers, refusal)
        for path in archived_files(folder):
            if path.name not in wanted and work.wants("extra"):
                work.batch.keep_file(path)
                path.unlink()
        lost = [
            entry.path for entry in wanted.values() if not _brought(work, folder / entry.path, entry, readers)
        ]
    if lost:
        raise refusal or IncompleteError(
            f"{counted(len(lost), 'file')} of {work.day} cannot be had, first {lost[0]}."
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """An archive that files can come from."""

    content_sha256: str
    entries: Mapping[str, FileEntry]
    read: Callable[[FileEntry], bytes]


def _readers(work: _Work, opened: ExitStack) -> tuple[list[_Reader], LseError | None]:
    """The zip and the target's object, where they can be opened; and why the target's cannot be."""
    here = list(_zip_reader(work, opened))
    try:
        return [*here, *_target_reader(work, opened)], None
    except (AccessError, ConfigurationError, TemporaryError) as refusal:
        return here, refusal


def _zip_reader(work: _Work, opened: ExitStack) -> Iterator[_Reader]:
    try:
        archive = opened.enter_context(open_zip(work.resources.zip_path(work.day)))
    except (FileNotFoundError, DamagedArchive):
        return  # the target may do
    manifest = archive.manifest
    yield _Reader(manifest.content_sha256, {e.path: e for e in manifest.files}, archive.read)


def _target_reader(work: _Work, opened: ExitStack) -> Iterator[_Reader]:
    """A member is proved when it is read."""
    try:
        if work.resources.settings.target and (stored := find_copy(work.resources, work.day)):
            members = opened.enter_context(open_stored(work.resources, stored))
            content = members.archive.manifest.content_sha256
            yield _Reader(content, members.entries, members.read)
    except (DifferencesFound, DamagedArchive):
        return  # the zip may do


def _wanted(work: _Work, readers: Sequence[_Reader], refusal: LseError | None) -> Mapping[str, FileEntry]:
    """The files that should be there. Raises `refusal` or `IncompleteError` where no manifest says so."""
    content = read_records(work.resources, work.day).content_sha256
    for reader in readers:
        if content in (None, reader.content_sha256):
            return reader.entries
    raise refusal or IncompleteError(
        f"No zip that can be read holds what the last fetch left of {work.day}.",
        hint=f"Fetch it again: lse archive fetch {options(work.day)}",
    )


def _brought(work: _Work, path: Path, entry: FileEntry, readers: Sequence[_Reader]) -> bool:
    """Make `path` what the manifest says; False when no archive has it whole."""
    if path.exists():
        if sha256_of(blocks_of(path)) == entry.sha256 or not work.wants("damaged", "differs"):
            return True
    elif not work.wants("missing"):
        return True
    for reader in readers:
        if (known := reader.entries.get(path.name)) and known.sha256 == entry.sha256:
            try:
                content = reader.read(known)
            except DamagedArchive:
                continue
            work.batch.keep_file(path)
            write_atomically(path, content)
            return True
    return False


def _repair_zip(work: _Work) -> None:
    """Put the zip aside, and pack the trace files anew, or bring the target's where they were pruned."""
    path = work.resources.zip_path(work.day)
    if work.repair.source == "files":
        _require_whole_files(work)
    work.batch.keep_file(path)
    if work.repair.source == "target":
        stored = find_copy(work.resources, work.day)
        if stored is None:
            raise IncompleteError(f"The target holds no archive of {work.day} any more.")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        bring(work.resources, stored, path)
        return
    path.unlink(missing_ok=True)
    pack(work.resources, work.day)


def _require_whole_files(work: _Work) -> None:
    """Raise where the trace files are not what the last fetch left: no good copy is replaced by them."""
    content = read_records(work.resources, work.day).content_sha256
    if content not in (None, content_sha256_of(work.resources.folder(work.day))):
        raise IncompleteError(
            f"The trace files of {work.day} are not what the last fetch left: nothing is written from them.",
            hint=f"See what is wrong with them: lse archive verify {options(work.day)}",
        )


def _repair_target(work: _Work) -> None:
    """Keep what the target holds, and upload the zip."""
    copies = find_copies(work.resources, work.day)
    for number, stored in enumerate(copies):
        kept = work.batch.folder / f"object-{number}"
        work.resources.target.get(stored.path, kept)
        work.batch.keep_object(stored.path, kept, stored.properties)
    if not copies:
        encrypts = recipients(work.resources.settings)
        work.batch.keep_object(encrypted_name(work.day) if encrypts else archive_name(work.day), None, {})
    upload(work.resources, work.day, force=True)


def _repair_store(work: _Work) -> None:
    """Put the rows aside, remove those that are wrong, and load the day again."""
    store, differences = work.resources.store, work.repair.differences
    if archived_files(work.resources.folder(work.day)):
        _require_whole_files(work)
    _keep_rows(work.resources, work.batch, _keys_of(work.day, differences))
    store.remove_rows(_keys_of(work.day, [each for each in differences if each.kind != "missing"]))
    load(work.resources, work.day)


def _repair_ledger(work: _Work) -> None:
    """Write what is there into the ledger; a load that it does not know of is repeated and changes no row."""
    if any(each.kind == "missing" for each in work.repair.differences):
        load(work.resources, work.day)
    relearn(work.resources, work.day)


def _repair_record(work: _Work) -> None:
    """Put right what files and ledger know of the fetch, where that proves to be what was written."""
    folder = work.resources.folder(work.day)
    content = content_sha256_of(folder)
    if record := read_fetch_record(folder):
        whole: FetchRecord | None = replace(record, content_sha256=content)
    else:
        entry = read_records(work.resources, work.day).ledger
        whole = noted_record(entry, folder, content) or _mended_record(folder, entry, content)
    if whole is None:
        raise IncompleteError(
            f"Nothing proves what {FETCH_RECORD} of {work.day} said.",
            hint=f"Fetch the day again, which writes it anew: lse archive fetch {options(work.day)}",
        )
    work.batch.keep_file(folder / FETCH_RECORD)
    write_fetch_record(folder, whole)
    note(work.resources, work.day, **ledger_facts(whole))


def _mended_record(folder: Path, entry: LedgerEntry | None, content: str) -> FetchRecord | None:
    """What is here, with the ledger's figures, where its own hash proves that it was so."""
    return restored_record(folder, content_sha256=content, **(fetch_figures(entry) if entry else {}))


def _repair_log(work: _Work) -> None:
    """Put the log aside and keep its whole lines; what a damaged one said is nowhere else."""
    folder = work.resources.folder(work.day)
    work.batch.keep_file(folder / LOG)
    lines = drop_damaged_lines(folder)
    if record := read_fetch_record(folder):
        work.batch.keep_file(folder / FETCH_RECORD)
        write_fetch_record(folder, replace(record, log_lines=lines))


def _keep_rows(resources: Resources, batch: Batch, keys: RowKeys) -> None:
    """Write the rows of `keys` into the batch, and then into its journal that they are there."""
    folder = batch.new_folder("rows")
    resources.store.save_rows(keys, folder)
    runs = [[str(trace_id), str(run_id)] for trace_id, run_id in keys.runs]
    batch.note("rows", kept=folder.name, runs=runs, feedback=[str(each) for each in keys.feedback])


def _keys_of(day: ProjectDay, differences: Sequence[Difference]) -> RowKeys:
    runs = {(d.trace_id, run_id) for d in differences if d.trace_id for run_id in d.run_ids}
    feedback: set[UUID] = {d.feedback_id for d in differences if d.feedback_id}
    return RowKeys(day, sorted(runs), sorted(feedback))


@dataclass(frozen=True, slots=True)
class Fixed:
    """A comparison, and what was repaired after it."""

    result: StepResult
    """Of the last comparison"""
    copies: Copies
    repairs: tuple[Repair, ...] = ()
    """What was planned"""
    batch: Batch | None = None
    """What `undo` takes back; None when nothing was changed"""
    failed: tuple[tuple[Repair, LseError], ...] = ()


def compare_and_fix(
    resources: Resources,
    day: ProjectDay,
    progress: Progress,
    *,
    agree: Callable[[Sequence[Repair]], bool],
    only: Only | None = None,
    depth: Depth = "default",
    source: bool = False,
) -> Fixed:
    """Compare the copies of `day`; repair them if `agree` says so to the plan; compare again.

    What shows only when the worst is repaired, such as rows that no archive could be compared with, is
    repaired next, in the same batch.
    """
    result, copies = compare_copies(resources, day, progress, depth=depth, source=source)
    done, batch = Fixed(result, copies), None
    failed: list[tuple[Repair, LseError]] = []
    for _ in range(_ROUNDS):
        repairs = tuple(plan_repairs(done.copies, only))
        done = replace(done, repairs=done.repairs or repairs)
        if failed or not any(each.source for each in repairs) or not agree(repairs):
            break
        batch, failed = repair(resources, day, repairs, only, batch)
        result, copies = compare_copies(resources, day, progress, depth=depth, source=source)
        done = replace(done, result=result, copies=copies, batch=batch, failed=tuple(failed))
    return done
