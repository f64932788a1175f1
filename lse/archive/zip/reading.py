"""Read a zip that may come from anywhere: what its headers say is checked before any member is read."""

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from lse.archive import manifest as manifests
from lse.archive.files import BLOCK, lines_of
from lse.archive.layout import is_archived
from lse.archive.manifest import FileEntry, Manifest
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip.deflate import codec, codec_error, inflated
from lse.archive.zip.limits import MAX_RATIO, excess
from lse.archive.zip.records import LOCAL_HEADER, local_header_length

_END_RECORD = 22  # bytes of the last record, without a comment
_KNOWN_FLAGS = 0x080E  # the deflater's level, sizes behind the data, names in UTF-8
_NOT_READABLE = (zipfile.BadZipFile, codec_error, EOFError, NotImplementedError, UnicodeDecodeError)


@contextmanager
def open_zip(source: Path | IO[bytes], name: str = "") -> Iterator["ZipReader"]:
    """A reader of the archive at a path, or in an open file that can seek; nothing but its end is read.

    Every check that needs no content is done. Raises `DamagedArchive`, which calls the archive `name`, by
    default the path's last part; a file's own errors rise as they are.
    """
    name = name or (source.name if isinstance(source, Path) else "the archive")
    try:
        archive = zipfile.ZipFile(source)
    except (*_NOT_READABLE, ValueError) as error:  # ValueError: offsets before the beginning
        raise DamagedArchive(
            f"{name} is not a readable zip.", hint="Write it again with `lse archive zip`."
        ) from error
    with archive:
        yield ZipReader(archive, name)


class ZipReader:
    """The files of a checked archive. Several threads may read at once."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        self._lock = threading.Lock()
        members = archive.infolist()
        if reason := _refusal(members) or _misplaced(members, archive.start_dir) or _surplus(archive):
            raise DamagedArchive(f"{name} is refused: {reason}.")
        self.manifest = self._read_manifest(members[-1])
        if _listed(members[:-1]) != [(entry.path, entry.size) for entry in self.manifest.files]:
            raise DamagedArchive(f"The members of {name} are not those of its manifest.")

    def blocks(self, entry: FileEntry) -> Iterator[bytes]:
        """The content of one file, in blocks. Raises `DamagedArchive` at the end when it is not as listed."""
        sha256 = hashlib.sha256()
        for block in self._blocks(entry.path):
            sha256.update(block)
            yield block
        if sha256.hexdigest() != entry.sha256:
            raise DamagedArchive(f"{entry.path} in {self._name} differs from its manifest.")

    def lines(self, entry: FileEntry) -> Iterator[bytes]:
        """The lines of one file, each with its line break; errors as for `blocks`."""
        return lines_of(self.blocks(entry))

    def read(self, entry: FileEntry) -> bytes:
        """The content of one file. Raises `DamagedArchive` when it is not as listed."""
        return b"".join(self.blocks(entry))

    def check(self) -> None:
        """Read every file. Raises `DamagedArchive` at the first that is not as listed."""
        for entry in self.manifest.files:
            for _ in self.blocks(entry):
                pass

    def _read_manifest(self, member: zipfile.ZipInfo) -> Manifest:
        return manifests.parse_manifest(b"".join(self._blocks(member.filename)), self._name)

    def _blocks(self, name: str) -> Iterator[bytes]:
        """The member's bytes, never more than its header declares."""
        member = self._archive.getinfo(name)
        pieces = self._pieces(member)
        stored = member.compress_type == zipfile.ZIP_STORED
        try:
            yield from _as_declared(pieces if stored else inflated(pieces), member)
        except _NOT_READABLE as error:
            raise DamagedArchive(f"{name} in {self._name} is missing or damaged.") from error

    def _pieces(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """The member's data as they stand in the file, in half the time of `zipfile`'s reader (measured)."""
        name, start = member.orig_filename.encode(), member.header_offset
        begin = self._read_at(start, min(LOCAL_HEADER + len(name) + member.compress_size, BLOCK))
        length = local_header_length(begin, name)
        if length is None:
            raise zipfile.BadZipFile("no local header")
        yield begin[length : length + member.compress_size]
        end = start + length + member.compress_size
        for at in range(start + max(length, len(begin)), end, BLOCK):
            yield self._read_at(at, min(BLOCK, end - at))

    def _read_at(self, offset: int, size: int) -> bytes:
        with self._lock:
            file = cast(IO[bytes], self._archive.fp)
            file.seek(offset)
            return file.read(size)


def _as_declared(blocks: Iterator[bytes], member: zipfile.ZipInfo) -> Iterator[bytes]:
    left, crc32 = member.file_size, 0
    for block in blocks:
        left -= len(block)
        if left < 0:
            break
        crc32 = codec.crc32(block, crc32)
        yield block
    if left or crc32 != member.CRC:
        raise zipfile.BadZipFile("other content than declared")


def _listed(members: list[zipfile.ZipInfo]) -> list[tuple[str, int]]:
    return [(member.filename, member.file_size) for member in members]


def _refusal(members: list[zipfile.ZipInfo]) -> str | None:
    """Why these are not the members of an archive of ours, by their headers alone."""
    *files, last = members or [zipfile.ZipInfo("")]
    if last.filename != manifests.NAME:
        return "its last member is no manifest"
    if last.file_size > 2**16 + 2**10 * len(files):  # an entry takes less than 400 bytes
        return "its manifest is larger than its files explain"
    if reason := excess([member.file_size for member in files]):
        return reason
    if len({member.filename.casefold() for member in members}) < len(members):
        return "two members have one name"
    if any(_is_foreign_name(member.filename) for member in files):
        return "a member has a name that no archive of lse has"
    return next(filter(None, map(_fault, members)), None)


def _is_foreign_name(name: str) -> bool:
    return name != PurePosixPath(name).name or not is_archived(name)


def _fault(member: zipfile.ZipInfo) -> str | None:
    if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
        return "a member is no plain file"
    if member.flag_bits & ~_KNOWN_FLAGS or member.compress_type not in (
        zipfile.ZIP_DEFLATED,
        zipfile.ZIP_STORED,
    ):
        return "a member is encrypted or compressed in another way"
    if member.file_size > MAX_RATIO * member.compress_size + 2**10:
        return "a member declares an impossible size"
    return None


def _misplaced(members: list[zipfile.ZipInfo], end: int) -> str | None:
    """Each member must have room of its own before `end`; a bomb of 6 kB holds 52 MB otherwise (measured)."""
    free = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < free:
            return "members overlap"
        free = member.header_offset + LOCAL_HEADER + len(member.filename) + member.compress_size
    return "a member reaches into the list of members" if free > end else None


def _surplus(archive: zipfile.ZipFile) -> str | None:
    """Bytes before the first member or behind the last record, which `zipfile` passes over."""
    if min(member.header_offset for member in archive.infolist()):
        return "something stands before its first member"
    file = cast(IO[bytes], archive.fp)
    file.seek(-_END_RECORD, os.SEEK_END)
    return None if file.read(4) == b"PK\x05\x06" else "something stands behind its end"
