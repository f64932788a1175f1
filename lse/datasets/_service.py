"""Ask an evaluation service to run an experiment: one signed POST, repeated only where that is safe."""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID

import requests
import tenacity
import urllib3

from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError
from lse.models.retry_after import retry_after_seconds

logger = logging.getLogger(__name__)

SIGNATURE = "X-Signature"
IDEMPOTENCY = "Idempotency-Key"

_CONNECT = 10.0
_LARGEST_ANSWER = 1_000_000
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_NOT_BEGUN = {429, 503}
"""What a server says that has not taken the request on (RFC 9110 and RFC 6585)."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where evaluations are run."""

    endpoint: str
    secret: str | None = field(default=None, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User and password of HTTP's basic authentication."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the service, ready to be sent; every attempt sends the same bytes."""

    key: UUID
    body: bytes
    query: Mapping[str, str]
    headers: Mapping[str, str]
    repeatable: bool
    """Whether the service recognises a request that comes twice."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said."""

    status: int
    text: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may take, in seconds."""

    total: float = 300
    """With all its attempts."""
    first_wait: float = 1
    longest_wait: float = 30


def sign(secret: str, body: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) of `body` with `secret`, in hexadecimal."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signed_request(
    service: Service, dataset: str, prefix: str, eval_type: str, *, key: UUID, now: datetime
) -> Request:
    """A JSON body with a time stamp, signed with the service's secret; without one `ConfigurationError`."""
    if not service.secret:
        raise ConfigurationError(
            "LSE_EVAL_SECRET is not set, so the request cannot be signed.",
            hint="Set it to the secret that you share with the service, or use --legacy for an old service.",
        )
    content = {
        "dataset_name": dataset,
        "experiment_prefix": prefix,
        "eval_type": eval_type,
        "timestamp": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    body = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    headers = {IDEMPOTENCY: str(key), SIGNATURE: f"sha256={sign(service.secret, body)}"}
    return Request(key, body, {}, headers, repeatable=True)


def legacy_request(dataset: str, prefix: str, eval_type: str, *, key: UUID) -> Request:
    """What services of old take: query parameters, no body, and a checksum of them that proves nothing."""
    query = {"dataset_name": dataset, "eval_type": eval_type, "experiment_prefix": prefix}
    compact = json.dumps(query, separators=(",", ":"), sort_keys=True).encode()
    headers = {SIGNATURE: hashlib.sha256(compact).hexdigest()}
    return Request(key, b"", query, headers, repeatable=False)


def send(service: Service, request: Request, patience: Patience = Patience()) -> Answer:
    """The service's answer, which may also be a refusal.

    Raises `TemporaryError` when there is none, or only failures that may pass, until patience ends. What the
    service may have begun is repeated only when the request is repeatable. No redirect is followed.
    """
    _require_privacy(service)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Repeat),
        stop=tenacity.stop_before_delay(patience.total),
        wait=lambda state: _wait(state, patience),
        before_sleep=_log_retry,
        reraise=True,
    )
    sending = _Sending(service, request, time.monotonic() + patience.total)
    return retrying(sending.attempt)


def require_success(status: int) -> None:
    """Raise an error of the fitting kind unless the service agreed. Quotes nothing that it said."""
    if 200 <= status < 300:
        return
    said = f"The evaluation service refused ({status})."
    if status in (401, 403):
        raise AccessError(said, hint="Check LSE_EVAL_SECRET, or LSE_EVAL_USERNAME and LSE_EVAL_PASSWORD.")
    if 300 <= status < 400:
        raise ConfigurationError(
            f"The evaluation service redirects ({status}); a signed request is sent nowhere else.",
            hint="Set LSE_EVAL_ENDPOINT to the final address.",
        )
    raise LseError(said, hint="Its answer is above; `lse eval requests` shows it again.")


class _Repeat(TemporaryError):
    """It failed, and may be sent again: nothing was begun, or the service recognises a repetition."""


class _Sending:
    """One request on its way, perhaps in several attempts."""

    def __init__(self, service: Service, request: Request, end: float) -> None:
        self._service = service
        self._request = request
        self._end = end
        self._attempts = 0

    def attempt(self) -> Answer:
        """Send the request once."""
        self._attempts += 1
        left = max(0.1, self._end - time.monotonic())
        try:
            with requests.post(
                self._service.endpoint,
                params=dict(self._request.query),
                data=self._request.body,
                headers={"Content-Type": "application/json", **self._request.headers},
                auth=self._service.login,
                timeout=(min(_CONNECT, left), left),
                allow_redirects=False,
                stream=True,
            ) as response:
                text = self._read(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            begun = not isinstance(error, requests.ConnectTimeout) and not _refused(error)
            raise self._failed(f"gave no answer ({type(error).__name__})", begun=begun) from None
        if response.status_code in _PASSING:
            raise self._failed(
                f"answered {response.status_code}",
                begun=response.status_code not in _NOT_BEGUN,
                retry_after=retry_after_seconds(response.headers),
            )
        return Answer(response.status_code, text, self._attempts)

    def _read(self, response: requests.Response) -> str:
        content = b""
        while block := response.raw.read1(2**16, decode_content=True):
            content += block
            if len(content) > _LARGEST_ANSWER:
                return content[:_LARGEST_ANSWER].decode("utf-8", "replace")
            if time.monotonic() > self._end:
                raise requests.ReadTimeout
        return content.decode("utf-8", "replace")

    def _failed(self, what: str, *, begun: bool, retry_after: float | None = None) -> TemporaryError:
        message = f"The evaluation service {what}."
        if not begun or self._request.repeatable:
            return _Repeat(message, hint=self._hint(begun), retry_after=retry_after)
        return TemporaryError(message, hint=self._hint(begun))

    def _hint(self, begun: bool) -> str:
        if not begun:
            return "Is it running? Check LSE_EVAL_ENDPOINT and try again."
        if self._request.repeatable:
            return f"It may have begun; ask again with --idempotency-key {self._request.key}."
        return "It may have begun, and does not recognise repetitions: look there before asking again."


def _refused(error: Exception) -> bool:
    """Whether no connection came about, so that nothing can have been sent."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _require_privacy(service: Service) -> None:
    """Raise `ConfigurationError` when a password would travel in the clear."""
    url = urlsplit(service.endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(
            "LSE_EVAL_ENDPOINT is no address.", hint="Write it as https://host/path, or give --endpoint."
        )
    local = url.hostname in ("localhost", "127.0.0.1", "::1")
    if service.login and url.scheme == "http" and not local:
        raise ConfigurationError(
            "A password is only sent over https.", hint="Set LSE_EVAL_ENDPOINT to an https address."
        )


def _wait(state: tenacity.RetryCallState, patience: Patience) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TemporaryError) and error.retry_after is not None:
        return min(error.retry_after, patience.longest_wait)
    return tenacity.wait_random_exponential(patience.first_wait, patience.longest_wait)(state)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    logger.warning("%s Trying again in %.1f s (attempt %d).", error, wait, state.attempt_number)
