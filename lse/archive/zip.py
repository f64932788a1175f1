"""The zip of a project day: the same names as on disk, sorted, and `manifest.json` as last member.

Equal content gives equal bytes with one zlib; since another zlib may compress differently, whether an
archive changed is decided by `content_sha256`, never by the zip's own hash.
"""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from lse.archive import manifest as manifests
from lse.archive.files import atomic_file
from lse.archive.layout import is_archived
from lse.archive.manifest import FileEntry, Manifest
from lse.archive.trace_file import DamagedArchive

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_MAX_RATIO = 1100  # DEFLATE cannot exceed about 1030:1, so more is a lie in the headers
_MANIFEST_LIMIT = 512 * 2**20


@dataclass(frozen=True, slots=True)
class ZipInfo:
    """A finished zip and the hashes that prove its transfer."""

    path: Path
    size: int
    md5: str
    sha256: str


def write_zip(folder: Path, manifest: Manifest, path: Path) -> ZipInfo:
    """Write the zip of the files in `folder`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for entry in manifest.files:
            with (
                (folder / entry.path).open("rb") as source,
                _member(archive, entry.path, entry.size) as member,
            ):
                shutil.copyfileobj(source, member, 2**20)
        content = manifests.dump_manifest(manifest)
        with _member(archive, manifests.NAME, len(content)) as member:
            member.write(content)
    return describe_zip(path)


def describe_zip(path: Path) -> ZipInfo:
    """Size and hashes of the zip at `path`."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            md5.update(block)
            sha256.update(block)
    return ZipInfo(path, path.stat().st_size, md5.hexdigest(), sha256.hexdigest())


@contextmanager
def open_zip(path: Path) -> Iterator["ZipReader"]:
    """A reader of the archive at `path`, every structural check done. Raises `DamagedArchive`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield ZipReader(archive, path.name)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise DamagedArchive(
            f"{path} is not a readable zip.", hint="Write it again with `lse archive zip`."
        ) from error


class ZipReader:
    """The members of a checked archive."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        _check_members(archive.infolist(), name)
        self.manifest = manifests.parse_manifest(self._read(manifests.NAME, _MANIFEST_LIMIT), name)
        self._check_against_manifest()

    def read(self, entry: FileEntry) -> bytes:
        """The bytes of one file. Raises `DamagedArchive` when they differ from the manifest."""
        content = self._read(entry.path, entry.size)
        if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise DamagedArchive(f"{entry.path} in {self._name} differs from its manifest.")
        return content

    def check(self) -> None:
        """Read every file. Raises `DamagedArchive` at the first that differs from the manifest."""
        for entry in self.manifest.files:
            self.read(entry)

    def _read(self, member: str, limit: int) -> bytes:
        """At most one byte more than `limit`: a member that lies about its size cannot fill the memory."""
        try:
            with self._archive.open(member) as file:
                return file.read(limit + 1)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DamagedArchive(f"{member} in {self._name} is missing or damaged.") from error

    def _check_against_manifest(self) -> None:
        listed = [entry.path for entry in self.manifest.files] + [manifests.NAME]
        if self._archive.namelist() != listed:
            raise DamagedArchive(f"The members of {self._name} are not those of its manifest.")


def _check_members(members: list[zipfile.ZipInfo], name: str) -> None:
    """Refuse names, modes, methods, sizes and overlaps that our own archives never have."""
    seen: set[str] = set()
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        reason = _refusal(member, seen)
        if reason or member.header_offset < end:
            raise DamagedArchive(f"{name} is refused: {reason or 'members overlap'}.")
        seen.add(member.filename.casefold())
        end = member.header_offset + 30 + len(member.filename) + member.compress_size


def _refusal(member: zipfile.ZipInfo, seen: set[str]) -> str | None:
    path = PurePosixPath(member.filename)
    if member.filename != path.name or not (path.name == manifests.NAME or is_archived(path.name)):
        return "a member has a name that no archive of lse has"
    if member.filename.casefold() in seen:
        return "two members have one name"
    if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
        return "a member is no plain file"
    if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        return "a member is encrypted or compressed in another way"
    if member.file_size > _MAX_RATIO * max(member.compress_size, 1) + 2**10:
        return "a member declares an impossible size"
    return None


def _member(archive: zipfile.ZipFile, name: str, size: int) -> IO[bytes]:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    info.file_size = size
    return archive.open(info, "w", force_zip64=size >= 2**31)
