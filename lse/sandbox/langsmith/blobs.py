"""Bytes outside the database: attachments and offloaded payloads behind presigned addresses that expire."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

_SECRET = b"lse sandbox: these signatures only make expiry visible"


class Blobs:
    """Stored bytes by key, and the addresses that give access to them for a while."""

    def __init__(self, valid: timedelta, now: Callable[[], datetime]) -> None:
        """Addresses work for `valid` after they were made; `now` is the clock that decides."""
        self.valid = valid
        self._now = now
        self._stored: dict[str, tuple[str, bytes]] = {}

    def put(self, key: str, mime_type: str, content: bytes) -> None:
        """Keep `content` under `key`."""
        self._stored[key] = (mime_type, content)

    def get(self, key: str) -> tuple[str, bytes] | None:
        """The kind and the bytes under `key`."""
        return self._stored.get(key)

    def path(self, key: str) -> str:
        """The presigned path of `key`, from `/blob/` on."""
        expires = str(int((self._now() + self.valid).timestamp()))
        return f"/blob/{quote(key)}?expires={expires}&signature={_signature(key, expires)}"

    def allows(self, key: str, expires: str, signature: str) -> bool:
        """Whether the address was made here and has not expired."""
        if not hmac.compare_digest(signature, _signature(key, expires)):
            return False
        return self._now().timestamp() < int(expires)


def _signature(key: str, expires: str) -> str:
    return hmac.new(_SECRET, f"{key}\n{expires}".encode(), hashlib.sha256).hexdigest()
