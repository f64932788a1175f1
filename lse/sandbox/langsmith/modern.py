"""The v2 API: its own names, defaults and limits over the same runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lse.sandbox.http import Request, Response, json_response, raw_json, route
from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.base import Base, body_of
from lse.sandbox.langsmith.projection import v2_run
from lse.sandbox.langsmith.projects import TENANT, Project
from lse.sandbox.langsmith.query import (
    BadRequest,
    Query,
    read_filter,
    select,
    v2_page_size,
    v2_query,
    v2_selects,
)
from lse.sandbox.langsmith.runs import Run
from lse.sandbox.langsmith.stats import run_stats

TRACES_PAGE = 100
TRACES_DEFAULT_PAGE = 20
SESSIONS_PAGE = 100
SESSIONS_DEFAULT_PAGE = 20
_OF_TRACE = ("TOTAL_TOKENS", "TOTAL_COST", "FIRST_TOKEN_TIME")


class Modern(Base):
    """Routes of the v2 API, under `/api/v2` and `/v2`."""

    @route("POST", "/api/v2/runs/query")
    @route("POST", "/v2/runs/query")
    def v2_query_runs(self, request: Request) -> Response:
        body = body_of(request)
        size, selects = v2_page_size(body.get("page_size")), v2_selects(body.get("selects"))
        found = self._with_feedback_window(body, select(self.state.runs, self._question(body), self.state))
        runs, following = self.walk(request, found, body.get("cursor"), size)
        usage = body.get("include_subtree_usage") is True
        return _page((v2_run(run, selects, self.state, subtree_usage=usage) for run in runs), following)

    @route("GET", "/api/v2/runs/{id}")
    @route("GET", "/v2/runs/{id}")
    def v2_read_run(self, request: Request) -> Response:
        selects = v2_selects(request.query.get("selects"))
        run = self.state.runs.get(request.params["id"])
        if not request.arg("project_id"):
            raise BadRequest("project_id is required")
        if run is None or run.session_id != request.arg("project_id").lower():
            raise BadRequest("run not found", 404)
        return raw_json(v2_run(run, selects, self.state))

    @route("GET", "/api/v2/traces/{id}/runs")
    @route("GET", "/v2/traces/{id}/runs")
    def v2_trace_runs(self, request: Request) -> Response:
        """All runs of a trace in order of start, without paging; both bounds are inclusive."""
        bounds = [request.arg("min_start_time"), request.arg("max_start_time")]
        low, high = (times.moment(bound) for bound in bounds)
        if any(bounds) and (low is None or high is None):
            raise BadRequest("min_start_time and max_start_time go together and are dates with times")
        if not request.arg("project_id"):
            raise BadRequest("project_id is required")
        question = Query(
            sessions=(request.arg("project_id").lower(),),
            trace=request.params["id"].lower(),
            low=None if low is None else times.micros(low),
            high=None if high is None else times.micros(high) + 1,
            filter=read_filter({"filter": request.arg("filter")}, "filter"),
        )
        selects = v2_selects(request.query.get("selects"))
        runs = select(self.state.runs, question, self.state)
        return raw_json(_items(v2_run(run, selects, self.state) for run in runs) + b"}")

    @route("POST", "/api/v2/traces/query")
    @route("POST", "/v2/traces/query")
    def v2_query_traces(self, request: Request) -> Response:
        body = body_of(request)
        if not isinstance(body.get("project_id"), str):
            raise BadRequest("project_id is required")
        size = v2_page_size(body.get("page_size"), TRACES_DEFAULT_PAGE, TRACES_PAGE)
        selects = v2_selects(body.get("selects"))
        asked = {key: body[key] for key in body.keys() - {"trace_ids", "filter", "is_root"}}
        asked |= {"project_ids": [body["project_id"]], "ids": body.get("trace_ids"), "is_root": True}
        found = self._with_feedback_window(body, select(self.state.runs, self._question(asked), self.state))
        roots, following = self.walk(request, found, body.get("cursor"), size)
        return _page((self._trace(root, selects) for root in roots), following)

    @route("GET", "/api/v2/sessions")
    @route("GET", "/v2/sessions")
    def v2_list_sessions(self, request: Request) -> Response:
        size = v2_page_size(_number(request.arg("page_size")), SESSIONS_DEFAULT_PAGE, SESSIONS_PAGE)
        kinds = request.query.get("type", []) + request.query.get("type[]", [])
        found = [item for item in self.find_projects(request.query) if not kinds or item.kind in kinds]
        begin = _number(request.arg("cursor")) or 0
        stats = request.arg("include_stats").lower() == "true"
        shown = (json.dumps(self._session(item, stats)).encode() for item in found[begin : begin + size])
        return _page(shown, str(begin + size) if begin + size < len(found) else None)

    @route("GET", "/api/v2/sessions/{id}")
    @route("GET", "/v2/sessions/{id}")
    def v2_read_session(self, request: Request) -> Response:
        stats = request.arg("include_stats").lower() == "true"
        return json_response(self._session(self.project(request.params["id"]), stats))

    def project(self, session_id: str) -> Project:
        """The project with this id; `BadRequest` (404) without one."""
        found = self.state.projects.get(session_id)
        if found is None:
            raise BadRequest("Session not found", 404)
        return found

    def find_projects(self, asked: Mapping[str, Sequence[str]]) -> list[Project]:
        """The projects that the parameters of a listing ask for; latest first unless sorted otherwise."""

        def wanted(project: Project) -> bool:
            reference = project.reference_dataset_id
            references = [*asked.get("reference_dataset", ()), *asked.get("reference_dataset_id", ())]
            return (
                ("id" not in asked or project.id in [text.lower() for text in asked["id"]])
                and ("name" not in asked or project.name == asked["name"][0])
                and ("name_contains" not in asked or asked["name_contains"][0] in project.name)
                and (not references or reference in references)
                and ("reference_free" not in asked or _flag(asked, "reference_free") is (reference is None))
                and ("metadata" not in asked or _has_metadata(project, asked["metadata"][0]))
            )

        found = sorted((item for item in self.state.projects if wanted(item)), key=lambda item: item.name)
        if asked.get("sort_by", ["start_time"])[0].lower() == "name":
            return found if asked.get("sort_order", ["asc"])[0] == "asc" else found[::-1]
        return sorted(found, key=self.state.project_start, reverse=True)

    def _question(self, body: Mapping[str, Any]) -> Query:
        question = v2_query(body, self.state.now())
        dataset = body.get("reference_dataset_id")
        if not dataset:
            return question
        sessions = tuple(item.id for item in self.state.projects if item.reference_dataset_id == dataset)
        # An unknown dataset has no sessions; no sessions at all would mean every project.
        return replace(question, sessions=sessions or (str(dataset),))

    def _with_feedback_window(self, body: Mapping[str, Any], found: list[Run]) -> list[Run]:
        """Keep runs whose feedback was modified in the asked window (min inclusive, max exclusive)."""
        low = times.moment(body.get("min_feedback_modified_at"))
        high = times.moment(body.get("max_feedback_modified_at"))
        if low is None and high is None:
            return found
        if not any("feedback_" in str(body.get(f"{kind}filter")) for kind in ("", "trace_", "tree_")):
            raise BadRequest("feedback times require a feedback condition")
        return [
            run
            for run in found
            if any(
                (low is None or item.modified >= low) and (high is None or item.modified < high)
                for item in self.state.feedback(run.id)
            )
        ]

    def _trace(self, root: Run, selects: Sequence[str]) -> bytes:
        """A trace: aggregate fields beside the root's own."""
        of_root = [name for name in selects if name not in _OF_TRACE] or ["ID"]
        of_trace = [name for name in selects if name in _OF_TRACE]
        shown = b'{"root_run":' + v2_run(root, of_root, self.state)
        if of_trace:
            aggregates = v2_run(root, of_trace, self.state, subtree_usage=True)
            shown += b',"trace_aggregates":' + aggregates
        return shown + b"}"

    def _session(self, project: Project, stats: bool) -> dict[str, Any]:
        """A project as the v2 API shows it."""
        last = self.state.runs.last(project.id)
        tiers = {"shortlived": "SHORT_LIVED", "longlived": "LONG_LIVED"}
        shown = {
            "id": project.id,
            "tenant_id": TENANT,
            "name": project.name,
            "type": project.kind,
            "start_time": times.zulu(self.state.project_start(project)),
            "end_time": times.zulu(project.end) if project.end else None,
            "description": project.description,
            "extra": project.extra,
            "reference_dataset_id": project.reference_dataset_id,
            "default_dataset_id": project.default_dataset_id,
            "trace_tier": tiers.get(project.trace_tier or ""),
            "longlived_ttl_days": None,
            "last_run_start_time_live": times.zulu(last.start) if last else None,
        }
        return shown | (run_stats(self.state.runs.between(project.id), self.state.feedback) if stats else {})


def _items(items: Iterable[bytes]) -> bytes:
    return b'{"items":[' + b",".join(items) + b"]"


def _page(items: Iterable[bytes], following: str | None) -> Response:
    return raw_json(_items(items) + b',"next_cursor":' + json.dumps(following).encode() + b"}")


def _number(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise BadRequest("page_size and cursor must be those of an earlier answer") from error


def _flag(asked: Mapping[str, Sequence[str]], key: str) -> bool:
    return asked[key][0].lower() == "true"


def _has_metadata(project: Project, wanted: str) -> bool:
    try:
        pairs = json.loads(wanted)
    except ValueError as error:
        raise BadRequest("metadata must be a JSON object", 422) from error
    known = (project.extra or {}).get("metadata") or {}
    return all(key in known and known[key] == item for key, item in dict(pairs).items())
