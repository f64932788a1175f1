"""The step `restore`: trace files back from the target, or from the local zip; a whole day or one trace."""

from collections.abc import Iterator
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
from lse.pipeline.common import counted, no_progress, options
from lse.pipeline.target_copy import Members, bring, find_copy, open_stored
from lse.resources import Resources
from lse.targets import StoredObject


def restore(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, force: bool = False
) -> StepResult:
    """Bring the trace files of `day` back from the target, or else from the local zip."""
    path, stored = resources.zip_path(day), _in_target(resources, day)
    with resources.scratch() as scratch:
        if stored:
            path = scratch / path.name
            bring(resources, stored, path, progress)
        _require(path)
        manifest, kept = restore_zip(path, resources.folder(day), day, force=force)
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


def days_of_trace(resources: Resources, project: str, trace_id: UUID) -> list[ProjectDay]:
    """The day of a trace, as the store knows it; empty when it does not."""
    rows = resources.store.query(_DAYS_OF_TRACE, {"project": project, "trace_id": trace_id})
    return [ProjectDay(project, row["run_date"]) for row in rows]


_DAYS_OF_TRACE = """
select distinct run_date from runs where trace_id = %(trace_id)s and project = %(project)s order by run_date
"""


def _in_target(resources: Resources, day: ProjectDay) -> StoredObject | None:
    """The target's object; None when no target is set, or it holds none."""
    return find_copy(resources, day) if resources.settings.target else None


def _require(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"{path} does not exist, and no target holds the day.", hint="Set LSE_TARGET.")


@contextmanager
def _open_copy(resources: Resources, day: ProjectDay, progress: Progress) -> Iterator[Members]:
    """The archive of `day` in the target, or else in the local zip. Raises `DamagedArchive`."""
    if stored := _in_target(resources, day):
        with open_stored(resources, stored, progress) as members:
            yield members
        return
    path = resources.zip_path(day)
    _require(path)
    with open_zip(path) as archive:
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
