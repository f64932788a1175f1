"""Fetch the files that runs link to: without our key, without redirects, up to a size."""

import hashlib
import ipaddress
import logging
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from lse.archive.files import atomic_file
from lse.archive.layout import content_file_name
from lse.archive.links import Link
from lse.errors import LseError, TemporaryError
from lse.langsmith.http import Patience
from lse.models import StoredFile

logger = logging.getLogger(__name__)

_BLOCK = 2**18


class LinkExpired(LseError):
    """The server does not honour the link any more; a link from a later answer may work."""


class FileRefused(LseError):
    """The file is not fetched: it is too large, gone, or at an address that may not be asked."""


class Downloads:
    """Fetches linked files into a folder, named by their content."""

    def __init__(self, endpoint: str, limit: int, patience: Patience) -> None:
        """`endpoint` is what relative links are relative to; `limit` is the largest size in bytes."""
        self._endpoint = endpoint
        self._limit = limit
        self._patience = patience
        self._session = requests.Session()  # of its own: the key stays with LangSmith's
        self._session.trust_env = True

    def fetch(self, link: Link, folder: Path) -> StoredFile:
        """Store the linked content in `folder`.

        Raises `LinkExpired`, `FileRefused`, or `TemporaryError` for what may pass.
        """
        url = urljoin(self._endpoint.rstrip("/") + "/", link.url)
        _check_address(url, self._endpoint)
        timeout = (self._patience.connect, self._patience.read)
        try:
            with self._session.get(url, stream=True, allow_redirects=False, timeout=timeout) as response:
                _check_status(response.status_code, link)
                return self._store(response, link, folder)
        except requests.RequestException as error:
            raise TemporaryError(f"{_named(link)} broke off ({type(error).__name__}).") from None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _store(self, response: requests.Response, link: Link, folder: Path) -> StoredFile:
        """Write while reading, under a name of its own until the content's hash is known."""
        sha256, size = hashlib.sha256(), 0
        deadline = time.monotonic() + self._patience.total
        part = folder / f".{link.run_id}.part"
        try:
            with atomic_file(part) as file:
                for block in response.iter_content(_BLOCK):
                    size += len(block)
                    if size > self._limit:
                        raise FileRefused(f"{_named(link)} is larger than {self._limit:,} bytes.")
                    if time.monotonic() > deadline:
                        raise TemporaryError(f"{_named(link)} took over {self._patience.total:.0f} s.")
                    sha256.update(block)
                    file.write(block)
            part.replace(folder / content_file_name(sha256.hexdigest()))
        finally:
            part.unlink(missing_ok=True)
        return StoredFile(link.run_id, link.name, sha256.hexdigest(), size, link.mime_type)


def _check_status(status: int, link: Link) -> None:
    if status == 200:
        return
    if status in (401, 403):
        raise LinkExpired(f"The link to {_named(link)} is not honoured ({status}).")
    if status in (408, 425, 429) or status >= 500:
        raise TemporaryError(f"{_named(link)} cannot be had now ({status}).")
    raise FileRefused(f"{_named(link)} is not served ({status}).")


def _check_address(url: str, endpoint: str) -> None:
    """Links stand in data that strangers write, so they must not lead into our own network."""
    parts, home = urlsplit(url), urlsplit(endpoint)
    if parts.hostname == home.hostname:
        return
    if parts.scheme != "https" or parts.hostname is None or _is_private(parts.hostname):
        raise FileRefused("A link leads to an address that is not asked: not https, or a private network.")


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host


def _named(link: Link) -> str:
    """The file without its own name, which may quote a trace."""
    return f"a file of run {link.run_id}"
