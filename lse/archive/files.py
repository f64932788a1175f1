"""Files that appear whole or not at all: temporary file, flush to disk, rename, flush of the directory."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lse.errors import TemporaryError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` with `data`; errors as for `atomic_file`."""
    with atomic_file(path, mode) as file:
        file.write(data)


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


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable; without it a rename may be lost with the power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
