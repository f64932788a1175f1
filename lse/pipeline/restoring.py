"""The step `restore`: trace files back from the target, or from the local zip; a whole day or one trace."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from lse.archive.files import remove_stale, sync_directory, write_atomically
from lse.archive.layout import archived_files, content_file_name, trace_of_file
from lse.archive.prune_record import forget_pruned
from lse.archive.restore import restore_zip
from lse.archive.trace_file import DamagedArchive, read_trace
from lse.archive.zip import open_zip
from lse.errors import UsageError
from lse.models import Progress, ProjectDay, StepResult
from lse.pipeline.common import bring_record_back, counted, no_progress, options
from lse.pipeline.listing import days_on_disk
from lse.pipeline.target_copy import Members, bring, find_copy, open_stored
from lse.resources import Resources
from lse.targets import StoredObject

logger = logging.getLogger(__name__)


def restore(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, force: bool = False
) -> StepResult:
    """Bring the trace files of `day` back from the target, or else from the local zip."""
    stored = _in_target(resources, day)
    path = resources.zip_path(day) if stored else _require(resources, day)
    with resources.scratch() as scratch:
        if stored:
            path = scratch / path.name
            bring(resources, stored, path, progress)
        manifest, kept = restore_zip(path, resources.folder(day), day, force=force)
    bring_record_back(resources, day, manifest.content_sha256)
    forget_pruned(resources.settings.data_dir, day, "files")
    summary = f"{counted(len(manifest.files), 'file')} in {resources.folder(day)}{_moved(kept)}"
    return StepResult(
        "restore", "done", summary, {**manifest.counts, "content_sha256": manifest.content_sha256}
    )


def restore_trace(
    resources: Resources,
    day: ProjectDay,
    trace_id: UUID,
    progress: Progress = no_progress,
    *,
    force: bool = False,
) -> StepResult:
    """Bring the file of one trace of `day` back, with the stored files that it names.

    Of a target's zip only its list of files and these files are read, in one request each. Other content
    in their place is replaced only with `force`, and then kept beside the folder. Raises `UsageError` when
    there is other content, or no such trace.
    """
    with _open_copy(resources, day, progress) as members:
        files = _files_of(members, day, trace_id)
    folder = resources.folder(day)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    in_the_way = [path for path in archived_files(folder) if _is_other(path, trace_id, files)]
    if in_the_way and not force:
        raise UsageError(
            f"{folder} holds another {in_the_way[0].name} than the archive.",
            hint="Compare the copies with `lse archive verify`, or replace it with --force.",
        )
    kept = _set_aside(folder, in_the_way)
    for name in files:
        remove_stale(folder / name)
    written = [name for name in files if not (folder / name).exists()]
    for name in written:
        write_atomically(folder / name, files[name])
    summary = f"{counted(len(files), 'file')} of trace {trace_id} in {folder}{_moved(kept)}"
    return StepResult(
        "restore", "done" if written else "unchanged", summary, {"files": len(files), "written": len(written)}
    )


def day_of_trace(
    resources: Resources, trace_id: UUID, wanted: Callable[[ProjectDay], bool] | None = None
) -> ProjectDay:
    """The day of a trace: as the store knows it, else by the trace files and zips here.

    Only days for which `wanted` holds are looked at. Raises `UsageError` when nothing here knows the trace,
    or when it has several days.
    """
    found = list(filter(wanted, _in_store(resources, trace_id)))
    found = found or list(filter(wanted, _in_archives(resources, trace_id)))
    if not found:
        raise UsageError(
            f"Trace {trace_id} is neither in the store nor in an archive on this machine.",
            hint="Name its day, and the target is asked: --project P --date D.",
        )
    if len(found) > 1:
        raise UsageError(
            f"Trace {trace_id} is in {len(found)} days: {', '.join(map(str, found))}.",
            hint=f"Say which: {options(found[0])}",
        )
    return found[0]


def _in_store(resources: Resources, trace_id: UUID) -> list[ProjectDay]:
    if resources.ledger is None:
        return []
    rows = resources.ledger.query(_DAYS_OF_TRACE, {"trace_id": trace_id})
    return [ProjectDay(row["project"], row["run_date"]) for row in rows]


_DAYS_OF_TRACE = """
select distinct project, run_date from runs where trace_id = %(trace_id)s order by project, run_date
"""


def _in_archives(resources: Resources, trace_id: UUID) -> Iterator[ProjectDay]:
    """The days whose trace files or zip here have a file of the trace."""
    for day in days_on_disk(resources):
        names = [path.name for path in archived_files(resources.folder(day))]
        if resources.zip_path(day).exists():
            names += _names_in_zip(resources.zip_path(day))
        if any(trace_of_file(name) == trace_id for name in names):
            yield day


def _names_in_zip(path: Path) -> list[str]:
    try:
        with open_zip(path) as archive:
            return [file.path for file in archive.manifest.files]
    except DamagedArchive as error:
        logger.warning("%s", error.message)
        return []


def _in_target(resources: Resources, day: ProjectDay) -> StoredObject | None:
    """The target's object; None when no target is set, or it holds none."""
    return find_copy(resources, day) if resources.settings.target else None


