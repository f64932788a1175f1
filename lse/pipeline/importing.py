"""Bring in what an earlier exporter left: planned first, proved by hashes, and taken back exactly."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from uuid import UUID

from lse.archive.assemble import update_traces
from lse.archive.earlier import EarlierFolder, EarlierSource, Saved, merge_imported, storable
from lse.archive.earlier_index import EarlierIndex, FoundDay
from lse.archive.fetch_record import FetchRecord, read_fetch_record, write_fetch_record
from lse.archive.files import file_sha256
from lse.archive.identity import Unplaced
from lse.archive.import_batch import Batch, DayDone, batches, begin_batch
from lse.archive.layout import FETCH_RECORD, archived_files, trace_files
from lse.archive.manifest import content_sha256_of
from lse.archive.merge import missing_parents
from lse.archive.trace_file import DamagedArchive, read_trace_file
from lse.archive.versions import LogEntry, add_to_log
from lse.errors import DifferencesFound, IncompleteError, UsageError
from lse.models import Progress, ProjectDay, StepResult, Trace, content_hash
from lse.models.results import State
from lse.pipeline.common import (
    as_fetched,
    counted,
    is_empty,
    no_progress,
    options,
    require_as_fetched,
    was_pruned,
)
from lse.pipeline.loading import load
from lse.resources import Resources
from lse.store.importing import EarlierTable, Version, forget_day, remove_imported
from lse.store.ledger import IMPORTED

RUNS_PER_SECOND = 600
"""What an import reads, writes, loads and proves; measured with runs of 8 kB on two busy cores"""

_UNPROVED = "imported; nothing proves that no run is missing"


@dataclass(frozen=True, slots=True)
class PlannedImport:
    """What an import would find on one project day."""

    found: FoundDay
    equal: int
    """Runs that are archived with the same text"""
    different: int
    """Runs that are archived with another text, which stays unless the imported one ended later"""
    damage: str = ""
    """Why what is archived cannot be read, so that the day will be refused"""

    @property
    def new(self) -> int:
        """Runs that are not archived yet."""
        return self.found.runs - self.equal - self.different


class _Table:
    """The earlier tool's table as a source."""

    def __init__(self, url: str) -> None:
        self._table = EarlierTable(url)
        self.name = self._table.name

    def scan(self) -> Iterator[Saved]:
        return (_saved(*row) for row in self._table.rows())

    def read(self, places: Iterable[str]) -> Iterator[Saved]:
        return (_saved(*row) for row in self._table.rows_by_id(places))

    def close(self) -> None:
        self._table.close()


def _saved(run_id: str, project: str, content: bytes) -> Saved:
    return Saved(run_id, storable(project), content)


def open_earlier(place: str) -> EarlierSource:
    """The earlier tool's data at `place`: a folder, or the address of its Postgres database.

    Raises `UsageError` where there is neither, and what connecting to a database raises.
    """
    if place.startswith(("postgresql:", "postgresql+", "postgres:")):
        return _Table(place)
    if not Path(place).is_dir():
        raise UsageError(
            f"{place} is no folder.",
            hint="Give the earlier tool's output folder, or a postgresql:// address.",
        )
    return EarlierFolder(Path(place).resolve())


def plan_import(resources: Resources, index: EarlierIndex, projects: Collection[str]) -> list[PlannedImport]:
    """What an import of `projects` would find, day by day. Nothing is written."""
    chosen = [found for found in index.days if found.day.project in projects]
    return [_planned(resources, index, found) for found in chosen]


def begin_import(resources: Resources, index: EarlierIndex) -> Batch:
    """The batch to import into: the unfinished one from the same source, or else one that begins now.

    Raises what the store raises when it cannot be used, before anything is written.
    """
    _ = resources.store
    return begin_batch(_root(resources), index.source.name, resources.now())


def imports(resources: Resources) -> list[Batch]:
    """The imports that there were, the first one first."""
    return batches(_root(resources))


def import_day(
    resources: Resources, batch: Batch, index: EarlierIndex, day: ProjectDay, progress: Progress = no_progress
) -> StepResult:
    """Merge the runs of `day` into its trace files, load it, and prove that every run is in both.

    The caller holds the lock on the day. Raises `DifferencesFound` when the day's files are not what the last
    fetch left, and what `load` raises.
    """
    folder, content = resources.folder(day), index.digest(day)
    done = batch.done.get(day)
    if done and (done.content, done.record) == (content, file_sha256(folder / FETCH_RECORD)):
        return StepResult("import", "unchanged", "done before the interruption", _figures(done))
    if not batch.begun(day):
        _require_files(resources, day)
    batch.keep(day, folder)
    fetched_since = _fetched_since(batch, day, folder)
    before = _held(folder if fetched_since else batch.kept(day))
    _merge(index, day, folder, progress)
    after = _held(folder)
    done = _compared(day, before, after, content)
    _record(batch, day, folder, done, after)
    loaded = load(resources, day, progress)
    if details := tuple(_differences(resources, day, index, before, after)):
        summary = f"{counted(len(details), 'difference')} after the import"
        return StepResult(
            "import", "differences", summary, _figures(done), details, exit_code=DifferencesFound.exit_code
        )
    record = "" if fetched_since else file_sha256(folder / FETCH_RECORD)
    batch.note_done(replace(done, record=record, zip=file_sha256(resources.zip_path(day))))
    return _imported(done, loaded)


