"""Requests to LangSmith through the SDK's authenticated client, answered with raw bytes.

This is the one owner of retries: the SDK's own are off. Every call has a total deadline, waits with
full jitter or as the server asks, and stays within the published request rates.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Any, Literal, NoReturn, Protocol, TypeVar

import requests
import tenacity
import urllib3
from langsmith import Client
from langsmith.utils import LangSmithError
from urllib3.util import Retry

from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError
from lse.langsmith.limits import LIMITS, Rate
from lse.models.retry_after import retry_after_seconds
from lse.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WORTH_A_WARNING = 3
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_WORTH_SAYING = 1.0
"""Seconds; shorter waits are not logged."""
_PERHAPS_TOO_MUCH = {408, 500, 502, 504}
"""What servers and proxies were seen to answer to pages that were too large for them."""


class NotServed(LseError):
    """The server has no such path or item (404, 405 or 410)."""


class Refused(LseError):
    """The server says the request itself is wrong (400, 413, 422)."""


class Conflict(Refused):
    """The server says that what was sent is there already (409)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may take, in seconds."""

    connect: float = 10
    read: float = 60
    """Longest silence within an answer."""
    body: float = 120
    """Longest time for one whole answer."""
    total: float = 300
    """Longest time for a call with all its retries."""
    unreachable: float = 8
    """Longest time for a call to a server that never answered."""
    longest_wait: float = 60
    """Cap on one wait, also on the server's Retry-After."""
    first_wait: float = 1
    rest: float = 30
    """How long a server that could not be had is left alone."""


class Unreachable(TemporaryError):
    """No connection to the server could be made."""


class TooMuch(TemporaryError):
    """The answer may have been too large: it was refused as such, took too long, or broke off."""

    def __init__(self, message: str, *, weight: int = 1, **more: Any) -> None:
        super().__init__(message, **more)
        self.weight = weight
        """2 when the server itself said that it was too large, else 1."""


_UNEVEN = 0.2
"""Seconds by which one request may be longer on its way to the server than a later one, which is when the
server sees more calls within a span than were sent; without this, one in 15 calls was refused (measured)."""


class SharedRates(Protocol):
    """Rates that other processes and machines keep to as well; `lse.store` has one in the database."""

    def take(self, calls: int, seconds: float) -> float | None:
        """The seconds until the next call may be sent, which then counts; None when nobody can say."""

    def rest(self, seconds: float) -> None:
        """Have the server left alone by everybody for so long."""

    def resting(self) -> float:
        """The seconds for which the server is still to be left alone."""


class RateLimit:
    """Waits so that calls never exceed a rate, by the times of the last calls. Safe between threads."""

    def __init__(self, rate: Rate, shared: SharedRates | None = None) -> None:
        self._rate = rate
        self._shared = shared
        self._times: deque[float] = deque(maxlen=rate.calls)
        self._lock = Lock()
        self._until = -inf
        self.waited = 0.0
        """Seconds in which at least one call waited."""

    def wait(self) -> None:
        """Return when the next call may be sent."""
        with self._lock:
            seconds = self._take()
            now = time.monotonic()
            at = now + seconds
            self._times.append(at)
            self.waited += max(0.0, at - max(now, self._until))
            self._until = max(at, self._until)
        if seconds >= _WORTH_SAYING:
            logger.info("Waiting %.1f s: %d calls in %.0f s.", seconds, self._rate.calls, self._rate.seconds)
        time.sleep(seconds)

    def _take(self) -> float:
        """The seconds until the next call may be sent: as all processes agree, else by its own calls."""
        span = self._rate.seconds + _UNEVEN
        shared = self._shared.take(self._rate.calls, span) if self._shared else None
        if shared is not None:
            return shared
        full = len(self._times) == self._rate.calls
        return max(0.0, self._times[0] + span - time.monotonic()) if full else 0.0


class Rates:
    """The rates of one tenant, and whether its server is left alone for a while. Safe between threads."""

    def __init__(self, shared: SharedRates | None = None) -> None:
        self._shared = shared
        self._limits: dict[Rate, RateLimit] = {}
        self._rest_until = -inf

    def wait(self, rate: Rate) -> None:
        """Return when the next call that `rate` counts may be sent."""
        self._limits.setdefault(rate, RateLimit(rate, self._shared)).wait()

    @property
    def waited(self) -> float:
        """Seconds spent waiting, over all rates."""
        return sum(limit.waited for limit in list(self._limits.values()))

    def rest(self, seconds: float) -> None:
        """Leave the server alone for so long."""
        self._rest_until = time.monotonic() + seconds
        if self._shared:
            self._shared.rest(seconds)

    @property
    def resting(self) -> bool:
        """Whether the server is left alone, by this process or by all."""
        return time.monotonic() < self._rest_until or bool(self._shared and self._shared.resting())


