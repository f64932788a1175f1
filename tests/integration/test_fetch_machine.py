"""Whatever happens at the source and to fetches: nothing is lost, doubled, stale or falsely complete."""

import json
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lse.archive.fetch_record import read_fetch_record
from lse.archive.layout import trace_files
from lse.errors import TemporaryError
from lse.langsmith.http import Patience
from lse.models import ProjectDay, StepResult
from lse.pipeline import fetch
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.sources import Project, Window, _walk
from lse.sources._read_apis import V1, V2
from lse.sources.langsmith import LangSmithSource

DAY = ProjectDay("chat", date(2026, 1, 5))
PATIENT = Patience(
    connect=2, read=2, body=4, total=8, unreachable=1, longest_wait=0.01, first_wait=0.001, rest=0
)
HASTY = Patience(
    connect=2, read=2, body=4, total=0.02, unreachable=1, longest_wait=0.01, first_wait=0.001, rest=0
)
QUERY = "(v2_)?query_runs"
PAGE = 3
CALLS_THAT_LAST = ("fsync", "replace", "unlink", "rmdir")
"""What changes the disk for good; a fetch is killed just before one of them."""
FAULTS: list[dict[str, Any]] = [
    {"repeated_cursor": True},
    {"empty_page_with_cursor": True},
    {"full_page_without_cursor": True},
    {"body": "{}"},
    {"body": "null"},
    {"html": True},
    {"badjson": True},
    {"truncate": 100},
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 503},
    {"reset_before": True},
    {"reset_middle": True},
    {"handle_then_reset": True},
    {"shift": 2},
    {"shift": -2},
]

apis = st.sampled_from(["v1", "v2"])
traces = st.integers(1, 4)
runs = st.integers(0, 5)
"""Run 0 of a trace is its root."""
pages = st.integers(0, 4)


