"""The steps `pack` and `upload`: the zip of a day, and its copy in the target."""

import logging
from pathlib import Path
from typing import Any
from uuid import UUID

from lse.archive.layout import archive_name, archived_files, trace_of_file
from lse.archive.manifest import FileEntry, Manifest, describe_folder
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import ZipInfo, describe_zip, open_zip, write_zip
from lse.errors import DifferencesFound, UsageError
from lse.models import Figure, Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, is_empty, no_progress, note, options, require_as_fetched, sized
from lse.resources import Resources

logger = logging.getLogger(__name__)


def pack(resources: Resources, day: ProjectDay, progress: Progress = no_progress) -> StepResult:
    """Write the zip of `day` from its trace files; a sound zip of the same content stays as it is.

    A zip never shrinks: raises `DifferencesFound` when it holds runs that the trace files lack.
    """
    folder, path = resources.folder(day), resources.zip_path(day)
    if is_empty(resources, day):
        return StepResult("pack", "unchanged", "no traces on this day, so there is nothing to pack")
    if not archived_files(folder):
        return StepResult("pack", "unchanged", f"the trace files are gone, and {path} stays as it is")
    require_as_fetched(resources, day)
    manifest = describe_folder(folder, day)
    progress(0, None)
    before = _sound_manifest(path, day)
    if before is not None and (lost := _lost(before, manifest)):
        raise DifferencesFound(
            f"{path} holds more of {counted(len(lost), 'file')} than {folder}, first of {lost[0]}.",
            hint=f"Bring the trace files back, then fetch again: lse archive restore {options(day)} --force",
        )
    unchanged = before is not None and before.content_sha256 == manifest.content_sha256
    info = describe_zip(path) if unchanged else write_zip(folder, manifest, path)
    figures: dict[str, Figure] = {
        **manifest.counts,
        "zip_bytes": info.size,
        "content_sha256": manifest.content_sha256,
    }
    note(resources, day, packed_at=resources.now(), **_zip_facts(manifest, info))
    verb = "unchanged, " if unchanged else ""
    summary = f"{verb}{counted(len(manifest.files), 'file')} in {path} ({sized(info.size)})"
    return StepResult("pack", "unchanged" if unchanged else "done", summary, {**figures, "path": str(path)})


def upload(resources: Resources, day: ProjectDay, progress: Progress = no_progress) -> StepResult:
    """Put the zip of `day` into the target and prove its bytes arrived; nothing is sent twice.

    Raises `DamagedArchive` before anything is sent when the zip is not what its manifest says.
    """
    target, path = resources.target, resources.zip_path(day)
    if not path.exists():
        if is_empty(resources, day):
            return StepResult("upload", "unchanged", "no traces on this day, so there is nothing to upload")
        raise UsageError(f"{path} does not exist.", hint=f"Pack it first: lse archive zip {options(day)}")
    manifest = _checked_manifest(path, day)
    before = target.find(archive_name(day))
    properties = {
        "lse": "1",
        "project": day.project,
        "date": day.day.isoformat(),
        "content_sha256": manifest.content_sha256,
    }
    stored = target.put(archive_name(day), path, properties, lambda sent: progress(sent, path.stat().st_size))
    unchanged = before is not None and (before.id, before.md5) == (stored.id, stored.md5)
    note(
        resources,
        day,
        uploaded_at=resources.now(),
        target=target.name,
        target_id=stored.id,
        target_link=stored.link,
    )
    place = stored.link or f"{target.name}:{stored.path}"
    return StepResult(
        "upload",
        "unchanged" if unchanged else "done",
        f"{'unchanged, ' if unchanged else ''}{sized(stored.size)} at {place}",
        {"bytes": stored.size, "md5": stored.md5, "target": target.name, "link": place},
    )


def _zip_facts(manifest: Manifest, info: ZipInfo) -> dict[str, Any]:
    """What the ledger keeps of a zip."""
    return {
        "content_sha256": manifest.content_sha256,
        "zip_sha256": info.sha256,
        "zip_md5": info.md5,
        "zip_size": info.size,
    }


def _lost(before: Manifest, after: Manifest) -> list[str]:
    """The files of `before` of which `after` holds fewer runs or feedback records, by trace."""
    held = {_subject(entry): (entry.runs, entry.feedback) for entry in after.files}
    return [entry.path for entry in before.files if _is_less(held.get(_subject(entry), (0, 0)), entry)]


def _subject(entry: FileEntry) -> UUID | str:
    """What a file is about: its trace, however it is named, or the texts outside of traces."""
    return trace_of_file(entry.path) or entry.path


def _is_less(held: tuple[int, int], entry: FileEntry) -> bool:
    runs, feedback = held
    return runs < entry.runs or feedback < entry.feedback


def _checked_manifest(path: Path, day: ProjectDay) -> Manifest:
    """The manifest of a zip, every file read. Raises `DamagedArchive`, also for another day's zip."""
    with open_zip(path) as archive:
        if archive.manifest.day != day:
            raise DamagedArchive(
                f"{path} holds {archive.manifest.day}, not {day}.",
                hint=f"Write it again: lse archive zip {options(day)}",
            )
        archive.check()
        return archive.manifest


def _sound_manifest(path: Path, day: ProjectDay) -> Manifest | None:
    """The manifest of an existing zip; None when it must be written, because it is absent or damaged."""
    try:
        return _checked_manifest(path, day)
    except FileNotFoundError:
        return None
    except DamagedArchive as error:
        logger.warning("%s It is written again.", error)
        return None