@dataclass(frozen=True, slots=True)
class Call:
    """One request to LangSmith."""

    method: Literal["GET", "POST"]
    path: str
    rate: Rate
    """The published limit that counts it."""
    body: Any = None
    query: Any = None


class LangSmithHttp:
    """Calls LangSmith; answers are raw bytes, faults are errors of `lse`."""

    def __init__(
        self, settings: Settings, patience: Patience | None = None, rates: Rates | None = None
    ) -> None:
        self._patience = patience or Patience()
        self._endpoint = settings.langsmith_endpoint
        self._session = _Session(self._patience)
        self._client = _client(settings, self._session)
        self._limited = settings.langsmith_rate_limit
        self._rates = rates or Rates()

    def call(self, call: Call, read: Callable[[bytes], T]) -> T:
        """What `read` makes of a successful answer; an answer that `read` finds faulty is asked for again.

        Raises `AccessError`, `NotServed`, `Refused`, `ConfigurationError`, or `TemporaryError` once the
        patience is used up.
        """
        return self.retry(lambda: self.ask(call, read))

    def ask(self, call: Call, read: Callable[[bytes], T]) -> T:
        """The same, asked only once."""
        return read(self._send(call))

    def retry(self, work: Callable[[], T]) -> T:
        """What `work` gives, tried again while it raises `TemporaryError` and the patience lasts.

        For a while after the patience ran out, nothing is tried any more: a server that is down is not
        asked again for every day of a long range.
        """
        if self._rates.resting:
            raise TemporaryError(
                "LangSmith did not answer a moment ago and is not asked again yet.", hint="Try again later."
            )
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TemporaryError),
            stop=self._stop,
            wait=self._wait,
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            return retrying(work)
        except TemporaryError:
            self._rates.rest(self._patience.rest)
            raise

    @property
    def waited(self) -> float:
        """Seconds spent waiting for the rates, over all of them."""
        return self._rates.waited

    @property
    def requests(self) -> int:
        """How many requests were sent, those that were repeated included."""
        return self._session.sent

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def sdk(self, what: str, work: Callable[[Client], T]) -> T:
        """What `work` gives when it calls LangSmith through the SDK's client; it is done once, see `retry`.

        `what` names the work in messages. Errors are those of `call`.
        """
        self._wait_for(LIMITS["general"])
        try:
            return work(self._client)
        except LangSmithError as error:
            raise _own_cause(error, what) from None
        except (ValueError, KeyError, TypeError) as error:  # what the SDK makes of answers of an odd form
            raise TemporaryError(f"LangSmith's answer to {what} is odd ({type(error).__name__}).") from None

    def _send(self, call: Call) -> bytes:
        self._wait_for(call.rate)
        kwargs: dict[str, Any] = {"params": call.query} if call.query else {}
        if call.body is not None:
            kwargs["data"] = json.dumps(call.body).encode()
        try:
            return self._client.request_with_retries(call.method, call.path, request_kwargs=kwargs).content
        except LangSmithError as error:
            # The SDK wraps whatever the session raises; ours is the cause.
            raise _own_cause(error, call.path) from None

    def _wait_for(self, rate: Rate) -> None:
        if self._limited:
            self._rates.wait(rate)

    def _stop(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        limit = self._patience.unreachable if isinstance(error, Unreachable) else self._patience.total
        return (state.seconds_since_start or 0) + self._wait(state) > limit

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TemporaryError) and error.retry_after is not None:
            return min(error.retry_after, self._patience.longest_wait)
        backoff = tenacity.wait_random_exponential(self._patience.first_wait, self._patience.longest_wait)
        return backoff(state)


