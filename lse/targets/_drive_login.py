"""Signing in to Drive as a person: OAuth for an installed application (RFC 8252) with PKCE (RFC 7636)."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oauth2client.client import FlowExchangeError, OAuth2WebServerFlow

from lse.archive.files import write_atomically
from lse.errors import AccessError, ConfigurationError, TemporaryError
from lse.settings import Settings
from lse.targets._drive_client import (
    TIMEOUT_SECONDS,
    Http,
    check_same_side,
    checked_root,
    credentials_path,
    is_service_account,
    read_private_json,
)
from lse.targets._drive_errors import translated
from lse.targets._retry import RetryPolicy

LOGIN_SECONDS = 300.0
"""How long a person has to consent in the browser."""
_REQUEST_SECONDS = 5.0
_CLIENT_HINT = (
    'Make an OAuth client of the type "Desktop app" in Google\'s console, download its JSON, and set '
    "LSE_DRIVE_CLIENT to that file (mode 0600)."
)
_AGAIN = "Type `lse drive login` again, and allow what it asks for."


def login(settings: Settings, show: Callable[[str], None], *, seconds: float = LOGIN_SECONDS) -> Path:
    """Have a person consent in a browser, and save credentials that renew themselves; gives their file.

    `show` is called once with the address to open. Raises `ConfigurationError` for an unfit client or a
    file that holds a service account's key, `AccessError` when the person or Google refuses,
    `TemporaryError` when nobody consents in time.
    """
    path = credentials_path(settings)
    _check_replaceable(path)
    client = _read_client(settings)
    with _Listener() as listener:
        flow = OAuth2WebServerFlow(
            client["client_id"],
            client["client_secret"],
            settings.drive_scope,
            listener.address,
            auth_uri=client["auth_uri"],
            token_uri=client["token_uri"],
            pkce=True,
            # Without a new consent Google gives no refresh token to who consented before.
            prompt="consent",
        )
        show(flow.step1_get_authorize_url(state=listener.state))
        code = listener.wait(seconds)
    credentials = _exchange(flow, code)
    _check_granted(settings.drive_scope, credentials)
    saved = {name: client[name] for name in ("client_id", "client_secret", "token_uri")}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(saved | {"refresh_token": credentials.refresh_token}).encode())
    return path


def _check_replaceable(path: Path) -> None:
    """Raise `ConfigurationError` rather than lose a service account's key."""
    if not path.exists():
        return
    present = read_private_json(path, f"Look what {path} is, or set LSE_DRIVE_CREDENTIALS to another file.")
    if isinstance(present, dict) and is_service_account(present):
        raise ConfigurationError(
            f"{path} holds a service account's key, which needs no login.",
            hint="To sign in as a person, set LSE_DRIVE_CREDENTIALS to another file, or unset it.",
        )


def _read_client(settings: Settings) -> Mapping[str, str]:
    """The OAuth client as Google's console gives it: an object under the name `installed`."""
    if settings.drive_client is None:
        raise ConfigurationError("LSE_DRIVE_CLIENT is not set.", hint=_CLIENT_HINT)
    value = read_private_json(settings.drive_client, _CLIENT_HINT)
    client = value.get("installed") if isinstance(value, dict) else None
    wanted = ("client_id", "client_secret", "auth_uri", "token_uri")
    if not isinstance(client, dict) or not all(isinstance(client.get(name), str) for name in wanted):
        raise ConfigurationError(
            f"{settings.drive_client} is no OAuth client of a desktop app.", hint=_CLIENT_HINT
        )
    check_same_side(checked_root(settings.drive_api_root), client["auth_uri"], client["token_uri"])
    return client


class _Listener(HTTPServer):
    """Waits on a loopback port for the one visit of the browser that carries our state."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.state = secrets.token_urlsafe(32)
        self.answer: dict[str, str] | None = None

    @property
    def address(self) -> str:
        """Where Google is to send the browser."""
        return f"http://127.0.0.1:{self.server_port}/"

    def wait(self, seconds: float) -> str:
        """The code that the browser brings. Raises as `login` does."""
        deadline = time.monotonic() + seconds
        while self.answer is None:
            self.timeout = deadline - time.monotonic()
            if self.timeout <= 0:
                raise TemporaryError(f"Nobody consented within {seconds:.0f} s.", hint=_AGAIN)
            self.handle_request()
        if "code" not in self.answer:
            raise AccessError("The consent was refused.", hint=_AGAIN)
        return self.answer["code"]


class _Visit(BaseHTTPRequestHandler):
    """One request. Only one with our state counts, so that no other page can end or hijack the login."""

    server: _Listener
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        ours = secrets.compare_digest(query.get("state", "").encode(), self.server.state.encode())
        if ours:
            self.server.answer = query
        text = "Back to the terminal: this window may be closed." if ours else "This is not the login."
        body = f"<!DOCTYPE html><title>lse</title><p>{text}</p>".encode()
        self.send_response(200 if ours else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the request line holds the code."""


def _exchange(flow: Any, code: str) -> Any:
    """The credentials that Google gives for `code`."""
    http = Http(flow.token_uri, TIMEOUT_SECONDS)

    def once() -> Any:
        with translated():
            return flow.step2_exchange(code, http=http)

    try:
        return RetryPolicy().within(TIMEOUT_SECONDS).run(once)
    except FlowExchangeError as error:
        raise AccessError("Google refused to exchange the code for credentials.", hint=_AGAIN) from error
    finally:
        http.close()


def _check_granted(scope: str, credentials: Any) -> None:
    """Raise `AccessError` when the permission was left unticked or will not last."""
    granted = credentials.token_response.get("scope")
    if not credentials.refresh_token or (granted is not None and scope not in granted.split()):
        raise AccessError("The permission for Drive was not granted.", hint=_AGAIN)
