"""Errors of Google Drive and of the ways to it, as ours."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from googleapiclient.errors import HttpError
from httplib2.error import HttpLib2Error
from oauth2client.client import AccessTokenRefreshError
from pydrive2.auth import AuthError

from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError
from lse.models.retry_after import retry_after_seconds

_RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "sharingRateLimitExceeded"})
_FULL_REASONS = frozenset({"storageQuotaExceeded", "quotaExceeded", "teamDriveFileLimitExceeded"})
_SERVER_BUSY = 500


class NotFoundError(LseError):
    """Drive knows no file, folder or upload session of this id (404, 410)."""


class ConflictError(LseError):
    """A file with this id exists already (409)."""


def drive_error(status: int, headers: Mapping[str, str], content: bytes) -> LseError:
    """The error that an answer with `status` stands for; never quotes what the server wrote."""
    reason = _reason(content)
    told = f"Google Drive answered {status}" + (f" ({reason})." if reason else ".")
    if is_passing(status) or reason in _RATE_REASONS:
        return TemporaryError(told, retry_after=retry_after_seconds(headers))
    if reason in _FULL_REASONS:
        return ConfigurationError(
            f"{told} The storage is full, or this account has none.",
            hint="A service account has no storage of its own. Use a folder of a shared drive "
            "(LSE_DRIVE_FOLDER=id:<folder id>), or act for a user (LSE_DRIVE_USER).",
        )
    if status in (404, 410):
        return NotFoundError(told)
    if status == http.HTTPStatus.CONFLICT:
        return ConflictError(told)
    if status in (401, 403):
        return AccessError(told, hint="Check LSE_DRIVE_CREDENTIALS and that the folder is shared with it.")
    return LseError(f"{told} The request was not understood.")


def is_passing(status: int) -> bool:
    """Whether an answer with `status` may be another one later."""
    return status in (408, 429) or status >= _SERVER_BUSY


def _reason(content: bytes) -> str:
    """The machine-readable reason in an error answer; empty when there is none (HTML, nothing)."""
    try:
        reason = json.loads(content)["error"]["errors"][0]["reason"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    # The word is repeated to people, so it must be one.
    return reason if isinstance(reason, str) and reason.isalnum() and len(reason) < 60 else ""


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of those of the client, the connection and the token service."""
    try:
        yield
    except HttpError as error:
        raise drive_error(int(error.resp.status), error.resp, error.content) from error
    except (AccessTokenRefreshError, AuthError) as error:
        raise AccessError(
            "Google refused the Drive credentials: revoked, expired, or of another client.",
            hint="A person's: type `lse drive login`. A service account's: download its key anew, and check "
            "this machine's clock.",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            "The certificate of Google Drive cannot be checked.", hint="Is there a proxy in between?"
        ) from error
    except (OSError, http.client.HTTPException, HttpLib2Error, json.JSONDecodeError) as error:
        raise TemporaryError(f"Google Drive gave no usable answer ({type(error).__name__}).") from error
