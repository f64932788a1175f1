"""Pack a day's folder: each file is read once, and hashed, checked and deflated on the way."""

import hashlib
import io
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lse.archive import manifest as manifests
from lse.archive.files import atomic_file, blocks_of, remove_stale
from lse.archive.layout import archived_files
from lse.archive.manifest import FileEntry, Manifest, describe_file
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip.deflate import Deflated
from lse.archive.zip.limits import excess
from lse.archive.zip.records import Member, directory, local_header
from lse.errors import UsageError
from lse.models import ProjectDay

_THREADS = min(os.cpu_count() or 1, 8)
_BATCH = 2**20  # so many bytes of small files are one task: a task costs about 50 µs (measured)
_IN_MEMORY = 2**22  # a larger file's deflated bytes wait on disk

_Batch = list[tuple[Path, int]]  # files and their sizes


@dataclass(frozen=True, slots=True)
class ZipInfo:
    """A finished zip and the hashes that prove its transfer."""

    path: Path
    size: int
    md5: str
    sha256: str


@contextmanager
def packed_zip(folder: Path, day: ProjectDay, path: Path) -> Iterator[tuple[Manifest, ZipInfo]]:
    """The zip of the files in `folder`, and its manifest; it takes the name `path` when the block ends.

    When the block raises, whatever was at `path` stays. Raises `DamagedArchive` for a file that is not as
    written, `UsageError` for more than an archive may hold. Memory is bounded, whatever the files' size.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_stale(path)
    with atomic_file(path) as file:
        archive = _Archive(file)
        entries = []
        for entry, deflated in _deflated_files(archived_files(folder), path.parent):
            archive.add(entry.path, deflated)
            entries.append(entry)
        manifest = Manifest(day, tuple(entries))
        if reason := excess([entry.size for entry in entries]):
            raise UsageError(f"{day} cannot be packed: {reason}.")
        archive.add(manifests.NAME, _deflated_manifest(manifest, path.parent))
        yield manifest, archive.finish(path)


def write_zip(folder: Path, manifest: Manifest, path: Path) -> ZipInfo:
    """Write the zip of the files in `folder`, whole or not at all.

    Raises `DamagedArchive` when they are not those of `manifest` (any more).
    """
    with packed_zip(folder, manifest.day, path) as (packed, info):
        if packed != manifest:
            raise DamagedArchive(f"{folder} changed while it was packed.", hint="Run the command again.")
        return info


def describe_zip(path: Path) -> ZipInfo:
    """Size and hashes of the zip at `path`."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for block in blocks_of(path):
        md5.update(block)
        sha256.update(block)
    return ZipInfo(path, path.stat().st_size, md5.hexdigest(), sha256.hexdigest())


class _Archive:
    """A zip that is written from front to back, and hashed while it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._members: list[Member] = []
        self._size = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def add(self, name: str, deflated: Deflated) -> None:
        with deflated.data as data:
            packed_size = data.tell()
            member = Member(name, deflated.size, packed_size, deflated.crc32, self._size)
            self._members.append(member)
            self._write(local_header(member))
            data.seek(0)
            while block := data.read(2**20):
                self._write(block)

    def finish(self, path: Path) -> ZipInfo:
        self._write(directory(self._members, self._size))
        self._flush()
        return ZipInfo(path, self._size, self._md5.hexdigest(), self._sha256.hexdigest())

    def _write(self, block: bytes) -> None:
        """Take a block; many small ones are written at once, since each hand-over to other threads costs."""
        self._waiting.append(block)
        self._size += len(block)
        self._waiting_size += len(block)
        if self._waiting_size >= 2**20:
            self._flush()

    def _flush(self) -> None:
        block = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        self._file.write(block)
        self._md5.update(block)
        self._sha256.update(block)


def _deflated_files(paths: Iterable[Path], scratch: Path) -> Iterator[tuple[FileEntry, Deflated]]:
    """The files in order; a few threads are a few batches ahead."""
    waiting: deque[Future[list[tuple[FileEntry, Deflated]]]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads:
        for batch in _batches(paths):
            waiting.append(threads.submit(_deflate, batch, scratch))
            if len(waiting) > 2 * _THREADS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _batches(paths: Iterable[Path]) -> Iterator[_Batch]:
    """Neighbours, until they are large enough to be worth a task."""
    batch: _Batch = []
    total = 0
    for path in paths:
        size = path.stat().st_size
        batch.append((path, size))
        total += size
        if total >= _BATCH:
            yield batch
            batch, total = [], 0
    yield batch


def _deflate(batch: _Batch, scratch: Path) -> list[tuple[FileEntry, Deflated]]:
    files = []
    for path, size in batch:
        deflated = Deflated(_scratch(size, scratch))
        files.append((describe_file(path.name, deflated.passing(blocks_of(path))), deflated))
    return files


def _deflated_manifest(manifest: Manifest, scratch: Path) -> Deflated:
    content = manifests.dump_manifest(manifest)
    deflated = Deflated(_scratch(len(content), scratch))
    deque(deflated.passing([content]), maxlen=0)
    return deflated


def _scratch(size: int, scratch: Path) -> IO[bytes]:
    """Room for so many bytes, deflated: for many on the disk of the zip, since /tmp may be memory too."""
    return io.BytesIO() if size <= _IN_MEMORY else tempfile.TemporaryFile(dir=scratch)