class _Session(requests.Session):
    """A session that follows no redirect with our key, reads with a deadline and raises errors of `lse`."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience
        self._counting = Lock()
        self.sent = 0

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        path = request.path_url.partition("?")[0]
        kwargs |= {
            "stream": True,
            "allow_redirects": False,
            "timeout": (self._patience.connect, self._patience.read),
        }
        with self._counting:
            self.sent += 1
        try:
            response = super().send(request, **kwargs)
            with response:
                content = self._read(response, path)
        except (requests.ConnectTimeout, requests.exceptions.SSLError, requests.ConnectionError) as error:
            raise _unreachable_or_cut(error, path) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise TooMuch(f"LangSmith's answer to {path} broke off ({type(error).__name__}).") from None
        response._content = content
        _raise_for_status(response, path)
        return response

    def _read(self, response: requests.Response, path: str) -> bytes:
        deadline = time.monotonic() + self._patience.body
        blocks = []
        # `read1` gives what is there; `iter_content` would wait for a whole block, however slowly it comes.
        while block := response.raw.read1(2**16, decode_content=True):
            blocks.append(block)
            if time.monotonic() > deadline:
                raise TooMuch(f"LangSmith's answer to {path} took over {self._patience.body:.0f} s.")
        return b"".join(blocks)


def _client(settings: Settings, session: requests.Session) -> Client:
    key = settings.langsmith_api_key
    if key is None:
        raise ConfigurationError(
            "LANGSMITH_API_KEY is not set.",
            hint="Create a key in LangSmith under Settings, API Keys; set it in the environment or `.env`.",
        )
    try:
        return Client(
            api_url=settings.langsmith_endpoint,
            api_key=key.get_secret_value(),
            workspace_id=settings.langsmith_workspace_id,
            session=session,
            retry_config=Retry(0, respect_retry_after_header=False),
            auto_batch_tracing=False,
            info={},
        )
    except (LangSmithError, ValueError) as error:
        raise ConfigurationError(
            f"The LangSmith client cannot be set up ({type(error).__name__}).",
            hint="Check LANGSMITH_ENDPOINT; see `lse config`.",
        ) from None


def _own_cause(error: BaseException, path: str) -> LseError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LseError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return LseError(f"The LangSmith SDK failed at {path} ({type(error).__name__}).")


def _unreachable_or_cut(error: Exception, path: str) -> TemporaryError:
    """A refused connection is worth few retries; a connection that broke is worth many."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError) or reason is not None:
        return Unreachable(
            f"LangSmith cannot be reached ({type(reason or error).__name__}).",
            hint="Check LANGSMITH_ENDPOINT and the network; `lse doctor` tries each connection.",
        )
    return TooMuch(f"The connection to LangSmith broke at {path} ({type(error).__name__}).")


def _raise_for_status(response: requests.Response, path: str) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    said, wait = f"LangSmith answered {status} to {path}.", retry_after_seconds(response.headers)
    if status == 413 or status in _PERHAPS_TOO_MUCH:
        raise TooMuch(said, weight=2 if status == 413 else 1, retry_after=wait)
    if status in _TEMPORARY or status > 504:
        raise TemporaryError(said, hint="Try again later.", retry_after=wait)
    _raise_final(status, path, "json" in response.headers.get("Content-Type", ""))


def _raise_final(status: int, path: str, from_langsmith: bool) -> NoReturn:
    if status == 403 and not from_langsmith:
        raise AccessError(
            f"Something between here and LangSmith refused the request (403 at {path}, not LangSmith's own).",
            hint="Ask whoever runs the proxy or firewall to let LANGSMITH_ENDPOINT through.",
        )
    if status in (401, 403):
        raise AccessError(
            f"LangSmith refused the key ({status} at {path}).",
            hint="Check LANGSMITH_API_KEY and, for a key of an organisation, LANGSMITH_WORKSPACE_ID.",
        )
    if status in (404, 405, 410):
        raise NotServed(f"LangSmith has no {path} ({status}).", hint="Check LANGSMITH_ENDPOINT.")
    if status < 400:
        raise ConfigurationError(
            f"LangSmith redirects {path} ({status}); a key is never sent to another address.",
            hint="Set LANGSMITH_ENDPOINT to the final address.",
        )
    if status == 409:
        raise Conflict(f"LangSmith says that {path} is there already (409).")
    raise Refused(f"LangSmith refused the request to {path} ({status}).")


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    # The first faults of a call pass unnoticed; what lasts is said once, since a call may go on for minutes.
    level = logging.WARNING if state.attempt_number == _WORTH_A_WARNING else logging.INFO
    logger.log(level, "%s Trying again in %.1f s (attempt %d).", error, wait, state.attempt_number)
