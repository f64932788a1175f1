"""The steps `pack` and `upload`: the zip of a day, and its copy in the target."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from lse.archive.encryption import encrypt_file, encrypted_name, fingerprint, is_encrypted
from lse.archive.layout import archive_name, archived_files, project_slug, trace_of_file
from lse.archive.manifest import FileEntry, Manifest, content_sha256_of
from lse.archive.prune_record import forget_pruned
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import ZipInfo, describe_zip, open_zip, packed_zip
from lse.errors import DifferencesFound, UsageError
from lse.models import Figure, Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, is_empty, no_progress, note, options, require_as_fetched, sized
from lse.pipeline.target_copy import (
    COUNTS,
    counts,
    describe,
    find_copies,
    holds,
    is_encrypted_for,
    open_stored,
    recipients,
    stored_counts,
)
from lse.resources import Resources
from lse.targets import StoredObject

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
    content = content_sha256_of(folder)
    require_as_fetched(resources, day, content)
    progress(0, None)
    before = _sound_manifest(path, day)
    unchanged = before is not None and before.content_sha256 == content
    if before and unchanged:
        manifest, info = before, describe_zip(path)
    else:
        manifest, info = _packed(folder, path, day, before)
    figures: dict[str, Figure] = {
        **manifest.counts,
        "zip_bytes": info.size,
        "content_sha256": manifest.content_sha256,
    }
    note(resources, day, packed_at=resources.now(), **_zip_facts(manifest, info))
    forget_pruned(resources.settings.data_dir, day, "zip")
    verb = "unchanged, " if unchanged else ""
    summary = f"{verb}{counted(len(manifest.files), 'file')} in {path} ({sized(info.size)})"
    return StepResult("pack", "unchanged" if unchanged else "done", summary, {**figures, "path": str(path)})


def _packed(folder: Path, path: Path, day: ProjectDay, before: Manifest | None) -> tuple[Manifest, ZipInfo]:
    """Write the zip, unless it would hold less than `before`; then the earlier one stays."""
    with packed_zip(folder, day, path) as (manifest, info):
        if before is not None and (lost := _lost(before, manifest)):
            raise DifferencesFound(
                f"{path} holds more of {counted(len(lost), 'file')} than {folder}, first of {lost[0]}.",
                hint="Bring the trace files back, then fetch again:"
                f" lse archive restore {options(day)} --force",
            )
    return manifest, info


def upload(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, force: bool = False
) -> StepResult:
    """Put the zip of `day` into the target and prove its bytes arrived; nothing is sent twice.

    Where LSE_AGE_RECIPIENT is set, what is sent is encrypted. Raises `DamagedArchive` before anything is sent
    when the zip is not what its manifest says, and `DifferencesFound` when the target holds more, or holds
    something that cannot be read; `force` replaces the latter.
    """
    target, path, keys = resources.target, resources.zip_path(day), recipients(resources.settings)
    if not path.exists():
        if is_empty(resources, day):
            return StepResult("upload", "unchanged", "no traces on this day, so there is nothing to upload")
        raise UsageError(f"{path} does not exist.", hint=f"Pack it first: lse archive zip {options(day)}")
    manifest = _checked_manifest(path, day)
    copies = find_copies(resources, day)
    for copy in copies:
        _require_no_loss(resources, copy, manifest, force=force)
    name = encrypted_name(day) if keys else archive_name(day)
    before = next((copy for copy in copies if copy.path == name), None)
    stored = _sent(resources, manifest, name, before, keys, progress)
    unchanged = before is not None and (before.id, before.md5) == (stored.id, stored.md5)
    note(
        resources,
        day,
        uploaded_at=resources.now(),
        target=target.name,
        target_id=stored.id,
        target_link=stored.link,
    )
    forget_pruned(resources.settings.data_dir, day, "target")
    place = stored.link or f"{target.name}:{stored.path}"
    form = ", encrypted," if keys else ""
    return StepResult(
        "upload",
        "unchanged" if unchanged else "done",
        f"{'unchanged, ' if unchanged else ''}{sized(stored.size)}{form} at {place}",
        {
            "bytes": stored.size,
            "md5": stored.md5,
            "target": target.name,
            "link": place,
            "encrypted": bool(keys),
        },
        tuple(_others(copies, stored)),
    )


def _sent(
    resources: Resources,
    manifest: Manifest,
    name: str,
    before: StoredObject | None,
    keys: tuple[str, ...],
    progress: Progress,
) -> StoredObject:
    """The object that holds the archive at `name`, sent unless it is there already.

    Other bytes of the same content, from another zlib or another encryption, are there already.
    """
    path = resources.zip_path(manifest.day)
    info = describe_zip(path)
    is_there = before and holds(before, manifest.content_sha256) and is_encrypted_for(before, keys)
    if before and is_there and before.md5 != info.md5:
        return before
    parcel = _encrypted(resources, manifest, path, keys) if keys else path
    md5 = describe_zip(parcel).md5 if keys else info.md5
    size = parcel.stat().st_size
    stored = resources.target.put(
        name, parcel, describe(manifest, info, md5, keys), lambda sent: progress(sent, size)
    )
    if keys:
        parcel.unlink()
    return stored


def _encrypted(resources: Resources, manifest: Manifest, path: Path, keys: tuple[str, ...]) -> Path:
    """The zip at `path` encrypted for `keys`.

    No two encryptions have the same bytes, so it is kept until the target has it: an upload that broke off
    then goes on with what it began. Its name says what is in it and for whom.
    """
    folder = resources.settings.state_dir / "encrypted" / project_slug(manifest.day.project)
    day = manifest.day.day.isoformat()
    parcel = folder / f"{day}.{manifest.content_sha256[:16]}.{fingerprint(keys)[:16]}.zip.age"
    for stale in [*folder.glob(f"{day}.*"), *folder.glob(f".{day}.*.tmp")]:
        if stale != parcel:
            stale.unlink()
    if not parcel.exists():
        encrypt_file(path, parcel, keys)
    return parcel


def _others(copies: Sequence[StoredObject], stored: StoredObject) -> Iterator[str]:
    """What else of the day is in the target; it is for a person to decide that it may go."""
    for copy in copies:
        if copy.path != stored.path:
            form = "encrypted" if is_encrypted(copy.path) else "unencrypted"
            yield f"the target still holds {copy.path}, {form}; trash it there when you do not need it"


def _require_no_loss(resources: Resources, copy: StoredObject, manifest: Manifest, *, force: bool) -> None:
    """Raise `DifferencesFound` when an object in the target holds more than `manifest`, or might."""
    if holds(copy, manifest.content_sha256):
        return
    try:
        lost = _lost_with(resources, copy, manifest)
    except DamagedArchive as error:
        if force:
            logger.warning("%s It is replaced.", error)
            return
        raise DifferencesFound(
            f"The target holds a {copy.path} that cannot be read, so it is not known what would be lost.",
            hint=f"Look at it; to replace it: lse archive upload {options(manifest.day)} --force",
        ) from error
    if lost:
        raise DifferencesFound(
            f"The target's {copy.path} holds {lost}.",
            hint=f"Bring it back: lse archive restore {options(manifest.day)} --force;"
            " then fetch, pack and upload again, so that both come together.",
        )


def _lost_with(resources: Resources, copy: StoredObject, manifest: Manifest) -> str:
    """What replacing `copy` would lose; empty when nothing. Raises `DamagedArchive`.

    Without the private key only the counts that an encrypted object carries are compared.
    """
    if is_encrypted(copy.path) and resources.settings.age_identity is None:
        there, here = stored_counts(copy), counts(manifest)
        if there is None:
            raise DamagedArchive(f"{copy.path} is encrypted, and what it holds is not noted with it.")
        more = (name for name in COUNTS if there[name] > here[name])
        return ", ".join(f"{there[name]:,} {name} where the zip here has {here[name]:,}" for name in more)
    with open_stored(resources, copy) as stored:
        before = stored.archive.manifest
    if before.day != manifest.day:
        raise DamagedArchive(f"{copy.path} holds {before.day}, not {manifest.day}.")
    lost = _lost(before, manifest)
    return f"more of {counted(len(lost), 'file')} than the zip here, first of {lost[0]}" if lost else ""


def _zip_facts(manifest: Manifest, info: ZipInfo) -> dict[str, Any]:
    """What the ledger keeps of a zip."""
    return {
        "content_sha256": manifest.content_sha256,
        "zip_sha256": info.sha256,
        "zip_md5": info.md5,
        "zip_size": info.size,
    }


def _lost(before: Manifest, after: Manifest) -> list[str]:
    """The files of `before` that `after` lacks, or of which it holds fewer runs or feedback records."""
    held = {_subject(entry): (entry.runs, entry.feedback) for entry in after.files}
    return [entry.path for entry in before.files if _is_less(held.get(_subject(entry)), entry)]


def _subject(entry: FileEntry) -> UUID | str:
    """What a file is about: its trace, however it is named, or the texts outside of traces."""
    return trace_of_file(entry.path) or entry.path


def _is_less(held: tuple[int, int] | None, entry: FileEntry) -> bool:
    return held is None or held[0] < entry.runs or held[1] < entry.feedback


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
