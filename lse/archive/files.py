"""Files that appear whole or not at all: temporary file, flush to disk, rename, flush of the directory.

And journals, which grow by whole lines.
"""

import errno
import glob
import hashlib
import io
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lse.errors import TemporaryError, UsageError

BLOCK = 2**18
"""Bytes that are read at once: large enough that a call costs nothing, small enough for a core's cache."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` with `data`; errors as for `atomic_file`."""
    with atomic_file(path, mode) as file:
        file.write(data)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Where a user said: a file, which appears whole or not at all, also behind a link; or a device as it is.

    Raises `UsageError` when its directory does not exist, and what `atomic_file` raises.
    """
    if path.exists() and not path.is_file():  # asked before links are followed: that of a pipe leads nowhere
        with path.open("wb") as device:
            yield device
        return
    place = path.resolve()
    if not place.parent.is_dir():
        raise UsageError(f"There is no directory {place.parent}.", hint="Make it, or name another file.")
    with atomic_file(place) as file:
        yield file


@contextmanager
def atomic_file(path: Path, mode: int = 0o600, *, name_later: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which takes the name `path` only when the block ends without an error.

    With `name_later` its content is durable and its name is not yet: who writes many files makes their
    names durable at once, by `sync_directory`.

    Readers see the earlier file or the finished one. The temporary file is named `.<name>.<random>.tmp`,
    stands in the same directory, and goes away when the block fails; only a killed process leaves it behind.
    A full disk raises `TemporaryError` naming `path`; other `OSError`s rise as they are.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # O_EXCL never follows a link that somebody else put there.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # also an interrupt: nothing half-written may stay, whatever ended the block
            temporary.unlink(missing_ok=True)
            raise
        if not name_later:
            sync_directory(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise TemporaryError(
                f"The disk is full: {path} could not be written.",
                hint="Make room, then run the command again.",
            ) from error
        raise


def remove_stale(path: Path) -> None:
    """Remove the temporary files that killed processes left of `path`; for who holds the lock on it."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        stale.unlink()


def append_line(path: Path, line: bytes) -> None:
    """Add `line`, which holds no line break, to the file at `path`, durable when this returns.

    The half of a line that a killed process left there is cut off before. For one writer at a time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        end = _end_of_lines(file)
        if not end:
            sync_directory(path.parent)  # so that whoever sees a whole line may rely on the file's name
        file.truncate(end)
        file.seek(end)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path: Path) -> list[bytes]:
    """The lines of the file at `path` without their breaks; none where it is not there.

    The half of a line at its end, which a killed process left, is none.
    """
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _end_of_lines(file: BinaryIO) -> int:
    """The offset behind the last whole line of `file`."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - BLOCK)
        file.seek(start)
        if found := file.read(end - start).rfind(b"\n") + 1:
            return start + found
        end = start
    return 0


def blocks_of(path: Path | str) -> Iterator[bytes]:
    """The content of the file at `path`, in blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a file object takes a quarter longer
    try:
        while block := os.read(descriptor, BLOCK):
            yield block
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file; empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in a content that comes in blocks, each with its line break; the last may have none."""
    begun: list[bytes] = []  # the parts of a line that goes on in the next block
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            whole = b"".join([*begun, block[:end]])  # no copy of a block that holds whole lines only
            begun.clear()
            yield from io.BytesIO(whole)
        if end < len(block):
            begun.append(block[end:])
    if begun:
        yield b"".join(begun)


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable; without it a rename may be lost with the power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
