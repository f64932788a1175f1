"""What must survive a crash during uploads: chosen ids and open upload sessions.

A session's address accepts bytes without a token, so the files are readable by their owner alone.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lse.archive.files import remove_stale, write_atomically
from lse.errors import ConfigurationError


class Notes:
    """One small JSON file per path below `directory`; `place` keeps different servers and folders apart."""

    def __init__(self, directory: Path, place: str) -> None:
        self._directory = directory
        self._place = place

    def read(self, path: str) -> dict[str, str]:
        """What was noted for `path`; empty when nothing was.

        Raises `ConfigurationError` when the file was damaged from outside.
        """
        file = self._file(path)
        try:
            value = json.loads(file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ConfigurationError(
                f"{file} cannot be read.", hint="Remove it; the upload starts again."
            ) from error
        return {name: str(text) for name, text in value.items()}

    def update(self, path: str, **changes: str | None) -> None:
        """Note `changes` for `path` durably; None forgets an entry."""
        before = self.read(path)
        noted: dict[str, str | None] = {**before, **changes, "path": path}
        kept = {name: text for name, text in noted.items() if text is not None}
        remove_stale(self._file(path))
        if kept == before:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self._file(path), json.dumps(kept, sort_keys=True).encode())

    def forget(self, path: str) -> None:
        """Drop what was noted for `path`."""
        self._file(path).unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one thread or process of this machine at a time; freed when the holder dies."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _file(self, path: str) -> Path:
        digest = hashlib.sha256(f"{self._place}\0{path}".encode()).hexdigest()
        return self._directory / f"{digest[:32]}.json"
