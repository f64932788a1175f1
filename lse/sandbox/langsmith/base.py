"""What all parts of the local LangSmith share: content, settings, keys, limits and the form of errors."""

import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from lse.sandbox.http import Refused, Request, Response, Server, json_response, raw_json
from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.limits import RateLimiter, kind_of, retry_after
from lse.sandbox.langsmith.query import (
    FIRST_ASCENDING,
    FIRST_DESCENDING,
    V1_PAGE,
    BadRequest,
    decode_cursor,
    encode_cursor,
    page,
)
from lse.sandbox.langsmith.runs import Run
from lse.sandbox.langsmith.state import LoadCounts, State

INFO: dict[str, Any] = {
    "version": "0.16.0",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
    },
}
"""What `GET /info` says by default; the figures are those that the SDK knows for the hosted service."""
V1_READS = frozenset({"query_runs", "read_run", "run_stats", "validate_query"})
OPEN = frozenset({"info", "read_blob", "unknown"})
WRITES = frozenset({"ingest_multipart", "ingest_batch", "post_run", "patch_run"})


class Base(Server):
    """The frame of the local LangSmith.

    Its own fault actions, for rules on the operations `query_runs`, `v2_query_runs` and `v2_query_traces`:

        repeated_cursor           the next cursor leads to the page just read
        empty_page_with_cursor    no runs, and a cursor that leads to the page that was due
        full_page_without_cursor  the walk seems to end although there is more
        shift                     the page begins so many runs later (negative: earlier, so runs come twice)
        cap                       another page limit, with the documented message (v1)
        v1_gone                   this status, 404 or 410, on the v1 reads of runs
    """

    prefixes = ("", "/api/v1")
    fault_actions = frozenset(
        {
            "repeated_cursor",
            "empty_page_with_cursor",
            "full_page_without_cursor",
            "shift",
            "cap",
            "v1_gone",
        }
    )

    def __init__(
        self,
        port: int = 0,
        *,
        api_key: str | None = None,
        rate_limits: bool = False,
        rate_scale: float = 1.0,
        seed: int = 0,
        ttl: timedelta | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        page_cap: int = V1_PAGE,
        offload_bytes: int | None = None,
        url_seconds: float = 3600,
        absolute_urls: bool = True,
        v1_gone: int | None = None,
        info: Mapping[str, Any] | None = None,
        flags: Mapping[str, bool] | None = None,
    ) -> None:
        """A server that holds nothing yet.

        `api_key`: required of every request but presigned ones, when given. `rate_limits`: answer 429 as
        documented; `rate_scale` stretches the windows. `ttl`, `now`: traces vanish `ttl` after their start.
        `page_cap`: most runs on a v1 page. `offload_bytes`: longer inputs and outputs are served by
        presigned address, which works for `url_seconds` and is relative unless `absolute_urls`. `v1_gone`:
        status (404 or 410) with which the v1 reads answer from the start. `info` and `flags` replace
        fields and `instance_flags` of `GET /info`.
        """
        super().__init__(port, seed=seed)
        self.api_key = api_key
        self.limiter = RateLimiter(scale=rate_scale) if rate_limits else None
        self.page_cap = page_cap
        self.v1_gone = v1_gone
        self.info_values = {**INFO, **(info or {})}
        self.flags = dict(flags or {})
        self.state = State(
            now=now,
            ttl=ttl,
            offload_bytes=offload_bytes,
            url_seconds=url_seconds,
            base_url=lambda: self.url if absolute_urls else "",
        )

    def load(self, lines: Iterable[bytes], project: str) -> LoadCounts:
        """Bring recorded runs, one JSON line each, into a project; see `State.load`."""
        with self.state.lock:
            return self.state.load(lines, project)

    def prepare(self, request: Request) -> None:
        """The v2 API stands beside `/api/v1`, never below it."""
        if request.path.startswith(("/api/v1/api/", "/api/v1/v2/", "/api/v1/v1/", "/api/v1/_sandbox/")):
            request.path = "/nowhere"

    def authorize(self, request: Request) -> None:
        """Check the key, whether the v1 API is still there, and the rate limit."""
        if request.operation not in OPEN and not self._has_key(request):
            raise Refused(self._denied(request))
        gone = request.faults.get("v1_gone", self.v1_gone)
        if gone and request.operation in V1_READS:
            raise Refused(self.failure(request, int(gone), HTTPStatus(int(gone)).phrase))
        if self.limiter is not None and request.operation not in OPEN:
            micros = times.micros(self.state.now())
            wait = self.limiter.wait(kind_of(request.operation, lambda: body_of(request), micros))
            if wait > 0:
                refusal = self.failure(request, 429, "Rate limit exceeded")
                refusal.headers["Retry-After"] = retry_after(wait)
                raise Refused(refusal)

    def respond(self, handler: Callable[[Request], Response], request: Request) -> Response:
        """What `handler` answers, one request at a time; a bad request in the form of its API."""
        with self.state.lock:
            self.state.expire()
            try:
                return super().respond(handler, request)
            except BadRequest as error:
                return self.failure(request, error.status, str(error))

    def error_response(self, status: int, reason: str = "") -> Response:
        """An error in a form that serves both APIs."""
        phrase = _phrase(status)
        return json_response({"detail": reason or phrase, "title": phrase, "status": status}, status)

    def failure(self, request: Request, status: int, detail: str) -> Response:
        """An error of the API that was asked: `{"detail": ...}`, or problem details (RFC 9457) in v2."""
        if not request.operation.startswith("v2_"):
            return json_response({"detail": detail}, status)
        problem = {"type": "about:blank", "title": _phrase(status), "status": status, "detail": detail}
        return json_response(problem, status, {"Content-Type": "application/problem+json"})

    def walk(
        self, request: Request, found: Sequence[Run], cursor: object, size: int, *, newest_first: bool = True
    ) -> tuple[list[Run], str | None]:
        """One page and the cursor to the next; a full page always has one, as at the real service."""
        faults = request.faults
        start = FIRST_DESCENDING if newest_first else FIRST_ASCENDING
        after = start if cursor is None else decode_cursor(cursor, newest_first=newest_first)
        runs = page(found, after, size, newest_first=newest_first, skip=int(faults.get("shift", 0)))
        here = encode_cursor(after, newest_first=newest_first)
        if "empty_page_with_cursor" in faults:
            return [], here
        if "full_page_without_cursor" in faults or len(runs) < size:
            return runs, None
        if "repeated_cursor" in faults:
            return runs, here
        return runs, encode_cursor(runs[-1].key, newest_first=newest_first)

    def _has_key(self, request: Request) -> bool:
        if self.api_key is None:
            return True
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key") or bearer
        return hmac.compare_digest(given.encode(), self.api_key.encode())

    def _denied(self, request: Request) -> Response:
        """Reads answer 401, ingestion 403, as the hosted service does."""
        if request.operation in WRITES:
            return json_response({"error": "Forbidden"}, 403)
        return self.failure(request, 401, "Invalid token")


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body, `{}` when it is empty; `BadRequest` (422) for anything else."""
    try:
        value = json.loads(request.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON", 422) from error
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object", 422)
    return value


def paging(request: Request, most: int = 100) -> tuple[int, int]:
    """`limit` and `offset` of a listing; `BadRequest` (422) above `most`."""
    try:
        limit, offset = int(request.arg("limit", str(most))), int(request.arg("offset", "0"))
    except ValueError as error:
        raise BadRequest("limit and offset are integers", 422) from error
    if not 1 <= limit <= most or offset < 0:
        raise BadRequest(f"limit must be between 1 and {most}, offset at least 0", 422)
    return limit, offset


def array(items: Iterable[bytes], status: int = 200) -> Response:
    """JSON texts as one array."""
    return raw_json(b"[" + b",".join(items) + b"]", status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
