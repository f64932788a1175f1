"""The copy of a day in the target: which object it is, what it holds, and how it comes back."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lse.archive.encryption import decrypt_file, encrypted_name, fingerprint, is_encrypted, parse_recipients
from lse.archive.layout import archive_name
from lse.archive.manifest import NAME as MANIFEST
from lse.archive.manifest import FileEntry, Manifest
from lse.archive.zip import ZipInfo, ZipReader, open_zip
from lse.errors import ConfigurationError
from lse.models import Progress, ProjectDay
from lse.pipeline.common import no_progress
from lse.pipeline.ranged import TAIL_BYTES, RangedFile, buffered, extents
from lse.resources import Resources
from lse.settings import Settings
from lse.targets import StoredObject

logger = logging.getLogger(__name__)

COUNTS = ("traces", "runs", "feedback", "files")
"""The counts that an object carries as properties, so that an encrypted one can be compared unread."""


def recipients(settings: Settings) -> tuple[str, ...]:
    """The public keys that archives are encrypted for; none where encryption is off."""
    return parse_recipients(settings.age_recipient) if settings.age_recipient else ()


def find_copies(resources: Resources, day: ProjectDay) -> list[StoredObject]:
    """The objects of `day` in the target, the one that the settings ask for first.

    There are two where encryption was turned on or off after an upload.
    """
    settings, names = resources.settings, [archive_name(day), encrypted_name(day)]
    encrypts = bool(settings.age_recipient or settings.age_identity)
    first, second = reversed(names) if encrypts else names
    found = [resources.target.find(first)]
    if encrypts or found == [None]:
        found.append(resources.target.find(second))
    return [stored for stored in found if stored is not None]


def find_copy(resources: Resources, day: ProjectDay) -> StoredObject | None:
    """The object of `day` that is read; warns of a second one that holds something else."""
    copies = find_copies(resources, day)
    for other in copies[1:]:
        if _content(other) != _content(copies[0]):
            logger.warning("%s is read; %s is there too and holds other content.", copies[0].path, other.path)
    return copies[0] if copies else None


def describe(manifest: Manifest, info: ZipInfo, sent_md5: str, keys: tuple[str, ...]) -> dict[str, str]:
    """The properties of the object that holds the archive, each within Drive's 124 bytes.

    `md5` is that of the bytes as sent: where it is not that of the object any more, somebody else changed
    the content, and the other properties tell of what was there before.
    """
    with info.path.open("rb") as file:
        tail_bytes = info.size - extents(file)[MANIFEST][0]
    properties = {
        "lse": "1",
        "project": manifest.day.project,
        "date": manifest.day.day.isoformat(),
        "content_sha256": manifest.content_sha256,
        "md5": sent_md5,
        "tail_bytes": str(tail_bytes),
        **{name: str(number) for name, number in counts(manifest).items()},
    }
    return properties | ({"age_recipients": fingerprint(keys)} if keys else {})


def counts(manifest: Manifest) -> dict[str, int]:
    """How much a manifest lists, by the names in `COUNTS`."""
    known = {**manifest.counts, "files": len(manifest.files)}
    return {name: known[name] for name in COUNTS}


def stored_counts(stored: StoredObject) -> dict[str, int] | None:
    """The counts that an object carries; None where it lacks one, or where its bytes are others by now."""
    values = [stored.properties.get(name, "") for name in COUNTS]
    if not _is_as_sent(stored) or not all(value.isdecimal() for value in values):
        return None
    return dict(zip(COUNTS, map(int, values), strict=True))


def holds(stored: StoredObject, content_sha256: str) -> bool:
    """Whether an object holds this content, by what was noted with it when its bytes arrived."""
    return _content(stored) == content_sha256 and _is_as_sent(stored)


def is_encrypted_for(stored: StoredObject, keys: tuple[str, ...]) -> bool:
    """Whether an object is encrypted for exactly these keys, or plain where there are none."""
    return stored.properties.get("age_recipients") == (fingerprint(keys) if keys else None)


def bring(resources: Resources, stored: StoredObject, path: Path, progress: Progress = no_progress) -> None:
    """Write the object's archive to `path`, decrypted where it is encrypted.

    Raises `ConfigurationError` before anything is sent when the private key is needed and not set.
    """
    if not is_encrypted(stored.path):
        resources.target.get(stored.path, path, lambda got: progress(got, stored.size))
        return
    identity = resources.settings.age_identity
    if identity is None:
        raise ConfigurationError(
            f"{stored.path} is encrypted, and no private key is set.",
            hint="Set LSE_AGE_IDENTITY to the file with the age identity of its recipient.",
        )
    encrypted = path.with_name(f"{path.name}.age")
    resources.target.get(stored.path, encrypted, lambda got: progress(got, stored.size))
    decrypt_file(encrypted, path, identity)
    encrypted.unlink()


@dataclass(frozen=True, slots=True)
class Members:
    """The checked archive in an object; a member is brought here when it is read."""

    archive: ZipReader
    bring: Callable[[str], None]

    @property
    def entries(self) -> Mapping[str, FileEntry]:
        """The files that the manifest lists, by name."""
        return {entry.path: entry for entry in self.archive.manifest.files}

    def read(self, entry: FileEntry) -> bytes:
        """The bytes of one file. Raises `DamagedArchive` when they are not as listed."""
        self.bring(entry.path)
        return self.archive.read(entry)


@contextmanager
def open_stored(
    resources: Resources, stored: StoredObject, progress: Progress = no_progress
) -> Iterator[Members]:
    """The archive in an object: an encrypted one is brought here whole, of a plain one only what is read.

    Of a plain one the list of its files takes one request, and each file one more. Raises `DamagedArchive`.
    """
    if is_encrypted(stored.path):
        with resources.scratch() as scratch:
            path = scratch / "target.zip"
            bring(resources, stored, path, progress)
            with open_zip(path) as archive:
                yield Members(archive, lambda name: None)  # noqa: ARG005
        return
    noted = stored.properties.get("tail_bytes", "")
    tail_bytes = max(TAIL_BYTES, int(noted)) if noted.isdecimal() else TAIL_BYTES
    read = resources.target.read
    remote = RangedFile(lambda start, length: read(stored.path, start, length), stored.size, tail_bytes)
    file = buffered(remote)
    with open_zip(file, stored.path) as archive:
        where = extents(file)
        yield Members(archive, lambda name: remote.load(*where[name]))


def _content(stored: StoredObject) -> str | None:
    return stored.properties.get("content_sha256")


def _is_as_sent(stored: StoredObject) -> bool:
    return stored.properties.get("md5") == stored.md5
