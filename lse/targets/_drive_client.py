"""The way to Google Drive: our own credentials file, PyDrive2's client, one place that tries again."""

import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httplib2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from oauth2client.client import OAuth2Credentials
from pydrive2.auth import GoogleAuth

from lse.errors import ConfigurationError, TemporaryError
from lse.models.retry_after import retry_after_seconds
from lse.settings import Settings
from lse.targets._drive_errors import drive_error, is_passing, translated
from lse.targets._retry import RetryPolicy

GOOGLE = "https://www.googleapis.com"
TIMEOUT_SECONDS = 60.0
_TRANSFER_STATUSES = frozenset({200, 201, 206, 308})
Resource = dict[str, Any]

# At DEBUG oauth2client logs the signed assertion, which anybody can exchange for a token (measured).
for _name in ("oauth2client", "googleapiclient"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Api:
    """The parts of the Drive service that are used; making one takes milliseconds, so they are kept."""

    files: Any
    about: Any


class Client:
    """Requests to Drive with fresh tokens, deadlines and retries. Nothing is sent before the first one.

    PyDrive2 signs in and builds the service. Its file objects are not used: they repeat nothing, lose
    upload sessions at the first fault and resend streams that are already consumed (measured).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        policy: RetryPolicy | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Raises `ConfigurationError` for credentials or a server that do not fit; reads one file."""
        self.policy = policy or RetryPolicy()
        self.root = checked_root(settings.drive_api_root)
        self._credentials = read_credentials(credentials_path(settings))
        check_same_side(self.root, self._credentials["token_uri"])
        self.without_storage = is_service_account(self._credentials) and settings.drive_user is None
        """Whether nobody stands behind the account whose storage it could use."""
        self._auth = _Auth(self.root, self._credentials, settings.drive_scope, settings.drive_user, timeout)
        self._lock = threading.Lock()
        self._api: Api | None = None

    @property
    def account(self) -> str:
        """Who the credentials are, for messages: a service account's address, or "a user"."""
        return str(self._credentials.get("client_email", "a user"))

    def call(self, build: Callable[[Api], Any]) -> Resource:
        """The JSON object that answers the request which `build` makes from the Drive service."""
        return self.policy.run(lambda: self.call_once(build))

    def call_once(self, build: Callable[[Api], Any]) -> Resource:
        """As `call`, without trying again."""
        with translated():
            answer = build(self._connected()).execute(http=self._auth.thread_http(), num_retries=0)
        if isinstance(answer, dict) and answer:
            return answer
        raise TemporaryError("Google Drive answered without content.")

    def send_once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status 200, 201, 206 or 308, lower-case headers and content; other answers raise. Not tried again.

        The body is bytes, never a stream: the layers below may send it twice.
        """
        with translated():
            self._connected()
            answer, content = self._auth.thread_http().request(url, method, body, dict(headers))
        if answer.status not in _TRANSFER_STATUSES:
            raise drive_error(answer.status, answer, content)
        return answer.status, answer, content

    def close(self) -> None:
        """Close all connections."""
        self._auth.close()

    def _connected(self) -> Api:
        with self._lock:
            if self._api is None:
                self._auth.sign_in()
                self._api = Api(self._auth.service.files(), self._auth.service.about())
            return self._api


class _Auth(GoogleAuth):  # type: ignore[misc] # the library carries no types
    """PyDrive2's sign-in, with a server of our choice, a deadline, and no redirects that carry a token."""

    credentials: Any
    http: Any

    def __init__(
        self, root: str, credentials: Mapping[str, str], scope: str, user: str | None, timeout: float
    ) -> None:
        # Without it a lost token makes PyDrive2 open a browser and wait for ever.
        os.environ["GDRIVE_NON_INTERACTIVE"] = "1"
        self._root = root
        self._saved = credentials
        self._opened: list[Any] = []
        settings = {"client_config_backend": "settings", "save_credentials": False, "oauth_scope": [scope]}
        if is_service_account(credentials):
            settings["client_config_backend"] = "service"
            settings["service_config"] = {"client_json_dict": dict(credentials), "client_user_email": user}
        else:
            settings["client_config"] = {"client_id": "", "client_secret": ""}
        super().__init__(http_timeout=timeout, settings=settings)

    def sign_in(self) -> None:
        """Get a first access token and build the service."""
        if is_service_account(self._saved):
            self.auth_method, self.credentials = "service", None
            self.ServiceAuth()
        else:
            saved = self._saved
            self.credentials = OAuth2Credentials(
                None,
                saved["client_id"],
                saved["client_secret"],
                saved["refresh_token"],
                None,
                saved["token_uri"],
                "lse",
            )
            self.Refresh()
            self.Authorize()

    def Authorize(self) -> None:  # noqa: N802 - PyDrive2's name
        """Build the Drive service from the bundled description, addressed to our server."""
        document = json.loads(get_static_doc("drive", "v2"))
        document["rootUrl"] = f"{self._root}/"
        self.http = self.http or self._build_http()
        self.http = self.credentials.authorize(self.http)
        self.service = build_from_document(document, http=self.http)

    def thread_http(self) -> Any:
        """The authorized connection of this thread; httplib2 must not be shared between threads."""
        if getattr(self.thread_local, "http", None) is None:
            self.thread_local.http = self.Get_Http_Object()
        return self.thread_local.http

    def _build_http(self) -> Any:
        http = Http(self._saved["token_uri"], self.http_timeout)
        self._opened.append(http)
        return http

    def close(self) -> None:
        for http in self._opened:
            http.close()


class Http(httplib2.Http):  # type: ignore[misc] # the library carries no types
    """A connection that follows no redirect and checks what the token service answers."""

    def __init__(self, token_uri: str, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self.follow_redirects = False
        self._token_uri = token_uri

    def request(self, uri: str, *args: Any, **kwargs: Any) -> tuple[Any, bytes]:
        """As in httplib2; `TemporaryError` when the token service is busy, or answers without a token."""
        answer, content = super().request(uri, *args, **kwargs)
        if uri == self._token_uri and is_passing(answer.status):
            raise TemporaryError(
                f"Google's token service answered {answer.status}.", retry_after=retry_after_seconds(answer)
            )
        if uri == self._token_uri and answer.status == 200:
            value = json.loads(content)
            if not isinstance(value, dict) or "access_token" not in value:
                raise TemporaryError("Google's token service answered without a token.")
        return answer, content


def checked_root(root: str) -> str:
    """`root` without a slash at the end, when it is Google's or on this machine.

    Raises `ConfigurationError` for any other: it would be handed tokens.
    """
    root = root.rstrip("/")
    if root != GOOGLE and not _is_loopback(root):
        raise ConfigurationError(
            f"LSE_DRIVE_API_ROOT is neither {GOOGLE} nor a loopback address.",
            hint="Unset LSE_DRIVE_API_ROOT.",
        )
    return root


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def check_same_side(root: str, *addresses: str) -> None:
    """Refuse to show real tokens to a local server, and local ones to Google."""
    if any(_is_loopback(root) != _is_loopback(address) for address in addresses):
        raise ConfigurationError(
            "LSE_DRIVE_API_ROOT and the credentials belong to different services.",
            hint="Use the sandbox's credentials with the sandbox, and Google's with Google.",
        )


def is_service_account(credentials: Mapping[str, str]) -> bool:
    """Whether these are a service account's key, not a person's saved credentials."""
    return credentials.get("type") == "service_account"


def credentials_path(settings: Settings) -> Path:
    """Where the Drive credentials are: LSE_DRIVE_CREDENTIALS, else where `lse drive login` puts them."""
    return settings.drive_credentials or settings.state_dir / "drive-credentials.json"


def read_private_json(path: Path, hint: str) -> Any:
    """The JSON in a file that only its owner may read.

    Raises `ConfigurationError` when the file is missing, too open, or no JSON.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigurationError(f"{path} may be read by others.", hint=f"Type: chmod 600 {path}")
            return json.load(file)
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {path}.", hint=hint) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON.", hint=hint) from error


def read_credentials(path: Path) -> dict[str, str]:
    """A service account's key, or saved credentials of a user, read from a file that only its owner may read.

    Raises `ConfigurationError` when the file is missing, too open, or neither of the two.
    """
    value = read_private_json(
        path, "Type `lse drive login`, or set LSE_DRIVE_CREDENTIALS to a service-account key (JSON)."
    )
    wanted = _KEY_FIELDS if isinstance(value, dict) and is_service_account(value) else _USER_FIELDS
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in wanted):
        raise ConfigurationError(
            f"{path} is neither a service-account key nor saved credentials with {', '.join(_USER_FIELDS)}.",
            hint="Download the key anew.",
        )
    if is_service_account(value):
        _check_key(path, value["private_key"])
    return value


def _check_key(path: Path, text: str) -> None:
    """The library below answers an unreadable key with an error of its own making; this one helps."""
    try:
        load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"The private key in {path} cannot be read.", hint="Download the key anew."
        ) from error


_KEY_FIELDS = ("client_email", "private_key", "private_key_id", "client_id", "token_uri")
_USER_FIELDS = ("client_id", "client_secret", "refresh_token", "token_uri")