def _require(resources: Resources, day: ProjectDay) -> Path:
    """The zip here. Raises `UsageError` when there is none; the target has none either, or none is set."""
    path, target = resources.zip_path(day), resources.settings.target
    if not path.exists() and target is None:
        raise UsageError(
            f"{path} does not exist, and no target is set.", hint="Set LSE_TARGET to where it was uploaded."
        )
    if not path.exists():
        raise UsageError(
            f"{path} does not exist, and the target {target} holds no archive of {day} either.",
            hint="See what there is: lse archive list --ask-target",
        )
    return path


@contextmanager
def _open_copy(resources: Resources, day: ProjectDay, progress: Progress) -> Iterator[Members]:
    """The archive of `day` in the target, or else in the local zip. Raises `DamagedArchive`."""
    if stored := _in_target(resources, day):
        with open_stored(resources, stored, progress) as members:
            yield members
        return
    with open_zip(_require(resources, day)) as archive:
        yield Members(archive, lambda name: None)  # noqa: ARG005


def _files_of(members: Members, day: ProjectDay, trace_id: UUID) -> dict[str, bytes]:
    """The trace's file and the stored files that it names, by name."""
    entries = members.entries
    if members.archive.manifest.day != day:
        raise DamagedArchive(f"The archive of {day} holds {members.archive.manifest.day}.")
    name = next((name for name in entries if trace_of_file(name) == trace_id), None)
    if name is None:
        raise UsageError(
            f"The archive of {day} holds no trace {trace_id}.",
            hint=f"Its traces are in the manifest: lse archive restore {options(day)} brings all of them.",
        )
    content = members.read(entries[name])
    trace = read_trace(content.splitlines(keepends=True), name)
    stored = sorted({content_file_name(file.sha256) for file in trace.files})
    return {name: content} | {file: members.read(entries[file]) for file in stored if file in entries}


def _is_other(path: Path, trace_id: UUID, files: dict[str, bytes]) -> bool:
    """Whether a file of the folder is in the way: of this trace or of this name, and with other content."""
    if trace_of_file(path.name) != trace_id and path.name not in files:
        return False
    return path.name not in files or path.read_bytes() != files[path.name]


def _set_aside(folder: Path, paths: list[Path]) -> Path | None:
    """Move `paths` into the first free folder `<date>.replaced-<n>`; that folder, if anything was moved."""
    if not paths:
        return None
    number = 1
    while (kept := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    kept.mkdir(mode=0o700)
    for path in paths:
        path.rename(kept / path.name)
    sync_directory(kept)
    return kept


def _moved(kept: Path | None) -> str:
    return f"; what was there is in {kept}" if kept else ""