class FetchMachine(RuleBasedStateMachine):
    """One LangSmith with one project day, and the folder into which it is fetched again and again."""

    worth_lanes = 10**9

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        for api in (V1, V2):
            self.patches.setattr(type(api), "page_size", PAGE)
        self.patches.setattr(_walk, "_WORTH_LANES", self.worth_lanes)
        self.server = LangSmithServer().start()
        self.home = tempfile.TemporaryDirectory(prefix="lse-machine-")
        self.at_server: dict[UUID, dict[str, Any]] = {}
        self.starts: dict[UUID, int] = {}
        self.acknowledged: dict[UUID, bool] = {}
        """What finished fetches have archived: whether each run had ended."""
        self.killed = False
        self.count = 0

    def teardown(self) -> None:
        self.server.stop()
        self.home.cleanup()
        self.patches.undo()

    # --- what happens at the source

    @initialize(ended=st.booleans())
    def there_is_a_day(self, ended: bool) -> None:
        for trace in (1, 2):
            for number in range(4):
                self.appears(trace, number, 5 * trace + number, None, ended)

    @rule(trace=traces, number=runs, start=st.integers(0, 40), parent=st.none() | runs, ended=st.booleans())
    def appears(self, trace: int, number: int, start: int, parent: int | None, ended: bool) -> None:
        """A run, at any time of the day: after all others or dated back, also before its parents."""
        run, root = an_id(trace, number), an_id(trace, 0)
        if run in self.at_server:
            return
        start = self.starts.setdefault(run, start)
        above = an_id(trace, parent) if parent is not None and parent < number else root
        order = f"{stamp(self.starts.setdefault(root, 0))}{root}"
        self._put(
            {
                "id": str(run),
                "trace_id": str(root),
                "parent_run_id": str(above) if number else None,
                "parent_run_ids": [str(above)] if number else [],
                "run_type": "chain",
                "start_time": (DAY.start + timedelta(seconds=start)).isoformat(),
                "dotted_order": f"{order}.{stamp(start)}{run}" if number else order,
                **ending(start, ended),
            }
        )

    @precondition(lambda self: self.at_server)
    @rule(data=st.data())
    def finishes(self, data: st.DataObject) -> None:
        values = self.at_server[self._one(data)]
        self._put(values | ending(self.starts[UUID(values["id"])], True))

    @precondition(lambda self: self.at_server)
    @rule(data=st.data())
    def looks_unfinished_again(self, data: st.DataObject) -> None:
        """As a server does that answers from a copy that lags behind."""
        values = self.at_server[self._one(data)]
        self._put(values | ending(self.starts[UUID(values["id"])], False))

    @precondition(lambda self: self.at_server)
    @rule(data=st.data(), key=st.sampled_from(["tags", "outputs"]))
    def changes(self, data: st.DataObject, key: str) -> None:
        value = {"tags": [f"tag {self.count}"], "outputs": {"answer": self.count}}[key]
        self._put(self.at_server[self._one(data)] | {key: value})

    @precondition(lambda self: self.at_server)
    @rule(data=st.data())
    def comes_twice(self, data: st.DataObject) -> None:
        self._put(self.at_server[self._one(data)], again=True)

    @precondition(lambda self: self.at_server)
    @rule(data=st.data())
    def gets_feedback(self, data: st.DataObject) -> None:
        self.count += 1
        text = {"id": str(UUID(int=self.count)), "key": "score", "score": 1, "run_id": str(self._one(data))}
        self.server.state.add_feedback(self.server.state.read_feedback(json.dumps(text).encode()))

    @precondition(lambda self: self.at_server)
    @rule(data=st.data())
    def vanishes(self, data: st.DataObject) -> None:
        run = self._one(data)
        del self.at_server[run]
        with self.server.state.lock:
            self.server.state.runs.drop([self.server.state.runs.get(str(run))])

    @rule(do=st.sampled_from(FAULTS), skip=pages, times=st.integers(1, 2))
    def goes_wrong(self, do: dict[str, Any], skip: int, times: int) -> None:
        """From now on, until the faults are over: a page that is asked for is answered wrongly."""
        self.server.faults.add(Rule(do, operation=QUERY, skip=skip, times=times))

    # --- fetches

    @rule(api=apis)
    def is_fetched_whatever_is_wrong(self, api: str) -> None:
        with suppress(TemporaryError):
            self._check_finished(self._fetch(api), api)

    @rule(api=apis)
    def is_fetched_cleanly(self, api: str) -> None:
        """Without faults, every run that the server shows is archived as the server shows it.

        A fetch that goes on where an earlier one stopped comes first: its first pages may be old.
        """
        self.server.faults.clear()
        if (Path(self.home.name) / "state" / "fetch" / DAY.project / DAY.day.isoformat()).exists():
            self._check_finished(self._fetch(api), api)
        result = self._fetch(api)
        self._check_finished(result, api)
        archived, shown = self._archived(), self._shown(api)
        for run, text in shown.items():
            stale = archived[run] != text
            assert (
                not stale or (has_ended(archived[run]) and not has_ended(text)) or fuller(archived[run], text)
            )
        feedback = {item.id for run in shown for item in self.server.state.feedback(str(run))}
        assert feedback <= self._feedback()
        assert (result.exit_code == 0) is not self._has_orphans(archived, shown)

    @rule(api=apis, page=pages, trace=traces, number=runs, start=st.integers(0, 40))
    def is_fetched_while_a_run_appears(
        self, api: str, page: int, trace: int, number: int, start: int
    ) -> None:
        seen = 0

        def progress(done: int, total: int | None) -> None:
            nonlocal seen
            if seen == page:
                self.appears(trace, number, start, None, True)
            seen += 1

        with suppress(TemporaryError):
            self._check_finished(self._fetch(api, progress=progress), api)

    @rule(api=apis, skip=pages)
    def is_given_up(self, api: str, skip: int) -> None:
        self.server.faults.clear()
        self.server.faults.add(Rule({"status": 503}, operation=QUERY, skip=skip, times=None))
        try:
            result = self._fetch(api, HASTY)
        except TemporaryError:
            result = None
        self.server.faults.clear()
        if result is not None:
            self._check_finished(result, api)

    @rule(api=apis, step=st.integers(0, 60))
    def is_killed(self, api: str, step: int) -> None:
        """A process of its own is killed before it changes the disk for the given time."""
        self.server.faults.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside the server's threads
            child = os.fork()
        if child == 0:
            status = 1
            try:
                die_before(step)
                self._fetch(api)
                status = 0
            finally:
                os._exit(status)
        status = wait_for(child)
        assert status in (0, -signal.SIGKILL)
        self.killed = status != 0

    # --- what always holds

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        archived = self._archived()
        assert self.acknowledged.keys() <= archived.keys()
        assert not [run for run, ended in self.acknowledged.items() if ended and not has_ended(archived[run])]

    def _check_finished(self, result: StepResult, api: str) -> None:
        """A fetch that came to its end: no run twice, and complete only with all that the server shows."""
        self.killed = False
        record = read_fetch_record(self._day_folder())
        assert record is not None
        assert record.complete is (result.exit_code == 0)
        archived = self._archived()
        if record.complete:
            assert self._shown(api).keys() <= archived.keys()
        self.acknowledged = {run: has_ended(text) for run, text in archived.items()}

    # --- means

    def _put(self, values: dict[str, Any], *, again: bool = False) -> None:
        self.count += not again
        values = values if again else values | {"name": f"version {self.count}"}
        self.at_server[UUID(values["id"])] = values
        self.server.load([json.dumps(values).encode()], DAY.project)

    def _one(self, data: st.DataObject) -> UUID:
        return data.draw(st.sampled_from(sorted(self.at_server)), label="run")

    def _fetch(
        self,
        api: str,
        patience: Patience = PATIENT,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> StepResult:
        folder = Path(self.home.name)
        settings = load_settings(
            langsmith_endpoint=self.server.url,
            langsmith_api_key="any",
            langsmith_api=api,
            langsmith_rate_limit=False,
            data_dir=folder / "data",
            state_dir=folder / "state",
        )
        with Resources(settings) as resources:
            source = LangSmithSource(settings, patience)
            vars(resources).update(ledger=None, source=source)
            try:
                return fetch(resources, DAY, progress)
            finally:
                source.close()

    def _day_folder(self) -> Path:
        return Path(self.home.name) / "data" / DAY.project / DAY.day.isoformat()

    def _documents(self) -> list[Any]:
        """The trace files, read without `lse`."""
        return [json.loads(path.read_bytes()) for path in trace_files(self._day_folder())]

    def _archived(self) -> dict[UUID, Any]:
        """Every archived run; a run stands twice only where a kill left a trace in two files."""
        documents = self._documents()
        every = [run for document in documents for run in document["runs"]]
        found = {UUID(run["id"]): run for run in sorted(every, key=has_ended)}
        assert len(found) == len(every) or self.killed
        return found

    def _feedback(self) -> set[str]:
        return {item["id"] for document in self._documents() for item in document["feedback"]}

    def _shown(self, api: str) -> dict[UUID, Any]:
        """The runs of the day as the server shows them, with or without a root: one page, without faults."""
        reading = V1 if api == "v1" else V2
        known = self.server.state.projects.named(DAY.project)
        assert known is not None
        window = Window(Project(known.id, known.name), DAY.start, DAY.end, whole_traces=False)
        body = reading.query(window, None, 100)
        held, self.server.faults._active = self.server.faults._active, []
        answer = requests.post(self.server.url + reading.path, json=body, timeout=10).json()
        self.server.faults._active = held
        return {UUID(run["id"]): run for run in answer[reading.items]}

    def _has_orphans(self, archived: dict[UUID, Any], shown: dict[UUID, Any]) -> bool:
        """Whether a trace that was fetched has a run whose parent is not archived."""
        fetched = {run["trace_id"] for run in shown.values()}
        mine = [run for run in archived.values() if run["trace_id"] in fetched]
        parents = [run.get("parent_run_id") or (run.get("parent_run_ids") or [None])[-1] for run in mine]
        return any(parent is not None and UUID(parent) not in archived for parent in parents)


class LanesMachine(FetchMachine):
    """The same with days that are walked in several lanes."""

    worth_lanes = 1


def an_id(trace: int, number: int) -> UUID:
    return UUID(f"{trace:08x}-0000-4000-8000-{number:012x}")


def stamp(start: int) -> str:
    return f"{DAY.start + timedelta(seconds=start):%Y%m%dT%H%M%S%fZ}"


def ending(start: int, ended: bool) -> dict[str, Any]:
    end = (DAY.start + timedelta(seconds=start + 1)).isoformat() if ended else None
    return {"status": "success" if ended else "pending", "end_time": end}


def has_ended(run: Any) -> bool:
    return run.get("end_time") is not None


def fuller(archived: Any, shown: Any) -> bool:
    """Whether `archived` is what v1 served of the very run that v2 shows now, with fewer fields."""
    same = ("name", "inputs", "outputs", "error", "extra", "events", "tags")
    return (
        "session_id" in archived
        and "project_id" in shown
        and all(archived.get(key) == shown.get(key) for key in same)
        and has_ended(archived) == has_ended(shown)
    )


def die_before(step: int) -> None:
    """Let this process be killed in place of its call number `step` that changes the disk for good."""
    left = step

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*arguments, **options)

        return wrapped

    for name in CALLS_THAT_LAST:
        setattr(os, name, dying(getattr(os, name)))


def wait_for(child: int) -> int:
    """The exit code of `child`, negative for a signal; after 20 s it is killed for good."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("The fetch hangs.")


# A failing history is not made shorter: that would take hundreds of fetches, and the time of the test.
# `make torture` goes through hundreds that nobody chose.
_HISTORIES = settings(
    phases=[Phase.explicit, Phase.generate],
    max_examples=12,
    stateful_step_count=25,
    derandomize=True,
    print_blob=True,
)

TestFetches = FetchMachine.TestCase
TestFetches.settings = _HISTORIES
TestFetchesInLanes = LanesMachine.TestCase
TestFetchesInLanes.settings = settings(_HISTORIES, max_examples=5)
