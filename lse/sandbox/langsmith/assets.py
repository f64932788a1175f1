"""Feedback, stored files, datasets and examples of the v1 API."""

from collections.abc import Callable

from lse.sandbox.http import Request, Response, json_response, raw_json, route
from lse.sandbox.langsmith import ingest, times
from lse.sandbox.langsmith.base import Base, array, body_of, paging
from lse.sandbox.langsmith.datasets import Datasets, Example, multipart_examples
from lse.sandbox.langsmith.feedback import CHANGEABLE, Feedback
from lse.sandbox.langsmith.ingest import Part
from lse.sandbox.langsmith.query import BadRequest
from lse.sandbox.langsmith.runs import Attachment

_EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


class Assets(Base):
    """Routes for what stands beside runs."""

    @property
    def datasets(self) -> Datasets:
        """The datasets of this server."""
        return self.state.datasets

    @route("GET", "/blob/{key:path}")
    def read_blob(self, request: Request) -> Response:
        """Stored bytes; the address itself is the right to read them, until it expires."""
        key, expires = request.params["key"], request.arg("expires", "0")
        if not expires.isdigit() or not self.state.blobs.allows(key, expires, request.arg("signature")):
            return Response(403, {"Content-Type": "application/xml"}, _EXPIRED)
        found = self.state.blob(key)
        if found is None:
            return Response(
                404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>"
            )
        return Response(200, {"Content-Type": found[0]}, found[1])

    # --- feedback

    @route("GET", "/feedback")
    def list_feedback(self, request: Request) -> Response:
        limit, offset = paging(request)
        found = self.state.feedback_store.find(request.query.get("run", []), _feedback_wanted(request))
        return array(item.text() for item in found[offset : offset + limit])

    @route("POST", "/feedback")
    def create_feedback(self, request: Request) -> Response:
        item = self.state.read_feedback(request.body)
        self.state.add_feedback(item)
        return raw_json(item.text())

    @route("GET", "/feedback/{id}")
    def read_feedback(self, request: Request) -> Response:
        return raw_json(self._feedback(request).text())

    @route("PATCH", "/feedback/{id}")
    def update_feedback(self, request: Request) -> Response:
        changes = {key: text for key, text in ingest.members(request.body).items() if key in CHANGEABLE}
        return raw_json(self.state.change_feedback(self._feedback(request), changes).text())

    @route("DELETE", "/feedback/{id}")
    def delete_feedback(self, request: Request) -> Response:
        self.state.drop_feedback(self._feedback(request))
        return json_response({"message": "Feedback deleted"})

    def _feedback(self, request: Request) -> Feedback:
        found = self.state.feedback_store.get(request.params["id"])
        if found is None:
            raise BadRequest("Feedback not found", 404)
        return found

    # --- datasets

    @route("POST", "/datasets")
    def create_dataset(self, request: Request) -> Response:
        return json_response(self.datasets.create(body_of(request), self.state.now()).shown())

    @route("GET", "/datasets")
    def list_datasets(self, request: Request) -> Response:
        limit, offset = paging(request)
        ids = [text.lower() for text in request.query.get("id", [])]
        name, part = request.arg("name"), request.arg("name_contains")
        found = [
            dataset.shown()
            for dataset in self.datasets.all()
            if (not ids or dataset.id in ids) and name in ("", dataset.name) and part in dataset.name
        ]
        return json_response(found[offset : offset + limit])

    @route("GET", "/datasets/{id}")
    def read_dataset(self, request: Request) -> Response:
        return json_response(self.datasets.get(request.params["id"]).shown())

    @route("DELETE", "/datasets/{id}")
    def delete_dataset(self, request: Request) -> Response:
        self.datasets.drop(self.datasets.get(request.params["id"]))
        return json_response({"message": "Dataset deleted"})

    # --- examples

    @route("POST", "/platform/datasets/{id}/examples")
    @route("POST", "/v1/platform/datasets/{id}/examples")
    def upload_examples(self, request: Request) -> Response:
        body = ingest.decode(request.body, request.headers.get("Content-Encoding", ""))
        sent = multipart_examples(ingest.multipart(body, request.headers.get("Content-Type", "")))
        self.datasets.refuse_known(sent)
        now, made = self.state.now(), []
        for example_id, (members, files) in sent.items():
            example = self.datasets.add(request.params["id"], self._with_run(members), now, example_id)
            example.files |= {name: self._keep(example, name, part) for name, part in files.items()}
            made.append(example.id)
        return json_response({"count": len(made), "example_ids": made, "as_of": now.isoformat()}, 201)

    @route("POST", "/examples/bulk")
    def create_examples(self, request: Request) -> Response:
        sent = [ingest.members(text) for text in ingest.elements(request.body)]
        self.datasets.refuse_known(ingest.string(members.get("id")) for members in sent)
        return array([self._create(members).text(self.state.presigned) for members in sent])

    @route("PATCH", "/examples/bulk")
    def update_examples(self, request: Request) -> Response:
        sent = [ingest.members(text) for text in ingest.elements(request.body)]
        for members in sent:
            self.datasets.change(ingest.string(members.get("id")), members, self.state.now())
        return json_response({"message": f"{len(sent)} examples updated"})

    @route("DELETE", "/examples")
    def delete_examples(self, request: Request) -> Response:
        found = [self.datasets.example(text) for text in request.query.get("example_ids", [])]
        for example in found:
            self._delete(example)
        return json_response({"message": f"{len(found)} examples deleted"})

    @route("POST", "/examples")
    def create_example(self, request: Request) -> Response:
        return raw_json(self._create(ingest.members(request.body)).text(self.state.presigned))

    @route("GET", "/examples")
    def list_examples(self, request: Request) -> Response:
        limit, offset = paging(request)
        ids = [text.lower() for text in request.query.get("id", [])]
        wanted = request.arg("dataset")
        datasets = [self.datasets.get(wanted)] if wanted else self.datasets.all()
        found = [
            example
            for dataset in datasets
            for example in dataset.examples.values()
            if not ids or example.id in ids
        ]
        return array(item.text(self.state.presigned) for item in found[offset : offset + limit])

    @route("GET", "/examples/{id}")
    def read_example(self, request: Request) -> Response:
        return raw_json(self.datasets.example(request.params["id"]).text(self.state.presigned))

    @route("DELETE", "/examples/{id}")
    def delete_example(self, request: Request) -> Response:
        self._delete(self.datasets.example(request.params["id"]))
        return json_response({"message": "Example deleted"})

    def _delete(self, example: Example) -> None:
        del self.datasets.get(example.dataset_id).examples[example.id]

    def _create(self, members: dict[str, bytes]) -> Example:
        dataset_id = ingest.string(members.get("dataset_id"))
        return self.datasets.add(dataset_id, self._with_run(members), self.state.now())

    def _with_run(self, members: dict[str, bytes]) -> dict[str, bytes]:
        """The members of an example that asked for the inputs and outputs of its source run, with those."""
        run = self.state.runs.get(ingest.string(members.get("source_run_id")))
        if members.get("use_source_run_io") != b"true" or run is None:
            return members
        return members | {key: run.members[key] for key in ("inputs", "outputs") if key in run.members}

    def _keep(self, example: Example, name: str, part: Part) -> Attachment:
        key = f"examples/{example.id}/{name}"
        mime_type = part.content_type.split(";")[0].strip() or "application/octet-stream"
        self.state.blobs.put(key, mime_type, part.content)
        return Attachment(mime_type, key)


def _feedback_wanted(request: Request) -> Callable[[Feedback], bool]:
    """A test for the parameters of `GET /feedback`; both time bounds are inclusive."""
    low, high = times.moment(request.arg("min_created_at")), times.moment(request.arg("max_created_at"))
    sessions = [text.lower() for text in request.query.get("session", [])]
    keys, sources = request.query.get("key", []), request.query.get("source", [])
    level = request.arg("level")

    def wanted(item: Feedback) -> bool:
        source = item.values.get("feedback_source")
        return (
            (low is None or item.created >= low)
            and (high is None or item.created <= high)
            and (not sessions or str(item.values.get("session_id")).lower() in sessions)
            and (not keys or item.key in keys)
            and (not sources or (isinstance(source, dict) and source.get("type") in sources))
            and level in ("", "session" if item.run_id is None else "run")
            and _present(request, "has_comment", item.values.get("comment"))
            and _present(request, "has_score", item.values.get("score"))
        )

    return wanted


def _present(request: Request, name: str, value: object) -> bool:
    asked = request.arg(name).lower()
    return asked == "" or (asked == "true") is (value is not None)
