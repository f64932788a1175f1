"""The local LangSmith: information, projects, the v1 reads, ingestion, and loading of recorded runs."""

import json
from typing import Any

from lse.errors import UsageError
from lse.sandbox.http import Request, Response, json_response, raw_json, route
from lse.sandbox.langsmith import ingest, times
from lse.sandbox.langsmith.assets import Assets
from lse.sandbox.langsmith.base import body_of, paging
from lse.sandbox.langsmith.ingest import Batch
from lse.sandbox.langsmith.modern import Modern
from lse.sandbox.langsmith.projection import page_run, whole_run
from lse.sandbox.langsmith.projects import TENANT, Project, project_id
from lse.sandbox.langsmith.query import BadRequest, Query, select, v1_limit, v1_query, v1_select
from lse.sandbox.langsmith.stats import run_stats


class LangSmithServer(Modern, Assets):
    """A LangSmith on this machine, on a port of its own: `with LangSmithServer(api_key="...") as server:`.

    The real SDK writes to it and reads from it under `server.url`, with or without `/api/v1`.
    """

    @route("GET", "/info")
    def info(self, _: Request) -> Response:
        flags = {
            "zstd_compression_enabled": ingest.HAS_ZSTD,
            "dataset_examples_multipart_enabled": True,
            "examples_multipart_enabled": True,
            "ch_query_enabled": True,
            "sdb_query_enabled": True,
        }
        return json_response({**self.info_values, "instance_flags": flags | self.flags})

    @route("POST", "/_sandbox/load")
    def load_lines(self, request: Request) -> Response:
        """Recorded runs, one JSON line each, into `?project=`; answers the counts."""
        name = request.arg("project")
        if not name:
            raise BadRequest("name the project: /_sandbox/load?project=NAME")
        try:
            counts = self.load(request.body.split(b"\n"), name)
        except UsageError as error:
            raise BadRequest(error.message) from error
        shown = {"lines": counts.lines, "runs": counts.runs, "traces": counts.traces}
        return json_response({"project": name, **shown})

    # --- projects

    @route("GET", "/sessions")
    def list_sessions(self, request: Request) -> Response:
        limit, offset = paging(request)
        stats = request.arg("include_stats").lower() == "true"
        found = self.find_projects(request.query)
        return json_response([self.session(project, stats) for project in found[offset : offset + limit]])

    @route("GET", "/sessions/{id}")
    def read_session(self, request: Request) -> Response:
        stats = request.arg("include_stats").lower() == "true"
        return json_response(self.session(self.project(request.params["id"]), stats))

    @route("POST", "/sessions")
    def create_session(self, request: Request) -> Response:
        values = body_of(request)
        name = values.get("name")
        if not isinstance(name, str) or not name:
            raise BadRequest("a project needs a name", 422)
        known = self.state.projects.named(name)
        if known is not None and request.arg("upsert").lower() != "true":
            raise BadRequest("Session already exists.", 409)
        if known is None:
            chosen = str(values.get("id") or project_id(name)).lower()
            known = self.state.projects.add(Project(chosen, name, times.moment(values.get("start_time"))))
        _change(known, values)
        return json_response(self.session(known))

    @route("PATCH", "/sessions/{id}")
    def update_session(self, request: Request) -> Response:
        project = self.project(request.params["id"])
        _change(project, body_of(request))
        return json_response(self.session(project))

    @route("DELETE", "/sessions/{id}")
    def delete_session(self, request: Request) -> Response:
        self.state.forget_project(self.project(request.params["id"]))
        return Response(202)

    def session(self, project: Project, stats: bool = False) -> dict[str, Any]:
        """A project as the v1 API shows it."""
        last = self.state.runs.last(project.id)
        shown = {
            "id": project.id,
            "tenant_id": TENANT,
            "name": project.name,
            "start_time": times.naive(self.state.project_start(project)),
            "end_time": times.naive(project.end) if project.end else None,
            "description": project.description,
            "extra": project.extra,
            "reference_dataset_id": project.reference_dataset_id,
            "default_dataset_id": project.default_dataset_id,
            "trace_tier": project.trace_tier,
            "last_run_start_time_live": times.naive(last.start) if last else None,
        }
        return shown | (run_stats(self.state.runs.between(project.id), self.state.feedback) if stats else {})

    # --- the v1 reads

    @route("POST", "/runs/query")
    def query_runs(self, request: Request) -> Response:
        body = body_of(request)
        limit = v1_limit(body, int(request.faults.get("cap", self.page_cap)))
        chosen = v1_select(body, self.state.extra_members)
        order = body.get("order") or "desc"
        if order not in ("asc", "desc"):
            raise BadRequest("order is asc or desc", 422)
        found = select(self.state.runs, v1_query(body), self.state)
        cursor = body.get("cursor")
        runs, following = self.walk(request, found, cursor, limit, newest_first=order == "desc")
        shown = b",".join(page_run(run, chosen, self.state) for run in runs)
        ends = json.dumps({"next": following, "prev": None}).encode()
        return raw_json(
            b'{"runs":[' + shown + b'],"cursors":' + ends + b',"search_cursors":null,"parsed_query":null}'
        )

    @route("GET", "/runs/{id}")
    def read_run(self, request: Request) -> Response:
        run = self.state.runs.get(request.params["id"])
        if run is None:
            raise BadRequest("Run not found", 404)
        return raw_json(whole_run(run, self.state))

    @route("POST", "/runs/stats")
    def run_stats(self, request: Request) -> Response:
        question = v1_query(body_of(request))
        answer = self.state.runs.cached(("stats", question), lambda: self._stats(question))
        return json_response(answer)

    def _stats(self, question: Query) -> dict[str, Any]:
        return run_stats(select(self.state.runs, question, self.state), self.state.feedback)

    @route("POST", "/runs/query/validate")
    def validate_query(self, request: Request) -> Response:
        """Whether the filters of a query can be read: `{"valid": ..., "errors": [...]}`."""
        try:
            v1_query(body_of(request))
        except BadRequest as error:
            return json_response({"valid": False, "errors": [str(error)]})
        return json_response({"valid": True, "errors": []})

    # --- ingestion

    @route("POST", "/runs/multipart")
    def ingest_multipart(self, request: Request) -> Response:
        parts = ingest.multipart(_decoded(request), request.headers.get("Content-Type", ""))
        self.state.receive(ingest.multipart_batch(parts))
        return json_response({"message": "Runs batch ingested"}, 202)

    @route("POST", "/runs/batch")
    def ingest_batch(self, request: Request) -> Response:
        self.state.receive(Batch(ingest.json_batch(_decoded(request))))
        return json_response({"message": "Runs batch ingested"}, 202)

    @route("POST", "/runs")
    def post_run(self, request: Request) -> Response:
        change = ingest.operation("post", ingest.members(_decoded(request)))
        self.state.receive(Batch([change]))
        return json_response({"message": "Run created"}, 202)

    @route("PATCH", "/runs/{id}")
    def patch_run(self, request: Request) -> Response:
        found = ingest.members(_decoded(request))
        change = ingest.operation("patch", {**found, "id": json.dumps(request.params["id"]).encode()})
        self.state.receive(Batch([change]))
        return json_response({"message": "Run updated"}, 202)


def _decoded(request: Request) -> bytes:
    return ingest.decode(request.body, request.headers.get("Content-Encoding", ""))


_CHANGEABLE: dict[str, type] = {
    "name": str,
    "description": str,
    "extra": dict,
    "reference_dataset_id": str,
    "default_dataset_id": str,
    "trace_tier": str,
}


def _change(project: Project, values: dict[str, Any]) -> None:
    """Take over what a client may say about a project; `BadRequest` (422) for a value of the wrong kind."""
    for key, kind in _CHANGEABLE.items():
        value = values.get(key)
        if value is not None and not isinstance(value, kind):
            raise BadRequest(f"{key} has the wrong type", 422)
        if value is not None:
            setattr(project, key, value)
    project.end = times.moment(values.get("end_time")) or project.end