def roll_back_day(
    resources: Resources, batch: Batch, day: ProjectDay, progress: Progress = no_progress
) -> StepResult:
    """Make the trace files and the store what they were before the import; repeated, it goes on.

    The caller holds the lock on the day. Raises `IncompleteError` when it was fetched, imported or packed
    since, or its import never ended.
    """
    folder = resources.folder(day)
    _require_as_imported(resources, batch, day)
    batch.note_undoing(day)
    before, after = _held(batch.kept(day)), _held(folder)
    removed = remove_imported(
        resources.database_url,
        day,
        runs=_only_in(after.runs, before.runs),
        feedback=_only_in(after.feedback, before.feedback),
        replaced=_only_in(before.runs, after.runs),
    )
    batch.put_back(day, folder)
    if read_fetch_record(folder) is None:
        forget_day(resources.database_url, day)
    if trace_files(folder):
        load(resources, day, progress)
    batch.note_undone(day)
    summary = f"as before the import; {counted(removed, 'row')} removed from the store"
    return StepResult("rollback", "done", summary, {"rows_removed": removed})


def days_to_roll_back(batch: Batch) -> list[ProjectDay]:
    """The days that the batch changed, or began to change, and that were not taken back yet."""
    changed = {day for day, done in batch.done.items() if done.changes}
    return sorted((changed | batch.interrupted) - batch.undone)


def batch_named(resources: Resources, name: str) -> Batch:
    """The import called `name`. Raises `UsageError` when there is none."""
    for batch in imports(resources):
        if batch.name == name:
            return batch
    raise UsageError(f"There is no import {name!r}.", hint="`lse import --list` shows those that there are.")


@dataclass(slots=True)
class _Held:
    """What the trace files of a folder hold, by id."""

    runs: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)
    """run id → (trace id, content hash)"""
    feedback: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)
    """feedback id → (run id, content hash)"""
    traces: int = 0
    orphans: int = 0


def _held(folder: Path) -> _Held:
    held = _Held()
    for trace in map(read_trace_file, trace_files(folder)):
        held.runs |= {run.id: (run.trace_id, content_hash(run.text)) for run in trace.runs}
        held.feedback |= {item.id: (item.run_id, content_hash(item.text)) for item in trace.feedback}
        held.traces += 1
        held.orphans += len(missing_parents(trace))
    return held


def _planned(resources: Resources, index: EarlierIndex, found: FoundDay) -> PlannedImport:
    try:
        archived = _held(resources.folder(found.day)).runs
    except DamagedArchive as error:
        return PlannedImport(found, 0, 0, error.message)
    there = [
        content == archived[run_id][1]
        for run_id, content in index.hashes(found.day).items()
        if run_id in archived
    ]
    return PlannedImport(found, there.count(True), there.count(False))


def _require_files(resources: Resources, day: ProjectDay) -> None:
    """Raise where the archive of the day is not in its folder, or is not what was left there."""
    folder = resources.folder(day)
    require_as_fetched(resources, day)
    elsewhere = (
        resources.zip_path(day).exists() or read_fetch_record(folder) or was_pruned(resources, day, "files")
    )
    if not archived_files(folder) and elsewhere and not is_empty(resources, day):
        raise UsageError(
            f"The trace files of {day} are not in {folder}.",
            hint=f"Bring them back first: lse archive restore {options(day)}",
        )


def _fetched_since(batch: Batch, day: ProjectDay, folder: Path) -> bool:
    """Whether the day was fetched after an interrupted import of it; then it cannot be taken back."""
    now, then = read_fetch_record(folder), read_fetch_record(batch.kept(day))
    return now is not None and now.fetched_at not in (batch.began, then.fetched_at if then else None)


def _merge(index: EarlierIndex, day: ProjectDay, folder: Path, progress: Progress) -> None:
    try:
        for _ in update_traces(folder, _told(index, day, progress), merge=merge_imported):
            pass
    except Unplaced as error:
        raise DifferencesFound(
            f"What is imported of {day} changed while it was read: {error}.", hint="Import it again."
        ) from None


