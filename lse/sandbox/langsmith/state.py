"""Everything the server holds, and the two ways in: what SDKs send, and recorded runs as JSON lines."""

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lse.archive import jsontext
from lse.errors import UsageError
from lse.sandbox.langsmith import ingest, times
from lse.sandbox.langsmith.blobs import Blobs
from lse.sandbox.langsmith.datasets import Datasets
from lse.sandbox.langsmith.feedback import Feedback, FeedbackStore
from lse.sandbox.langsmith.ingest import Batch, Operation, Upload
from lse.sandbox.langsmith.projects import Project, Projects, project_id
from lse.sandbox.langsmith.query import BadRequest
from lse.sandbox.langsmith.runs import Attachment, BadRun, Run, Runs, Trace, lenient

EXTENDED = timedelta(days=400)
PAYLOADS = ("inputs", "outputs")


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What a load brought in: lines read, runs and traces they describe."""

    lines: int
    runs: int
    traces: int


class State:
    """The content of one sandbox LangSmith. Hold `lock` around whatever must be seen as one."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ttl: timedelta | None = None,
        offload_bytes: int | None = None,
        url_seconds: float = 3600,
        base_url: Callable[[], str] = lambda: "",
    ) -> None:
        """`ttl`: traces vanish so long after they were received. `offload_bytes`: longer inputs and outputs
        are served by address. `base_url()` goes before presigned paths."""
        self.lock = threading.RLock()
        self.now = now
        self.ttl = ttl
        self.offload_bytes = offload_bytes
        self.base_url = base_url
        self.projects = Projects()
        self.runs = Runs()
        self.feedback_store = FeedbackStore()
        self.datasets = Datasets()
        self.blobs = Blobs(timedelta(seconds=url_seconds), now)
        self.extra_members: set[str] = set()
        self._upgraded: tuple[int, set[str]] = (-1, set())
        self._waiting: dict[str, list[Mapping[str, bytes]]] = {}
        self._files: dict[str, dict[str, Attachment]] = {}

    # --- what filters and projections ask

    def trace_of(self, run: Run) -> Trace:
        """The trace of a run."""
        return self.runs.trace_of(run)

    def tokens(self, run: Run) -> int:
        """All tokens of a run and its descendants."""
        return self.trace_of(run).total(run).total_tokens

    def feedback(self, run_id: str) -> Sequence[Feedback]:
        """The feedback on a run, oldest first."""
        return self.feedback_store.on(run_id)

    def feedback_on(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """The same as plain values."""
        return [item.values for item in self.feedback_store.on(run_id)]

    def upgraded(self, trace: Trace) -> bool:
        """Whether feedback moved the trace to the long retention."""
        version, traces = self._upgraded
        if version != self.runs.version:
            extending = (item.run_id for item in self.feedback_store if item.extends_retention)
            found = (self.runs.get(run_id) for run_id in extending if run_id)
            traces = {run.trace_id for run in found if run}
            self._upgraded = (self.runs.version, traces)
        return trace.id in traces

    def offloaded(self, run: Run, key: str) -> bool:
        """Whether the v1 API serves this member by address."""
        if self.offload_bytes is None or key not in PAYLOADS:
            return False
        return len(run.members.get(key, b"")) > self.offload_bytes

    def presigned(self, key: str) -> str:
        """An address for stored bytes that expires."""
        return self.base_url() + self.blobs.path(key)

    def blob(self, key: str) -> tuple[str, bytes] | None:
        """The kind and the bytes under a blob key: an attachment, or a payload of a run."""
        kind, _, rest = key.partition("/")
        if kind == "runs":
            run_id, _, member = rest.partition("/")
            run = self.runs.get(run_id)
            return ("application/json", run.members[member]) if run and member in run.members else None
        return self.blobs.get(key)

    # --- retention

    def expire(self) -> None:
        """Forget the traces whose time is over; feedback gives a trace the long retention."""
        if self.ttl is None:
            return
        now, gone = self.now(), []
        for session_id in self.runs.sessions():
            for run in self.runs.between(session_id, None, times.micros(now - self.ttl)):
                trace = self.runs.trace(run.trace_id)
                if trace is not None and trace.received < now - self._retention(trace):
                    gone += list(trace.runs.values())
                    self.runs.drop(trace.runs.values())
        for run in gone:
            for item in list(self.feedback(run.id)):
                self.feedback_store.drop(item)

    def _retention(self, trace: Trace) -> timedelta:
        ttl = self.ttl or EXTENDED
        return max(ttl, EXTENDED) if self.upgraded(trace) else ttl

    # --- projects

    def forget_project(self, project: Project) -> None:
        """Drop a project with all its runs."""
        self.runs.drop(self.runs.between(project.id))
        self.projects.drop(project)

    def project_start(self, project: Project) -> datetime:
        """When the project began: as stated, else with its first run."""
        first = self.runs.first(project.id)
        return project.start or (first.start if first else times.EPOCH)

    # --- what SDKs send

    def receive(self, batch: Batch) -> None:
        """Carry out one request's operations in order; `BadRequest` at the first that cannot be."""
        for upload in batch.uploads:
            self._keep_file(upload)
        for item in batch.operations:
            self._apply(item)
        for content in batch.feedback:
            self.add_feedback(self.read_feedback(content))

    def _keep_file(self, upload: Upload) -> None:
        key = f"attachments/{upload.run_id}/{upload.name}"
        self.blobs.put(key, upload.mime_type, upload.content)
        files = self._files.setdefault(upload.run_id, {})
        files[upload.name] = Attachment(upload.mime_type, key)
        if run := self.runs.get(upload.run_id):
            self.runs.put(replace(run, attachments=dict(sorted(files.items()))))

    def _apply(self, change: Operation, project: Project | None = None) -> None:
        """A post makes a run once; a patch changes it, or waits for its post."""
        known = self.runs.get(change.run_id)
        if change.verb == "patch":
            if known is None:
                self._waiting.setdefault(change.run_id, []).append(change.members)
            else:
                self._build(ingest.merged(known.members, [change.members]), known.session_id)
        elif known is None:
            members = ingest.merged(change.members, self._waiting.pop(change.run_id, []))
            home = project or self._home(change)
            self._build(members, home.id)

    def _build(self, members: dict[str, bytes], session_id: str) -> None:
        try:
            run = Run.read(members, session_id)
        except BadRun as error:
            raise BadRequest(str(error), 422) from error
        files = dict(sorted(self._files.get(run.id, {}).items()))
        self._keep([replace(run, attachments=files)])

    def _keep(self, runs: Sequence[Run]) -> None:
        if len(runs) == 1:
            self.runs.put(runs[0])
        else:
            self.runs.put_all(runs)
        for run in runs:
            self.extra_members.update(run.members)

    def _home(self, change: Operation) -> Project:
        """The project that a new run names, created by its first run."""
        if change.session_id and (project := self.projects.get(change.session_id)):
            return project
        if change.session_id and not change.session_name:
            raise BadRequest("Session not found", 404)
        return self.projects.ensure(change.session_name or "default")

    # --- feedback

    def read_feedback(self, content: bytes) -> Feedback:
        """The feedback that a client sent, with what the server adds; `BadRequest` (422) without a key."""
        found = {key: text for key, text in ingest.members(content).items() if text != b"null"}
        values = {key: lenient(text) for key, text in found.items()}
        if not isinstance(values.get("key"), str):
            raise BadRequest("feedback needs a key", 422)
        stated = values.get("id")
        item_id = stated.lower() if isinstance(stated, str) else str(uuid.uuid4())
        run_id = values.get("run_id") or values.get("trace_id")
        created = times.moment(values.get("created_at")) or self.now()
        run = self.runs.get(run_id) if isinstance(run_id, str) else None
        derived = {"id": item_id, "run_id": run_id}
        if run is not None:
            derived |= {"trace_id": run.trace_id, "session_id": run.session_id}
        texts = {key: json.dumps(value).encode() for key, value in derived.items()}
        return Feedback(
            members=texts | found,
            values=derived | values,
            id=item_id,
            run_id=run_id.lower() if isinstance(run_id, str) else None,
            key=values["key"],
            created=created,
            modified=times.moment(values.get("modified_at")) or created,
        )

    def add_feedback(self, item: Feedback) -> None:
        """Keep feedback; statistics of its run show it at once."""
        self.feedback_store.put(item)
        self.runs.changed()

    def drop_feedback(self, item: Feedback) -> None:
        """Forget feedback."""
        self.feedback_store.drop(item)
        self.runs.changed()

    def change_feedback(self, item: Feedback, changes: Mapping[str, bytes]) -> Feedback:
        """Replace members of feedback; it counts as modified now."""
        parsed = {key: lenient(text) for key, text in changes.items()}
        changed = replace(
            item,
            members={**item.members, **changes},
            values={**item.values, **parsed},
            modified=self.now(),
        )
        self.add_feedback(changed)
        return changed

    # --- recorded runs

    def load(self, lines: Iterable[bytes], project: str) -> LoadCounts:
        """Bring recorded runs into a project, created when missing.

        A line is one run as LangSmith serves it, kept and served text for text, or a batch as SDKs send it:
        `{"post": [...], "patch": [...]}`, also wrapped as `{"batch": ...}`. What a line lacks (parents,
        status, session) is derived. A run that is already there is replaced. `UsageError` names the first
        bad line; then nothing is loaded.
        """
        home = self.projects.named(project)
        session_id = home.id if home else project_id(project)
        count = 0
        runs: list[Run] = []
        changes: list[Operation] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            count += 1
            try:
                for item in read_line(line.strip(), session_id):
                    if isinstance(item, Run):
                        runs.append(item)
                    else:
                        changes.append(item)
            except (BadRun, BadRequest, jsontext.MalformedJson) as error:
                raise UsageError(
                    f"line {number}: {error}", hint="Each line is one run, or one batch with post and patch."
                ) from error
        home = self.projects.ensure(project)
        self._keep(runs)
        for change in changes:
            self._apply(change, home)
        ids = {run.id for run in runs} | {change.run_id for change in changes}
        kept = [run for run_id in ids if (run := self.runs.get(run_id))]
        return LoadCounts(count, len(kept), len({run.trace_id for run in kept}))


def read_line(line: bytes, session_id: str) -> Iterator[Run | Operation]:
    """What one line holds: a run, or the operations of a batch."""
    parsed = ingest.check(line)
    members = dict(jsontext.members(line))
    if not members.keys() & {"post", "patch", "batch"} or "id" in members:
        yield Run.read(members, session_id, parsed=parsed, verbatim=True)
        return
    for batch in ingest.batches_in(members):
        for verb in ("post", "patch"):
            for text in jsontext.elements(batch.get(verb, b"[]")):
                change = ingest.operation(verb, ingest.members(text))
                if verb == "post":
                    Run.read(change.members, session_id)
                yield change
