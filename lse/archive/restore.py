"""Bring trace files back from a zip: checked first, extracted aside, renamed at the end."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lse.archive.fetch_record import read_fetch_record
from lse.archive.files import atomic_file, sync_directory, write_atomically
from lse.archive.layout import FETCH_RECORD, LOG, archived_files
from lse.archive.manifest import FileEntry, Manifest, content_sha256_of
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import ZipReader, open_zip
from lse.errors import TemporaryError, UsageError
from lse.models import ProjectDay

_THREADS = 8  # most of the time goes into waiting for the disk, once per file (measured: a third of the time)


def restore_zip(
    zip_path: Path, folder: Path, day: ProjectDay, *, force: bool
) -> tuple[Manifest, Path | None]:
    """Extract the archive of `day` into `folder`; returns its manifest and where replaced files were kept.

    A folder that already holds the same content is left alone. Other content is replaced only with
    `force`, and then kept beside it. Raises `DamagedArchive` when the zip is not what its manifest says,
    `UsageError` when there is other content, and `TemporaryError` when the disk has no room; nothing that
    was there is changed then.
    """
    with open_zip(zip_path) as archive:
        manifest = archive.manifest
        if manifest.day != day:
            raise DamagedArchive(f"{zip_path.name} holds {manifest.day}, not {day}.")
        if archived_files(folder):
            if content_sha256_of(folder) == manifest.content_sha256:
                return manifest, None
            if not force:
                raise UsageError(
                    f"{folder} holds other trace files than the archive.",
                    hint="Compare them with `lse archive verify`, or replace them with --force.",
                )
        with _fresh_folder(folder.with_name(f".{folder.name}.restoring")) as aside:
            _extract(archive, aside)
            kept = _set_aside(folder, aside, manifest.content_sha256)
            aside.rename(folder)
        sync_directory(folder.parent)
        return manifest, kept


@contextmanager
def _fresh_folder(path: Path) -> Iterator[Path]:
    """An empty folder, which goes away when the block fails."""
    if path.exists():
        shutil.rmtree(path)  # left by a killed restore
    path.mkdir(parents=True, mode=0o700)
    try:
        yield path
    except BaseException:  # also an interrupt: nothing half-restored may stay
        shutil.rmtree(path)
        raise


def _extract(archive: ZipReader, folder: Path) -> None:
    """Write every file of the archive, each proved while it is written; all are durable at the end."""
    needed, free = archive.manifest.counts["bytes"], shutil.disk_usage(folder).free
    if needed > free:
        raise TemporaryError(
            f"{folder.parent} has room for {free:,} bytes, and the archive's files have {needed:,}.",
            hint="Make room, then run the command again.",
        )

    def write(entry: FileEntry) -> None:
        with atomic_file(folder / entry.path, name_later=True) as file:
            file.writelines(archive.blocks(entry))

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(write, archive.manifest.files):
            pass
    sync_directory(folder)


def _set_aside(folder: Path, successor: Path, content_sha256: str) -> Path | None:
    """Move a folder that is in the way to the first free name `<date>.replaced-<n>`.

    Its successor gets the notes of fetches too: the log, and the record if it tells of what comes back. A
    folder that holds nothing else goes away.
    """
    if not folder.exists():
        return None
    if all(path.name in (FETCH_RECORD, LOG) for path in folder.iterdir()):
        record = read_fetch_record(folder)
        if record and record.content_sha256 != content_sha256:
            (folder / FETCH_RECORD).unlink()  # it tells of other files than those that come back
        for path in list(folder.iterdir()):
            path.rename(successor / path.name)
        folder.rmdir()
        return None
    _copy_notes(folder, successor, content_sha256)
    number = 1
    while (kept := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    folder.rename(kept)
    return kept


def _copy_notes(folder: Path, successor: Path, content_sha256: str) -> None:
    record = read_fetch_record(folder)
    told = record is not None and record.content_sha256 == content_sha256
    for path in (folder / LOG, *([folder / FETCH_RECORD] if told else [])):
        if path.exists():
            write_atomically(successor / path.name, path.read_bytes())
