"""One resumable upload: chunks as bytes, and the server's own word on how much has arrived.

Follows Google's guide to resumable uploads. After any fault the next request asks for the offset, so a chunk
whose answer got lost is not sent twice, and a session that another process began is taken up where it stands.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from lse.errors import LseError, TemporaryError
from lse.targets import Progress
from lse.targets._drive_client import Client, Resource

CHUNK_BYTES = 32 * 1024 * 1024
"""With 200 ms per request, larger chunks were no faster (measured); must be a multiple of 256 KiB."""


def start_session(client: Client, file_id: str, metadata: Resource, size: int, *, update: bool) -> str:
    """The address of a fresh upload session: for the content of a file that exists, or for one yet to be.

    The address accepts bytes without a token: keep it secret. Raises `ConflictError` when the id is taken,
    `NotFoundError` when the file or its folder has gone.
    """
    method, place = ("PUT", f"/{file_id}") if update else ("POST", "")
    url = f"{client.root}/upload/drive/v2/files{place}?uploadType=resumable&supportsAllDrives=true"
    body = json.dumps(metadata if update else metadata | {"id": file_id}).encode()
    headers = {
        "Content-Type": "application/json; charset=UTF-8",
        "X-Upload-Content-Type": "application/zip",
        "X-Upload-Content-Length": str(size),
    }

    def ask() -> str:
        _, answer, _ = client.send_once(method, url, headers, body)
        if not answer.get("location"):
            raise TemporaryError("Google Drive opened no upload session.")
        return str(answer["location"])

    location = client.policy.run(ask)
    if not _is_trusted(location, client.root):
        raise LseError("Google Drive named an upload address on another server.")
    return location


def _is_trusted(location: str, root: str) -> bool:
    """Whether tokens and content may go to `location`: the same server, or another one of Google's."""
    ours, theirs = urlsplit(root), urlsplit(location)
    google = ours.scheme == theirs.scheme == "https" and f".{theirs.hostname}".endswith(".googleapis.com")
    return google or (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)


def send_file(
    client: Client,
    session: str,
    file: Path,
    size: int,
    *,
    resumed: bool,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress | None = None,
) -> Resource:
    """Send `file` to `session`, or what is missing of it there; the stored file's resource.

    Raises `NotFoundError` when the session has gone, `ConflictError` when its id was taken meanwhile.
    """
    with file.open("rb") as source:
        transfer = _Transfer(client, session, source, size, chunk_bytes, None if resumed else 0)
        while (stored := client.policy.run(transfer.step)) is None:
            if progress:
                progress(transfer.offset or 0)
    if progress:
        progress(size)
    return stored


@dataclass(slots=True)
class _Transfer:
    client: Client
    session: str
    source: BinaryIO
    size: int
    chunk_bytes: int
    offset: int | None
    """How much the server has; None when only it knows."""
    confirmed: int = 0
    """The most that the server ever said it has."""

    def step(self) -> Resource | None:
        """Make the server have more than before; the resource once it has everything.

        After a fault this asks for the offset and then sends, so that a server which keeps nothing uses up
        the time of one step, however often it answers the question.
        """
        start, self.offset = self.offset, None
        if start is None:
            stored = self._read_answer(*self._put(f"bytes */{self.size}", b""))
            if stored or self._has_more():
                return stored
            start = self.offset or 0
        stored = self._read_answer(*self._put_chunk(start))
        if stored is None and not self._has_more():
            self.offset = None
            raise TemporaryError("Google Drive kept nothing of a part of an upload.")
        return stored

    def _read_answer(self, status: int, headers: Mapping[str, str], content: bytes) -> Resource | None:
        """The resource when the upload is complete, else None, with `offset` set."""
        if status in (200, 201):
            return _resource(content)
        if status != 308:
            raise TemporaryError(f"Google Drive answered {status} to a part of an upload.")
        self.offset = _arrived(headers)
        return None

    def _has_more(self) -> bool:
        """Whether the server has more than it ever confirmed; notes how much."""
        arrived = self.offset or 0
        more, self.confirmed = arrived > self.confirmed, max(arrived, self.confirmed)
        return more

    def _put_chunk(self, start: int) -> tuple[int, Mapping[str, str], bytes]:
        self.source.seek(start)
        chunk = self.source.read(self.chunk_bytes)
        if len(chunk) != min(self.chunk_bytes, self.size - start):
            raise LseError("The file changed while it was uploaded.", hint="Run the command again.")
        if not chunk:
            return self._put(None, b"")
        return self._put(f"bytes {start}-{start + len(chunk) - 1}/{self.size}", chunk)

    def _put(self, content_range: str | None, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        # An empty file has no range to name.
        headers = {"Content-Range": content_range} if content_range else {}
        headers["Content-Length"] = str(len(body))
        return self.client.send_once("PUT", self.session, headers, body)


def _arrived(headers: Mapping[str, str]) -> int:
    """The offset after the last byte that the server has; it names no range while it has none."""
    found = re.fullmatch(r"bytes=0-(\d+)", headers.get("range", ""))
    return int(found[1]) + 1 if found else 0


def _resource(content: bytes) -> Resource:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise TemporaryError("Google Drive ended an upload without a usable answer.") from error
    if not isinstance(value, dict) or "id" not in value:
        raise TemporaryError("Google Drive ended an upload without naming the file.")
    return value
