"""A directory as target: a mounted disk, a share, or any folder that other tools copy further.

<root>/<folder>/<name>                      the objects
<root>/.properties/<folder>/<name>.json     their properties, with the md5 they belong to
<root>/.digests/<folder>/<name>.json        their md5, noted by a list so that the next one need not read them
<root>/.trash/<folder>/<name>.<md5>         what was replaced or trashed, kept until a person removes it
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lse.archive.files import atomic_file, remove_stale, sync_directory, write_atomically
from lse.errors import AccessError, ConfigurationError, DifferencesFound, IncompleteError, TemporaryError
from lse.settings import Settings
from lse.targets import Progress, StoredObject
from lse.targets._digests import known_measure
from lse.targets._measure import BLOCK_BYTES, Measure, measure, new_md5
from lse.targets._paths import checked_path

_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def open(argument: str, settings: Settings) -> "DirectoryTarget":  # noqa: ARG001 - every target takes both
    """The directory that `directory:<path>` names; it is made on first use, but its parent must exist."""
    if not argument:
        raise ConfigurationError(
            "The target `directory` needs a path.", hint="Set LSE_TARGET=directory:/path."
        )
    return DirectoryTarget(Path(argument).expanduser().absolute())


class DirectoryTarget:
    """Files below `root`, each written whole or not at all."""

    name = "directory"

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> str:
        place = self._root if os.path.lexists(self._root) else self._root.parent
        if not place.is_dir():
            problem = "is no directory" if os.path.lexists(place) else "is missing"
            raise ConfigurationError(
                f"LSE_TARGET names the directory {self._root}, but {place} {problem}.",
                hint="Make it, or set another: LSE_TARGET=directory:/path.",
            )
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise AccessError(
                f"The target directory {place} may not be written.", hint=f"Check `ls -ld {place}`."
            )
        return f"directory {self._root}" + ("" if self._root.exists() else ", made at the first upload")

    def put(
        self, path: str, file: Path, properties: Mapping[str, str], progress: Progress | None = None
    ) -> StoredObject:
        place, source = self._place(path), measure(file)
        with _translated(place):
            self._make_folder(place.parent)
            remove_stale(place)
            remove_stale(self._sidecar(path))
            present = measure(place) if place.is_file() else None
            if present != source:
                if present:
                    self._keep(place, present)
                with atomic_file(place) as sink:
                    sent = _copy(file, sink, progress)
                if sent != source:
                    raise DifferencesFound(
                        f"{file} changed while it was copied.", hint="Run the command again."
                    )
            if self._properties(path, source) != dict(properties):
                self._write_properties(path, source, properties)
        if (stored := self.find(path)) is None or stored.md5 != source.md5:
            raise DifferencesFound(f"{place} does not hold what was written.", hint="Check the disk.")
        return stored

    def find(self, path: str) -> StoredObject | None:
        place = self._place(path)
        with _translated(place):
            return self._object(path, place, measure(place)) if place.is_file() else None

    def get(self, path: str, file: Path, progress: Progress | None = None) -> StoredObject:
        stored = self._present(path)
        with _translated(file), atomic_file(file) as sink:
            received = _copy(self._place(path), sink, progress)
            if received != Measure(stored.size, stored.md5):
                raise DifferencesFound(f"{path} changed while it was read.", hint="Run the command again.")
        return stored

    def read(self, path: str, start: int, length: int) -> bytes:
        place = self._place(path)
        with _translated(place):
            if not place.is_file():
                raise _missing(path)
            with place.open("rb") as source:
                source.seek(start)
                return source.read(length)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        with _translated(self._root):
            names = sorted(f.relative_to(self._root).as_posix() for f in self._root.rglob("*") if f.is_file())
        for name in names:
            if name.startswith(prefix) and not any(part.startswith(".") for part in name.split("/")):
                place = self._place(name)
                with _translated(place):
                    content = known_measure(place, self._digest(name)) if place.is_file() else None
                    found = self._object(name, place, content) if content else None
                if found is not None:
                    yield found

    def trash(self, path: str) -> None:
        place = self._place(path)
        with _translated(place):
            if place.is_file():
                self._keep(place, measure(place))
                place.unlink()
                sync_directory(place.parent)
                self._sidecar(path).unlink(missing_ok=True)
                self._digest(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is held open."""

    def _present(self, path: str) -> StoredObject:
        found = self.find(path)
        if found is None:
            raise _missing(path)
        return found

    def _place(self, path: str) -> Path:
        """The file for `path`, which must stay below the root even when a folder is a link."""
        place = self._root.joinpath(*checked_path(path))
        if not place.resolve().is_relative_to(self._root.resolve()):
            raise ConfigurationError(f"{place} leads out of the target directory through a link.")
        return place

    def _make_folder(self, folder: Path) -> None:
        if not self._root.exists():
            self.check()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(folder.parent)

    def _keep(self, place: Path, content: Measure) -> None:
        """Give the content at `place` a second name in the trash, before the first one goes."""
        kept = self._root / ".trash" / place.relative_to(self._root).with_name(f"{place.name}.{content.md5}")
        self._make_folder(kept.parent)
        if kept.exists():
            return
        try:
            kept.hardlink_to(place)
        except OSError:
            # Some shares and FAT disks know no second names.
            with atomic_file(kept) as sink:
                _copy(place, sink, None)
        sync_directory(kept.parent)

    def _digest(self, path: str) -> Path:
        return self._root / ".digests" / f"{path}.json"

    def _object(self, path: str, place: Path, content: Measure) -> StoredObject:
        properties = self._properties(path, content)
        return StoredObject(path, path, content.size, content.md5, properties, place.as_uri())

    def _sidecar(self, path: str) -> Path:
        return self._root / ".properties" / f"{path}.json"

    def _properties(self, path: str, content: Measure) -> dict[str, str]:
        """The properties of `path`, if they were written for this very content."""
        sidecar = self._sidecar(path)
        try:
            value = json.loads(sidecar.read_bytes())
            return dict(value["properties"]) if value["md5"] == content.md5 else {}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise DifferencesFound(
                f"{sidecar} cannot be read.", hint=f"Remove it and upload {path} again."
            ) from error

    def _write_properties(self, path: str, content: Measure, properties: Mapping[str, str]) -> None:
        sidecar = self._sidecar(path)
        self._make_folder(sidecar.parent)
        value = {"md5": content.md5, "properties": dict(properties)}
        write_atomically(sidecar, json.dumps(value, sort_keys=True).encode())


def _copy(file: Path, sink: BinaryIO, progress: Progress | None) -> Measure:
    """Copy `file` into `sink`; what was copied."""
    digest, size = new_md5(), 0
    with file.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            sink.write(block)
            digest.update(block)
            size += len(block)
            if progress:
                progress(size)
    return Measure(size, digest.hexdigest())


def _missing(path: str) -> IncompleteError:
    return IncompleteError(f"The target holds no {path}.", hint="Upload it first: `lse archive upload`.")


@contextmanager
def _translated(place: Path) -> Iterator[None]:
    """Errors of the file system as ours."""
    try:
        yield
    except OSError as error:
        reason = f"{place}: {error.strerror}."
        if error.errno in _DENIED:
            raise AccessError(reason, hint=f"Check `ls -ld {place.parent}`.") from error
        raise TemporaryError(reason, hint="Check that the disk is mounted.") from error
