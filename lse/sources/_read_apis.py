"""LangSmith's two read APIs: how a window is asked for, and how a page is read.

Both ask for all runs of all traces whose root started in the window. The bound on the root keeps traces
whole; the bound on each run, a minute earlier for clocks that disagree, keeps the server from reading
its whole history. Runs have an upper bound only where the window names one, since a child may start long
after its root (v2 refuses windows of more than 401 days, so there it is 400 days).

A share link opens a trace to the public and is no part of it, so it is not asked for.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from lse.langsmith.limits import LIMITS, Rate
from lse.sources import Project, Window

_SKEW = timedelta(seconds=60)
_LONGEST_WINDOW = timedelta(days=400)
_RECENT = timedelta(days=7)  # up to this length of a window, v1 allows the faster rate


class ReadApi(Protocol):
    """One way to read runs."""

    name: str
    path: str
    items: str
    """The key of the answer that holds the runs."""
    page_size: int
    """The most runs that one page may hold."""

    def query(self, window: Window, cursor: str | None, size: int) -> dict[str, Any]:
        """The body that asks for one page of at most `size` runs."""

    def query_some(self, project: Project, run_ids: Sequence[UUID]) -> dict[str, Any]:
        """The body that asks for the ids and links of up to 100 runs."""

    def query_expiry(self, window: Window) -> dict[str, Any] | None:
        """The body that asks how long the first traces are kept; None where the API does not say."""

    def cursor(self, answer: Mapping[str, bytes]) -> str | None:
        """The cursor of the next page in an answer's members, or None at the end."""

    def rate(self, window: Window) -> Rate:
        """The published limit for this window."""


class _V1:
    """`POST /runs/query`. LangSmith removes it after 31 January 2027."""

    name = "v1"
    path = "/runs/query"
    items = "runs"
    page_size = 100

    # Every field but those that cost a slower rate (child_run_ids), repeat others (messages, manifest,
    # direct children) or replace a value by a link (the *_or_signed_url family).
    fields = tuple(
        """
        id name run_type start_time end_time status error extra events inputs inputs_preview inputs_s3_urls
        outputs outputs_preview outputs_s3_urls s3_urls parent_run_id manifest_id manifest_s3_id session_id
        serialized reference_example_id reference_dataset_id total_tokens prompt_tokens prompt_token_details
        completion_tokens completion_token_details total_cost prompt_cost prompt_cost_details completion_cost
        completion_cost_details price_model_id first_token_time trace_id dotted_order last_queued_at
        feedback_stats parent_run_ids tags in_dataset app_path trace_tier
        trace_first_received_at ttl_seconds trace_upgrade thread_id trace_min_max_start_time inserted_at
        """.split()
    )

    def query(self, window: Window, cursor: str | None, size: int) -> dict[str, Any]:
        body = {
            **self.count(window, roots=False),
            "order": "asc",
            "limit": size,
            "select": list(self.fields),
        }
        return {**body, "cursor": cursor} if cursor else body

    def query_some(self, project: Project, run_ids: Sequence[UUID]) -> dict[str, Any]:  # noqa: ARG002
        links = ["inputs_s3_urls", "outputs_s3_urls", "s3_urls"]
        ids = list(map(str, run_ids))
        return {"id": ids, "limit": len(ids), "select": ["id", "trace_id", "dotted_order", *links]}

    def query_expiry(self, window: Window) -> dict[str, Any] | None:
        fields = ["id", "trace_first_received_at", "ttl_seconds"]
        return {
            **self.count(window, roots=True),
            "order": "asc",
            "limit": self.page_size,
            "select": fields,
        }

    def count(self, window: Window, *, roots: bool) -> dict[str, Any]:
        """The body that asks `/runs/stats` for the number of runs, or of root runs, in the window."""
        begin, end = _run_bounds(window)
        body: dict[str, Any] = {"session": [window.project.id], "start_time": _stamp(begin)}
        if end is not None:
            body["end_time"] = _stamp(end)
        if window.whole_traces:
            body["trace_filter"] = _root_bounds(window)
        return {**body, "is_root": True} if roots else body

    def cursor(self, answer: Mapping[str, bytes]) -> str | None:
        cursors = json.loads(answer["cursors"])
        following = cursors.get("next") if isinstance(cursors, dict) else None
        return str(following) if following else None

    def rate(self, window: Window) -> Rate:
        """By how long runs may start in the window; one without an end lasts until now."""
        begin, end = _run_bounds(window)
        return LIMITS["v1_recent" if (end or datetime.now(UTC)) - begin <= _RECENT else "v1_older"]