def _told(index: EarlierIndex, day: ProjectDay, progress: Progress) -> Iterator[Trace]:
    runs = 0
    for trace in index.traces(day):
        yield trace
        runs += len(trace.runs)
        progress(runs, None)


def _compared(day: ProjectDay, before: _Held, after: _Held, content: str) -> DayDone:
    return DayDone(
        project=day.project,
        date=day.day.isoformat(),
        added=len(after.runs.keys() - before.runs.keys()),
        changed=sum(before.runs.get(run_id, held) != held for run_id, held in after.runs.items()),
        feedback=len(after.feedback.keys() - before.feedback.keys()),
        content=content,
        record="",
        zip="",
    )


def _record(batch: Batch, day: ProjectDay, folder: Path, done: DayDone, held: _Held) -> None:
    """Note what the files hold now. What a fetch proved stays proved: an import only adds."""
    content, before = content_sha256_of(folder), read_fetch_record(folder)
    if before is not None and before.content_sha256 == content:
        return
    entry = LogEntry(batch.began, done.added, done.changed, 0, done.feedback, content)
    log_lines = add_to_log(folder, entry)
    if before is not None and before.source != IMPORTED:
        write_fetch_record(folder, replace(before, content_sha256=content, log_lines=log_lines))
        return
    record = FetchRecord(
        project=day.project,
        project_id="",
        date=day.day.isoformat(),
        source=IMPORTED,
        fetched_at=batch.began,
        complete=False,
        reason=_UNPROVED,
        walks=0,
        runs=len(held.runs),
        traces=held.traces,
        feedback=len(held.feedback),
        missing_parents=held.orphans,
        unplaced=0,
        stored_files=0,
        missing_files=0,
        server_runs=None,
        server_traces=None,
        content_sha256=content,
        log_lines=log_lines,
    )
    write_fetch_record(folder, record)


def _differences(
    resources: Resources, day: ProjectDay, index: EarlierIndex, before: _Held, after: _Held
) -> Iterator[str]:
    """Runs that are not in the files, as imported or as before, or not in the store as in the files."""
    stored = {run_id: content for _, run_id, content in resources.store.run_hashes(day)}
    quarantined = {item.content_hash for item in resources.store.quarantined(day)}
    for run_id, content in index.hashes(day).items():
        held = after.runs.get(run_id)
        if held is None:
            yield f"run {run_id} is missing in files"
        elif held[1] != content and held != before.runs.get(run_id):
            yield f"run {run_id} differs in files"
        elif stored.get(run_id) != held[1] and held[1] not in quarantined:
            yield f"run {run_id} {'differs' if run_id in stored else 'is missing'} in store"


def _figures(done: DayDone) -> dict[str, int]:
    return {name: asdict(done)[name] for name in ("added", "changed", "feedback")}


def _imported(done: DayDone, loaded: StepResult) -> StepResult:
    summary = (
        f"{counted(done.added, 'run')} added, {done.changed:,} replaced, {done.feedback:,} feedback records"
    )
    state: State = "partial" if loaded.exit_code else "done" if done.changes else "unchanged"
    return StepResult(
        "import",
        state,
        f"{summary}; store: {loaded.summary}",
        {**_figures(done), **{f"load_{name}": value for name, value in loaded.figures.items()}},
        hint=loaded.hint,
        exit_code=loaded.exit_code,
    )


def _require_as_imported(resources: Resources, batch: Batch, day: ProjectDay) -> None:
    done = batch.done.get(day)
    if done is None:
        raise IncompleteError(f"The import of {day} was interrupted.", hint="Import again, then roll back.")
    if day in batch.undoing:
        return
    record = resources.folder(day) / FETCH_RECORD
    if not done.record or file_sha256(record) != done.record or not as_fetched(resources, day):
        raise IncompleteError(
            f"{day} changed since the import, so it stays as it is.",
            hint="It was fetched, imported or restored since; a later import is rolled back first.",
        )
    if file_sha256(resources.zip_path(day)) != done.zip:
        raise IncompleteError(
            f"{day} was packed since the import, so it stays as it is.",
            hint=f"Take {resources.zip_path(day)} away first; what was uploaded stays in the target.",
        )


def _only_in(one: Mapping[UUID, tuple[UUID, UUID]], other: Mapping[UUID, tuple[UUID, UUID]]) -> list[Version]:
    """What `one` holds and `other` does not, or with another text."""
    return [(owner, item, text) for item, (owner, text) in one.items() if other.get(item) != (owner, text)]


def _root(resources: Resources) -> Path:
    return resources.settings.state_dir / "imports"
