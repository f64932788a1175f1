"""Google Drive as target, through API v2 and PyDrive2.

An object at `my-project/2025-09-13.zip` is the file `2025-09-13.zip` in the folder `my-project` of the folder
that LSE_DRIVE_FOLDER names. Other content becomes a further revision of the same file; Drive keeps earlier
ones for about 30 days, and what is trashed for as long.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lse.archive.files import atomic_file
from lse.errors import (
    ConfigurationError,
    DifferencesFound,
    IncompleteError,
    LseError,
    TemporaryError,
    UsageError,
)
from lse.settings import Settings
from lse.targets import Progress, StoredObject
from lse.targets._drive_client import Client, Resource
from lse.targets._drive_errors import ConflictError, NotFoundError
from lse.targets._drive_login import login
from lse.targets._drive_status import DriveStatus, describe
from lse.targets._drive_tree import Tree, is_file, is_folder
from lse.targets._drive_upload import CHUNK_BYTES, send_file, start_session
from lse.targets._measure import Measure, measure, new_md5
from lse.targets._notes import Notes
from lse.targets._paths import checked_path
from lse.targets._retry import CHECK_SECONDS

__all__ = ["DriveStatus", "DriveTarget", "login", "open"]

log = logging.getLogger(__name__)

DOWNLOAD_BYTES = 8 * 1024 * 1024
ATTEMPTS = 3
"""How often content is transferred anew when its checksum does not fit."""
SESSIONS = 5
"""How many upload sessions may vanish before one upload gives up."""
PROPERTY_BYTES = 124
"""Drive's limit on the UTF-8 length of a property's key and value together."""
MARK = {"lse": "1"}
"""The property by which files of ours are known; no file without it is ever trashed as a twin."""


def open(argument: str, settings: Settings) -> "DriveTarget":
    """The Drive that the `LSE_DRIVE_*` settings describe; `ConfigurationError` when they do not fit."""
    if argument:
        raise ConfigurationError(
            f"The target `drive` takes no argument, but has {argument!r}.",
            hint="Set LSE_TARGET=drive, and LSE_DRIVE_FOLDER for the folder.",
        )
    return DriveTarget(settings, Client(settings))


class DriveTarget:
    """One folder of Google Drive. May be used by several threads; make it anew after a fork."""

    name = "drive"

    def __init__(self, settings: Settings, client: Client, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        """`chunk_bytes`, a multiple of 256 KiB, is also what one upload holds in memory."""
        self._client = client
        self._folder = settings.drive_folder
        self._scope = settings.drive_scope
        self._state_dir = settings.state_dir
        self._chunk_bytes = chunk_bytes
        self._notes = self._notes_of(settings.drive_folder)
        self._tree = Tree(client, settings.drive_folder, self._notes)

    def check(self) -> str:
        """As every target; also refuses a folder that may not be written and an account without storage."""
        status = self.status()
        if status.problem is not None:
            raise status.problem
        state = "" if status.folder_id else ", made at the first upload"
        return f"Google Drive as {status.account}, folder {self._folder}{state}"

    def status(self) -> DriveStatus:
        """Who signs in, what the folder and the storage are like, and what stands against an upload."""
        about = self._client.policy.within(CHECK_SECONDS).run(
            lambda: self._client.call_once(
                lambda api: api.about.get(
                    fields="user(emailAddress),quotaType,quotaBytesUsed,quotaBytesTotal"
                )
            )
        )
        problem: LseError | None = None
        root: Resource | None = None
        try:
            root = self._tree.root()
        except ConfigurationError as error:
            problem = error
        return describe(self._client, about, self._folder, self._scope, root, problem)

    def init(self, shared_drive: str | None = None) -> Resource:
        """The folder of archives, `id` and `alternateLink` among others, made when it is not there.

        `shared_drive` is the id of the shared drive to make it in. Raises `UsageError` when
        LSE_DRIVE_FOLDER has an id already, which no further folder can have.
        """
        if shared_drive is None:
            tree, place = self._tree, "My Drive"
        elif self._folder.startswith("id:"):
            raise UsageError(
                f"LSE_DRIVE_FOLDER={self._folder} is a folder already.",
                hint="Set LSE_DRIVE_FOLDER to the name of the folder to make, such as lse.",
            )
        else:
            place = f"the shared drive {shared_drive}"
            notes = self._notes_of(f"{self._folder} in {shared_drive}")
            tree = Tree(self._client, self._folder, notes, shared_drive)
        try:
            made = tree.get(tree.make_folder(()))
        except NotFoundError as error:
            raise ConfigurationError(
                f"{self._client.account} cannot see {place}.",
                hint="Make it a member (content manager), and set "
                "LSE_DRIVE_SCOPE=https://www.googleapis.com/auth/drive.",
            ) from error
        if made is None:
            raise TemporaryError("The Drive folder vanished while it was made.")
        return made

    def put(
        self, path: str, file: Path, properties: Mapping[str, str], progress: Progress | None = None
    ) -> StoredObject:
        """As every target. Properties longer than Drive's 124 bytes are left out."""
        parts, source = checked_path(path), measure(file)
        wanted = _fitting(properties)
        parent = self._tree.make_folder(parts[:-1])
        stored = self._tree.locate(path, parent)
        stored = self._made_to_hold(path, parent, file, source, wanted, stored, progress)
        namesakes = self._tree.namesakes(path, parent)
        oldest = next((f for f in namesakes if f["id"] == stored["id"] or _is_ours(f)), stored)
        if oldest["id"] != stored["id"]:
            # Another machine uploaded at the same time. The oldest one stays, whoever looks.
            stored = self._made_to_hold(path, parent, file, source, wanted, oldest, progress)
        self._notes.update(path, id=stored["id"], session=None, md5=None)
        self._trash_twins(path, namesakes, stored["id"])
        return _stored_object(path, self._labelled(stored, wanted))

    def find(self, path: str) -> StoredObject | None:
        found = self._find(path)
        return _stored_object(path, found) if found else None

    def get(self, path: str, file: Path, progress: Progress | None = None) -> StoredObject:
        for _ in range(ATTEMPTS):
            found = self._find(path)
            if found is None:
                break
            try:
                with atomic_file(file) as sink:
                    self._download(found, sink, progress)
                return _stored_object(path, found)
            except DifferencesFound as error:
                log.warning("%s Fetching it again.", error)
        if found is None:
            raise _missing(path)
        raise DifferencesFound(f"{path} arrives damaged from Google Drive.", hint="Upload it again.")

    def read(self, path: str, start: int, length: int) -> bytes:
        found = self._find(path)
        if found is None:
            raise _missing(path)
        end = min(start + length, int(found["fileSize"]))
        return self._range(found["id"], start, end) if start < end else b""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        root = self._tree.folder(())
        if root is not None:
            yield from self._walk(root, "", prefix)

    def trash(self, path: str) -> None:
        """Move the object and twins of ours to Drive's trash."""
        parent = self._tree.folder(checked_path(path)[:-1])
        found = self._tree.locate(path, parent) if parent else None
        if parent and found:
            self._tree.trash(found["id"])
            self._trash_twins(path, self._tree.namesakes(path, parent), found["id"])
        self._notes.forget(path)

    def close(self) -> None:
        self._client.close()

    def _notes_of(self, folder: str) -> Notes:
        place = f"{self._client.root} {folder} {self._client.account}"
        return Notes(self._state_dir / "uploads", place)

    def _find(self, path: str) -> Resource | None:
        parent = self._tree.folder(checked_path(path)[:-1])
        return self._tree.locate(path, parent) if parent else None

    def _walk(self, folder: str, path: str, prefix: str) -> Iterator[StoredObject]:
        for child in sorted(self._tree.children(folder), key=lambda f: str(f["title"])):
            place = f"{path}{child['title']}"
            if is_folder(child):
                below = f"{place}/"
                if below.startswith(prefix) or prefix.startswith(below):
                    yield from self._walk(child["id"], below, prefix)
            elif place.startswith(prefix) and is_file(child):
                yield _stored_object(place, child)

    def _made_to_hold(
        self,
        path: str,
        parent: str,
        file: Path,
        source: Measure,
        properties: Mapping[str, str],
        stored: Resource | None,
        progress: Progress | None,
    ) -> Resource:
        """`stored`, or the file that is made at `path`, once it holds `source` by Drive's own checksum."""
        for _ in range(ATTEMPTS):
            if _holds(stored, source):
                break
            stored = self._upload(path, parent, file, source, properties, stored, progress)
        if stored is None or not _holds(stored, source):
            raise DifferencesFound(
                f"Google Drive does not hold {path} as it was sent.",
                hint="Check the network and upload it again.",
            )
        return stored

    def _upload(
        self,
        path: str,
        parent: str,
        file: Path,
        source: Measure,
        properties: Mapping[str, str],
        stored: Resource | None,
        progress: Progress | None,
    ) -> Resource | None:
        """Send the content through one session, or through further ones while sessions vanish.

        A session noted for the same content is taken up. When a session or id fails, Drive is asked what it
        has before anything is sent again.
        """
        noted = self._notes.read(path)
        session = noted.get("session") if noted.get("md5") == source.md5 else None
        for _ in range(SESSIONS):
            resumed = session is not None
            try:
                session = session or self._start(path, parent, source, properties, stored)
                answer = send_file(
                    self._client,
                    session,
                    file,
                    source.size,
                    resumed=resumed,
                    chunk_bytes=self._chunk_bytes,
                    progress=progress,
                )
                # Whatever it holds now, this session is used up.
                self._notes.update(path, session=None, md5=None)
                return answer if "md5Checksum" in answer else self._tree.get(answer["id"])
            except (NotFoundError, ConflictError) as error:
                log.info("%s Looking what has arrived of %s.", error, path)
                session = None
                self._notes.update(path, session=None)
                stored = self._tree.locate(path, parent)
                if _holds(stored, source):
                    return stored
                if stored is None and isinstance(error, ConflictError):
                    self._notes.forget(path)
        raise TemporaryError(f"The upload of {path} was forgotten by Google Drive {SESSIONS} times.")

    def _start(
        self,
        path: str,
        parent: str,
        source: Measure,
        properties: Mapping[str, str],
        stored: Resource | None,
    ) -> str:
        """Open a session, to update what is `stored` or to insert, and note its address."""
        metadata: Resource = {"properties": _property_list(properties)}
        if stored:
            session = start_session(self._client, stored["id"], metadata, source.size, update=True)
        else:
            metadata |= {"title": path.rpartition("/")[2], "parents": [{"id": parent}]}
            file_id = self._tree.chosen_id(path)
            session = start_session(self._client, file_id, metadata, source.size, update=False)
        self._notes.update(path, session=session, md5=source.md5)
        return session

    def _labelled(self, stored: Resource, properties: Mapping[str, str]) -> Resource:
        """`stored` with these properties, also when the file was there already."""
        if properties.items() <= _properties(stored).items():
            return stored
        body = {"properties": _property_list(properties)}
        return self._client.call(
            lambda api: api.files.patch(fileId=stored["id"], body=body, supportsAllDrives=True)
        )

    def _trash_twins(self, path: str, namesakes: Iterable[Resource], keep: str) -> None:
        """Leave one file of ours at `path`. Files without our mark are a person's and stay."""
        for twin in namesakes:
            if twin["id"] == keep:
                continue
            if _is_ours(twin):
                log.warning("Trashing a second %s (%s).", path, twin["id"])
                self._tree.trash(twin["id"])
            else:
                log.warning("Somebody else keeps a second %s (%s).", path, twin["id"])

    def _download(self, found: Resource, sink: BinaryIO, progress: Progress | None) -> None:
        """Write the content to `sink`; `DifferencesFound` when size or md5 are not those that Drive names."""
        size, digest, offset = int(found["fileSize"]), new_md5(), 0
        while offset < size:
            content = self._range(found["id"], offset, min(offset + DOWNLOAD_BYTES, size))
            sink.write(content)
            digest.update(content)
            offset += len(content)
            if progress:
                progress(offset)
        if not _holds(found, Measure(offset, digest.hexdigest())):
            raise DifferencesFound(f"{found['title']} arrived damaged.")

    def _range(self, file_id: str, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`; a server that ignores ranges is answered by cutting."""
        url = f"{self._client.root}/drive/v2/files/{file_id}?alt=media&supportsAllDrives=true"

        def fetch() -> bytes:
            status, headers, content = self._client.send_once(
                "GET", url, {"Range": f"bytes={start}-{end - 1}"}
            )
            if status == 200:
                content = content[start:end]
            elif not re.match(rf"bytes {start}-", headers.get("content-range", "")):
                raise TemporaryError("Google Drive sent another part of the file than asked for.")
            if len(content) != end - start:
                raise TemporaryError("Google Drive sent less of the file than asked for.")
            return content

        return self._client.policy.run(fetch)


def _holds(stored: Resource | None, source: Measure) -> bool:
    """Whether `stored` has this content, by the checksum and size that Drive computed itself."""
    return (
        stored is not None
        and stored.get("md5Checksum") == source.md5
        and stored.get("fileSize") == str(source.size)
    )


def _stored_object(path: str, found: Resource) -> StoredObject:
    if "md5Checksum" not in found:
        raise TemporaryError(f"Google Drive gives no checksum of {path} yet.")
    properties = {key: value for key, value in _properties(found).items() if key not in MARK}
    return StoredObject(
        path,
        str(found["id"]),
        int(found["fileSize"]),
        str(found["md5Checksum"]),
        properties,
        found.get("alternateLink"),
    )


def _properties(found: Resource) -> dict[str, str]:
    return {entry["key"]: entry["value"] for entry in found.get("properties", [])}


def _is_ours(found: Resource) -> bool:
    return MARK.items() <= _properties(found).items()


def _property_list(properties: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": k, "value": v, "visibility": "PRIVATE"} for k, v in properties.items()]


def _fitting(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` and our mark, without those that Drive would refuse the whole upload for."""
    fitting = {k: v for k, v in properties.items() if len((k + v).encode()) <= PROPERTY_BYTES}
    if left_out := sorted(properties.keys() - fitting.keys()):
        log.warning("Too long for Drive, left out: %s.", ", ".join(left_out))
    return fitting | MARK


def _missing(path: str) -> IncompleteError:
    return IncompleteError(f"Google Drive holds no {path}.", hint="Upload it first: `lse archive upload`.")