class _V2:
    """`POST /api/v2/runs/query`."""

    name = "v2"
    path = "/api/v2/runs/query"
    items = "items"
    page_size = 1000

    fields = tuple(
        """
        ID NAME RUN_TYPE STATUS START_TIME END_TIME LATENCY_SECONDS FIRST_TOKEN_TIME ERROR ERROR_PREVIEW EXTRA
        METADATA EVENTS INPUTS INPUTS_PREVIEW OUTPUTS OUTPUTS_PREVIEW MANIFEST PARENT_RUN_IDS PROJECT_ID
        TRACE_ID THREAD_ID DOTTED_ORDER IS_ROOT REFERENCE_EXAMPLE_ID REFERENCE_DATASET_ID TOTAL_TOKENS
        PROMPT_TOKENS COMPLETION_TOKENS TOTAL_COST PROMPT_COST COMPLETION_COST PROMPT_TOKEN_DETAILS
        COMPLETION_TOKEN_DETAILS PROMPT_COST_DETAILS COMPLETION_COST_DETAILS PRICE_MODEL_ID TAGS APP_PATH
        ATTACHMENTS THREAD_EVALUATION_TIME IS_IN_DATASET LAST_QUEUED_AT FEEDBACK_STATS LS_USER_ID
        """.split()
    )

    def query(self, window: Window, cursor: str | None, size: int) -> dict[str, Any]:
        begin, end = _run_bounds(window)
        if end is None and datetime.now(UTC) - begin > _LONGEST_WINDOW:
            end = begin + _LONGEST_WINDOW
        body: dict[str, Any] = {
            "project_ids": [window.project.id],
            "min_start_time": _stamp(begin),
            "page_size": size,
            "selects": list(self.fields),
        }
        if window.whole_traces:
            body["trace_filter"] = _root_bounds(window)
        if end is not None:
            body["max_start_time"] = _stamp(end)
        return {**body, "cursor": cursor} if cursor else body

    def query_some(self, project: Project, run_ids: Sequence[UUID]) -> dict[str, Any]:
        return {
            "project_ids": [project.id],
            "ids": list(map(str, run_ids)),
            "page_size": len(run_ids),
            "min_start_time": _stamp(datetime.now(UTC) - _LONGEST_WINDOW),
            "selects": ["ID", "TRACE_ID", "DOTTED_ORDER", "ATTACHMENTS"],
        }

    def query_expiry(self, window: Window) -> dict[str, Any] | None:  # noqa: ARG002 - no field says it
        return None

    def cursor(self, answer: Mapping[str, bytes]) -> str | None:
        following = json.loads(answer.get("next_cursor", b"null"))
        return str(following) if following else None

    def rate(self, window: Window) -> Rate:  # noqa: ARG002 - one limit for every window
        return LIMITS["v2"]


def late_from(window: Window) -> datetime:
    """Until when runs may start for a window to count as a short one, which v1 reads at the faster rate."""
    return window.start - _SKEW + _RECENT


V1 = _V1()
V2 = _V2()


def _run_bounds(window: Window) -> tuple[datetime, datetime | None]:
    """When the wanted runs start: from, and before; no upper bound means until now."""
    if not window.whole_traces:
        return window.start, window.end
    return window.runs_from or window.start - _SKEW, window.runs_until


def _root_bounds(window: Window) -> str:
    return f'and(gte(start_time, "{_stamp(window.start)}"), lt(start_time, "{_stamp(window.end)}"))'


def _stamp(time: datetime) -> str:
    """ISO 8601 with the zone: how LangSmith reads a bound without one is not documented."""
    return time.astimezone(UTC).isoformat()
