"""Bring trace files back from a zip: checked first, extracted aside, renamed at the end."""

import shutil
from pathlib import Path

from lse.archive.fetch_record import read_fetch_record
from lse.archive.files import sync_directory, write_atomically
from lse.archive.layout import FETCH_RECORD, LOG, archived_files
from lse.archive.manifest import Manifest, content_sha256_of, describe_folder
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import open_zip
from lse.errors import UsageError
from lse.models import ProjectDay


def restore_zip(
    zip_path: Path, folder: Path, day: ProjectDay, *, force: bool
) -> tuple[Manifest, Path | None]:
    """Extract the archive of `day` into `folder`; returns its manifest and where replaced files were kept.

    A folder that already holds the same content is left alone. Other content is replaced only with
    `force`, and then kept beside it. Raises `DamagedArchive` before anything is changed when the zip is not
    what its manifest says, and `UsageError` when there is other content.
    """
    with open_zip(zip_path) as archive:
        if archive.manifest.day != day:
            raise DamagedArchive(f"{zip_path.name} holds {archive.manifest.day}, not {day}.")
        if _holds(folder, archive.manifest):
            return archive.manifest, None
        if archived_files(folder) and not force:
            raise UsageError(
                f"{folder} holds other trace files than the archive.",
                hint="Compare them with `lse archive verify`, or replace them with --force.",
            )
        archive.check()
        aside = folder.with_name(f".{folder.name}.restoring")
        if aside.exists():
            shutil.rmtree(aside)  # left by a killed restore
        aside.mkdir(parents=True, mode=0o700)
        for entry in archive.manifest.files:
            write_atomically(aside / entry.path, archive.read(entry))
        kept = _set_aside(folder, aside)
        aside.rename(folder)
        sync_directory(folder.parent)
        return archive.manifest, kept


def _holds(folder: Path, manifest: Manifest) -> bool:
    try:
        return bool(archived_files(folder)) and describe_folder(folder, manifest.day) == manifest
    except DamagedArchive:
        return False


def _set_aside(folder: Path, successor: Path) -> Path | None:
    """Move a folder that is in the way to the first free name `<date>.replaced-<n>`.

    One that holds nothing but the notes of fetches gives them to its successor and goes away.
    """
    if not folder.exists():
        return None
    if all(path.name in (FETCH_RECORD, LOG) for path in folder.iterdir()):
        record = read_fetch_record(folder)
        if record and record.content_sha256 != content_sha256_of(successor):
            (folder / FETCH_RECORD).unlink()  # it tells of other files than those that come back
        for path in list(folder.iterdir()):
            path.rename(successor / path.name)
        folder.rmdir()
        return None
    number = 1
    while (kept := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    folder.rename(kept)
    return kept
