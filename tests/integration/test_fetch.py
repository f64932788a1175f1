"""Fetching from the local LangSmith through the real SDK's client and both read APIs."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests

from lse.archive.fetch_record import FetchRecord, read_fetch_record
from lse.archive.layout import UNPLACED, archived_files, trace_files
from lse.archive.trace_file import read_trace_file
from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError, UsageError
from lse.langsmith.http import Patience
from lse.langsmith.limits import LIMITS
from lse.models import ProjectDay, RawRun, StepResult, Trace
from lse.pipeline import fetch, full_sweep, pack, restore
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.sources import Counts, Project, Window, _walk
from lse.sources._read_apis import V1, V2
from lse.sources.langsmith import LangSmithSource

KEY = "sandbox-key"
DAY = ProjectDay("chat", date(2026, 1, 5))
PATIENT = Patience(
    connect=2, read=2, body=4, total=8, unreachable=0.3, longest_wait=0.02, first_wait=0.002, rest=0
)
HASTY = replace(PATIENT, total=0.03)
"""Enough for one more attempt or two: for faults that stay."""
QUERY = "(v2_)?query_runs"
PAGE = 20


class Lab:
    """A LangSmith, and what fetches from it into a folder of its own."""

    def __init__(self, api: str, folder: Path, patience: Patience = PATIENT, **server: Any) -> None:
        self.api = api
        self.server = LangSmithServer(api_key=KEY, **server)
        self.settings = load_settings(
            langsmith_endpoint=self.server.url,
            langsmith_api_key=KEY,
            langsmith_api=api,
            langsmith_rate_limit=False,
            data_dir=folder / "data",
            archive_dir=folder / "archives",
            state_dir=folder / "state",
        )
        self.resources = Resources(self.settings)
        self.source = LangSmithSource(self.settings, patience)
        vars(self.resources).update(source=self.source, ledger=None)

    def fetch(self, day: ProjectDay = DAY) -> StepResult:
        return fetch(self.resources, day)

    def fault(self, do: dict[str, Any], operation: str = QUERY, **rule: Any) -> None:
        self.server.faults.add(Rule(do, operation=operation, **rule))

    def traces(self, day: ProjectDay = DAY) -> list[Trace]:
        return list(map(read_trace_file, trace_files(self.resources.folder(day))))

    def runs(self, day: ProjectDay = DAY) -> dict[UUID, RawRun]:
        return {run.id: run for trace in self.traces(day) for run in trace.runs}

    def record(self, day: ProjectDay = DAY) -> FetchRecord:
        record = read_fetch_record(self.resources.folder(day))
        assert record is not None
        return record

    def be_hasty(self) -> None:
        """Give up soon from now on."""
        self.source._http._patience = HASTY

    def queries(self) -> int:
        """How many pages were asked for."""
        return sum(entry.operation.endswith("query_runs") for entry in self.server.log)

    def served(self, day: ProjectDay = DAY) -> bytes:
        """What the server says to the question for the whole day, byte for byte."""
        api = V1 if self.api == "v1" else V2
        window = Window(self.source.project(day.project), day.start, day.end)
        body, answers = api.query(window, None, PAGE), b""
        while body:
            answer = requests.post(
                self.server.url + api.path, json=body, headers={"x-api-key": KEY}, timeout=10
            )
            answers += answer.content
            value = (
                json.loads(answer.content, parse_int=str, parse_float=str)
                if b"[[[" not in answer.content
                else {}
            )
            cursor = value.get("next_cursor") or value.get("cursors", {}).get("next")
            body = api.query(window, cursor, PAGE) if cursor else {}
        return answers


def an_id(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-4000-8000-000000000000")


def stamp(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S%fZ")


def line(
    number: int, *, trace: int | None = None, at: datetime | None = None, odd: bytes = b"", **more: Any
) -> bytes:
    """One run of `trace`, whose root has the number of the trace; `odd` adds members as written."""
    trace = number if trace is None else trace
    at = at or DAY.start + timedelta(seconds=number)
    order = f"{stamp(DAY.start + timedelta(seconds=trace))}{an_id(trace)}"
    values = {
        "id": str(an_id(number)),
        "trace_id": str(an_id(trace)),
        "parent_run_id": None if number == trace else str(an_id(trace)),
        "parent_run_ids": [] if number == trace else [str(an_id(trace))],
        "name": f"run {number}",
        "run_type": "chain",
        "status": "success",
        "start_time": at.isoformat(),
        "end_time": (at + timedelta(seconds=1)).isoformat(),
        "dotted_order": order if number == trace else f"{order}.{stamp(at)}{an_id(number)}",
    }
    text = json.dumps(values | more).encode()
    return text[:-1] + b"," + odd + b"}" if odd else text


def many(runs: int = 90) -> list[bytes]:
    """Runs of ten traces, more than four pages."""
    return [line(n, trace=1 + (n - 1) % 10) for n in range(1, runs + 1)]


@pytest.fixture(params=["v1", "v2"])
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both read APIs, with small pages."""
    monkeypatch.setattr(type(V1), "page_size", PAGE)
    monkeypatch.setattr(type(V2), "page_size", PAGE)
    return str(request.param)


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    labs: list[Lab] = []

    def make(api: str, **options: Any) -> Lab:
        labs.append(Lab(api, tmp_path / str(len(labs)), **options))
        labs[-1].server.start()
        return labs[-1]

    yield make
    for lab in labs:
        lab.source.close()
        lab.server.stop()


@pytest.fixture
def lab(api: str, make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(api)


# --- what is archived


def test_every_run_is_archived_byte_for_byte_as_served_and_proved_complete(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    result = lab.fetch()
    served = lab.served()
    assert len(lab.runs()) == 90
    assert all(run.text in served for run in lab.runs().values())
    assert (result.state, result.exit_code) == ("done", 0)
    assert result.summary.startswith("90 runs of 10 traces, 0 feedback records")
    assert result.summary.endswith("complete: the server counts 90 runs in 10 traces, and so does the walk")
    record = lab.record()
    assert (record.complete, record.walks, record.runs, record.traces) == (True, 1, 90, 10)
    assert (record.server_runs, record.server_traces, record.source) == (90, 10, f"langsmith {lab.api}")
    assert not lab.resources.spool_folder(DAY).exists()


ODD_MEMBERS = (
    b'"outputs": {"big": 123456789012345678901234567890, "minus": -0, "small": 1e-320, "wide": 1e400, '
    b'"nul": "a\\u0000b", "half": "\\ud800", "twice": 1, "twice": 2, "slash": "\\/", "z": [ 1,2 , 3]}, '
    b'"inputs": {"deep": ' + b"[" * 5000 + b"]" * 5000 + b"}"
)


def test_odd_json_values_survive_to_file_and_zip_and_back(lab: Lab) -> None:
    lab.server.load([line(1, odd=ODD_MEMBERS), line(2, trace=1, name="Gr\u00fc\u00dfe\u2028")], "chat")
    assert lab.fetch().exit_code == 0
    (trace,) = lab.traces()
    root = trace.runs[0]
    for part in ODD_MEMBERS.split(b', "inputs": '):
        assert part.split(b": ", 1)[1] in root.text
    assert root.text in lab.served()
    pack(lab.resources, DAY)
    before = {path.name: path.read_bytes() for path in archived_files(lab.resources.folder(DAY))}
    lab.resources.folder(DAY).rename(lab.settings.data_dir / "elsewhere")
    restore(lab.resources, DAY)
    assert {path.name: path.read_bytes() for path in archived_files(lab.resources.folder(DAY))} == before


def test_a_trace_is_whole_across_midnight_and_belongs_to_the_day_of_its_root(lab: Lab) -> None:
    second = timedelta(seconds=1)
    lab.server.load(
        [
            line(1, at=DAY.end - second),
            line(2, trace=1, at=DAY.end),
            line(3, trace=1, at=DAY.end + 30 * 3600 * second),
            line(11, at=DAY.end),
            line(21, at=DAY.start),
            line(31, at=DAY.start - timedelta(microseconds=1)),
            line(32, trace=31, at=DAY.start + second),
            line(41, at=DAY.end - timedelta(microseconds=1)),
        ],
        "chat",
    )
    following = ProjectDay("chat", DAY.day + timedelta(days=1))
    previous = ProjectDay("chat", DAY.day - timedelta(days=1))
    assert [lab.fetch(day).exit_code for day in (previous, DAY, following)] == [0, 0, 0]
    assert set(lab.runs(DAY)) == {an_id(n) for n in (1, 2, 3, 21, 41)}
    assert set(lab.runs(following)) == {an_id(11)}
    assert set(lab.runs(previous)) == {an_id(31), an_id(32)}


def test_another_project_and_an_empty_day_are_told_apart(lab: Lab) -> None:
    lab.server.load([line(1)], "chat")
    lab.server.load([line(1001)], "Chat")
    assert lab.fetch().figures["runs"] == 1
    empty = lab.fetch(ProjectDay("chat", date(2025, 1, 1)))
    assert (empty.state, empty.exit_code, empty.figures["runs"]) == ("done", 0, 0)
    assert archived_files(lab.resources.folder(ProjectDay("chat", date(2025, 1, 1)))) == []
    with pytest.raises(UsageError, match="no project called 'chatt'") as caught:
        lab.fetch(ProjectDay("chatt", DAY.day))
    assert "chat" in caught.value.hint


def test_a_day_that_has_not_begun_is_refused_before_anything_is_asked(lab: Lab) -> None:
    with pytest.raises(UsageError, match="has not begun"):
        lab.fetch(ProjectDay("chat", datetime.now(UTC).date() + timedelta(days=1)))
    assert lab.server.log == ()


def opinion(lab: Lab, number: int, **more: Any) -> bytes:
    text = json.dumps(
        {"key": "score", "run_id": str(an_id(number)), "created_at": DAY.end.isoformat(), **more}
    )
    item = lab.server.state.read_feedback(text.encode())
    lab.server.state.add_feedback(item)
    return item.text()


def test_feedback_on_any_run_is_archived_as_served(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    texts = {
        opinion(lab, number, id=str(an_id(5000 + number)), score=1, comment="\n\0") for number in range(1, 71)
    }
    texts |= {opinion(lab, 3, id=str(an_id(6000 + number)), value={"a": [1, None]}) for number in range(130)}
    assert lab.fetch().figures["feedback"] == 200
    assert {item.text for trace in lab.traces() for item in trace.feedback} == texts


def test_runs_that_name_no_trace_are_kept_and_the_day_is_not_whole(lab: Lab) -> None:
    lab.server.load(many(5), "chat")
    body = lab.served()
    odd = body.replace(str(an_id(5)).encode(), b"no-id")
    lab.fault({"body": odd.decode()}, times=None)
    result = lab.fetch()
    assert (result.state, result.exit_code) == ("partial", 4)
    assert (lab.resources.folder(DAY) / UNPLACED).read_bytes().count(b"no-id") >= 1


# --- faults


ONCE: dict[str, dict[str, Any]] = {
    "repeated cursor": {"repeated_cursor": True},
    "empty page with a cursor": {"empty_page_with_cursor": True},
    "full page without a cursor": {"full_page_without_cursor": True},
    "empty object": {"body": "{}"},
    "null": {"body": "null"},
    "list": {"body": "[]"},
    "empty body": {"body": ""},
    "runs that are null": {"body": '{"runs":null,"items":null,"cursors":{}}'},
    "html": {"html": True},
    "half the answer": {"badjson": True},
    "truncated": {"truncate": 100},
    "rate limit": {"status": 429, "headers": {"Retry-After": "1"}},
    "rate limit by date": {"status": 429, "headers": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}},
    "odd rate limit": {"status": 429, "headers": {"Retry-After": "soon"}},
    "server error": {"status": 500, "format": "html"},
    "bad gateway": {"status": 502, "format": "empty"},
    "request timeout": {"status": 408},
    "reset before": {"reset_before": True},
    "reset in the middle": {"reset_middle": True},
    "closed": {"reset_before": "close"},
    "reset after": {"handle_then_reset": True},
    "runs that shifted": {"shift": 3},
}


@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize("skip", [0, 2, 4, 5], ids=["first page", "third page", "last page", "late runs"])
def test_a_fault_that_passes_costs_nothing(lab: Lab, fault: str, skip: int) -> None:
    lab.server.load(many(), "chat")
    lab.fault(ONCE[fault], skip=skip)
    assert lab.fetch().exit_code == 0
    assert (lab.record().complete, len(lab.runs())) == (True, 90)


@pytest.mark.parametrize(
    "fault", ["repeated cursor", "empty page with a cursor", "html", "truncated", "null"]
)
def test_a_fault_that_passes_twice_on_every_page_costs_nothing(lab: Lab, fault: str) -> None:
    lab.server.load(many(), "chat")
    for skip in range(0, 15, 3):
        lab.fault(ONCE[fault], skip=skip, times=2)
    with suppress(TemporaryError):
        lab.fetch()
    assert lab.fetch().exit_code == 0
    assert len(lab.runs()) == 90


STAYING = [name for name in ONCE if name not in ("runs that shifted", "full page without a cursor")]


@pytest.mark.parametrize("fault", STAYING)
def test_a_fault_that_stays_is_an_error_and_never_less_data(lab: Lab, fault: str) -> None:
    lab.server.load(many(), "chat")
    lab.be_hasty()
    lab.fault(ONCE[fault], skip=2, times=None)
    with pytest.raises(TemporaryError) as caught:
        lab.fetch()
    assert caught.value.exit_code == 6
    assert KEY not in caught.value.message
    assert lab.traces() == []
    assert read_fetch_record(lab.resources.folder(DAY)) is None


def test_full_pages_that_never_have_a_cursor_leave_the_day_partial(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.fault({"full_page_without_cursor": True}, times=None)
    result = lab.fetch()
    assert (result.state, result.exit_code, len(lab.runs())) == ("partial", 4, PAGE)
    assert f"the server counts 90 runs in 10 traces, the walk gave {PAGE}" in result.summary


def test_a_full_last_page_without_a_cursor_is_an_end_when_the_count_proves_it(lab: Lab) -> None:
    lab.server.load(many(PAGE), "chat")
    lab.fault({"full_page_without_cursor": True}, times=None)
    assert lab.fetch().exit_code == 0
    assert (lab.record().complete, len(lab.runs())) == (True, PAGE)


def test_a_full_last_page_without_a_cursor_is_not_proved_where_nothing_counts(lab: Lab) -> None:
    lab.server.load(many(PAGE), "chat")
    lab.fault({"full_page_without_cursor": True}, times=None)
    lab.fault({"status": 404}, operation="run_stats", times=None)
    result = lab.fetch()
    assert (result.state, lab.record().complete) == ("partial", False)


@pytest.mark.parametrize("do", [{"status": 413}, {"status": 504}, {"truncate": 100}])
def test_a_page_that_is_too_large_is_halved_until_it_passes(lab: Lab, do: dict[str, Any]) -> None:
    lab.server.load(many(), "chat")
    size = "page_size" if lab.api == "v2" else "limit"
    lab.fault(do, times=None, match={"body": rf'"{size}": ({PAGE}|{PAGE // 2})\b'})
    assert lab.fetch().exit_code == 0
    assert (lab.record().complete, len(lab.runs())) == (True, 90)


def test_a_refusal_by_something_on_the_way_is_told_from_one_by_langsmith(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.fault({"status": 403, "format": "html"})
    with pytest.raises(AccessError) as caught:
        lab.fetch()
    assert "not LangSmith's own" in caught.value.message


def test_a_server_that_was_given_up_is_left_alone_for_a_while(lab: Lab) -> None:
    lab.source._http._patience = replace(HASTY, rest=60)
    lab.fault({"status": 503}, operation=".*", times=None)
    with pytest.raises(TemporaryError):
        lab.fetch()
    lab.server.clear_log()
    with pytest.raises(TemporaryError) as caught:
        lab.fetch()
    assert "a moment ago" in caught.value.message
    assert list(lab.server.log) == []


def test_the_other_api_is_read_where_the_first_is_gone_whatever_the_server_says_of_itself(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab("auto", v1_gone=410)
    lab.server.load(many(), "chat")
    assert lab.fetch().exit_code == 0
    assert lab.source.walk_name == "langsmith v2"


def test_a_large_day_is_walked_in_lanes_that_go_on_after_a_cut(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_walk, "_WORTH_LANES", 50)
    lines = [line(n + 1, at=DAY.start + timedelta(minutes=7 * n)) for n in range(200)]
    lab.server.load(lines, "chat")
    lab.be_hasty()
    lab.fault({"status": 503}, skip=6, times=None)
    with pytest.raises(TemporaryError):
        lab.fetch()
    lab.server.faults.clear()
    lab.server.clear_log()
    assert lab.fetch().exit_code == 0
    assert (lab.record().complete, lab.record().walks, len(lab.runs())) == (True, 1, 200)
    assert lab.queries() < 200 // PAGE + 2


def test_runs_that_keep_shifting_leave_the_day_partial(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.fault({"shift": 3}, times=None, match={"body": 'cursor"'})
    result = lab.fetch()
    assert (result.state, result.exit_code) == ("partial", 4)
    assert "the server counts 90 runs in 10 traces, the walk gave" in result.summary
    assert (lab.record().complete, lab.record().walks) == (False, 3)


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, AccessError, 5),
        (403, AccessError, 5),
        (400, LseError, 1),
        (422, LseError, 1),
        (404, LseError, 1),
    ],
)
def test_a_refusal_is_not_repeated(lab: Lab, status: int, error: type[LseError], code: int) -> None:
    lab.server.load(many(), "chat")
    lab.fault({"status": status}, times=None)
    with pytest.raises(error) as caught:
        lab.fetch()
    assert (caught.value.exit_code, lab.queries()) == (code, 1)


def test_the_key_is_never_sent_to_where_a_redirect_points(lab: Lab, make_lab: Callable[..., Lab]) -> None:
    elsewhere = make_lab(lab.api)
    lab.server.load(many(), "chat")
    lab.fault({"redirect": elsewhere.server.url + "/runs/query"}, times=None)
    with pytest.raises(ConfigurationError, match="a key is never sent to another address") as caught:
        lab.fetch()
    assert elsewhere.server.log == ()
    assert elsewhere.server.url not in caught.value.message


@pytest.mark.parametrize(
    "do", [{"body": "{}"}, {"body": "null"}, {"html": True}, {"badjson": True}, {"status": 503}]
)
@pytest.mark.parametrize("operation", ["list_sessions", "run_stats", "list_feedback"])
def test_faults_of_other_questions_pass_or_are_errors(lab: Lab, operation: str, do: dict[str, Any]) -> None:
    lab.server.load(many(30), "chat")
    opinion(lab, 3)
    lab.fault(do, operation=operation, times=2)
    assert lab.fetch().exit_code == 0
    lab.be_hasty()
    lab.fault(do, operation=operation, times=None)
    with pytest.raises(TemporaryError):
        lab.fetch()
    assert (len(lab.runs()), sum(len(trace.feedback) for trace in lab.traces())) == (30, 1)


def test_a_wait_that_the_server_asks_for_is_kept(api: str, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(api, patience=Patience(total=10, first_wait=0.001))
    lab.server.load(many(5), "chat")
    lab.fault({"status": 429, "headers": {"Retry-After": "1"}})
    begin = time.monotonic()
    assert lab.fetch().exit_code == 0
    assert 1 <= time.monotonic() - begin < 5


def test_an_answer_that_never_comes_has_a_deadline(api: str, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(api, patience=replace(HASTY, read=0.2))
    lab.server.load(many(5), "chat")
    lab.fault({"hang": 30}, times=None)
    begin = time.monotonic()
    with pytest.raises(TemporaryError):
        lab.fetch()
    assert time.monotonic() - begin < 5


def test_an_answer_that_drips_for_ever_has_a_deadline(api: str, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(api, patience=replace(HASTY, body=0.2))
    lab.server.load(many(20), "chat")
    lab.fault({"drip": 8}, times=None)
    begin = time.monotonic()
    with pytest.raises(TemporaryError, match="took over"):
        lab.fetch()
    assert time.monotonic() - begin < 4


def test_a_fetch_that_takes_too_long_stops_and_goes_on_at_its_page(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.resources.settings = lab.settings.model_copy(update={"fetch_hours": 1e-9})
    for _ in range(2):
        with pytest.raises(TemporaryError, match="took over"):
            lab.fetch()
    lab.resources.settings = lab.settings
    assert lab.fetch().exit_code == 0
    assert (lab.record().complete, len(lab.runs())) == (True, 90)


def test_a_server_that_is_not_there_is_soon_given_up(api: str, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(api)
    lab.server.stop()
    with pytest.raises(TemporaryError, match="cannot be reached") as caught:
        lab.fetch()
    assert "LANGSMITH_ENDPOINT" in caught.value.hint


def test_a_wrong_key_is_refused_once(api: str, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(api)
    lab.server.api_key = "another"
    with pytest.raises(AccessError, match="refused the key") as caught:
        lab.fetch()
    assert KEY not in caught.value.message + caught.value.hint
    assert len(lab.server.log) == 1


# --- proof without a count


def test_without_a_count_two_walks_must_agree(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.fault({"status": 404}, operation="run_stats", times=None)
    result = lab.fetch()
    assert (result.exit_code, lab.record().walks, lab.record().server_runs) == (0, 2, None)
    assert result.summary.endswith("complete: the last two walks agree")


def test_without_a_count_walks_that_differ_leave_the_day_partial(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.fault({"status": 404}, operation="run_stats", times=None)
    for number in range(3):
        lab.fault({"shift": number}, skip=5 * number + 2)
    result = lab.fetch()
    assert (result.exit_code, result.state) == (4, "partial")
    assert len(lab.runs()) == 90


def test_a_trace_without_its_root_or_a_parent_is_partial(lab: Lab) -> None:
    lab.server.load([line(1), line(2, trace=1), line(3, trace=1, parent_run_id=str(an_id(9)))], "chat")
    parents = [str(an_id(1)), str(an_id(9))]
    lab.server.load([line(3, trace=1, parent_run_id=str(an_id(9)), parent_run_ids=parents)], "chat")
    result = lab.fetch()
    assert (result.state, result.exit_code) == ("partial", 4)
    assert "1 run without parent or root" in result.summary
    assert len(lab.runs()) == 3


# --- interrupted and repeated


def test_an_aborted_fetch_goes_on_at_its_page(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.be_hasty()
    lab.fault({"status": 503}, skip=3, times=None)
    with pytest.raises(TemporaryError):
        lab.fetch()
    lab.server.faults.clear()
    lab.server.clear_log()
    assert lab.fetch().exit_code == 0
    assert (lab.queries(), len(lab.runs()), lab.record().walks) == (3, 90, 1)  # the last for late runs


def test_a_cursor_that_is_refused_after_an_abort_starts_the_fetch_over(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.be_hasty()
    lab.fault({"status": 503}, skip=3, times=None)
    with pytest.raises(TemporaryError):
        lab.fetch()
    lab.server.faults.clear()
    lab.fault({"status": 400})
    lab.server.clear_log()
    assert lab.fetch().exit_code == 0
    assert (lab.queries(), len(lab.runs())) == (7, 90)


def test_another_api_does_not_go_on_with_the_cursors_of_the_first(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.be_hasty()
    lab.fault({"status": 503}, skip=3, times=None)
    with pytest.raises(TemporaryError):
        lab.fetch()
    lab.server.faults.clear()
    lab.source._chosen = V2 if lab.api == "v1" else V1
    lab.server.clear_log()
    assert lab.fetch().exit_code == 0
    assert (lab.queries(), len(lab.runs())) == (6, 90)


def test_the_record_counts_from_the_begin_of_a_fetch_that_went_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.server.load(many(), "chat")
    lab.be_hasty()
    lab.fault({"status": 503}, skip=3, times=None)
    monkeypatch.setattr(lab.resources, "now", lambda: datetime(2026, 1, 6, tzinfo=UTC))
    with pytest.raises(TemporaryError):
        lab.fetch()
    lab.server.faults.clear()
    monkeypatch.setattr(lab.resources, "now", lambda: datetime(2026, 2, 6, tzinfo=UTC))
    lab.fetch()
    assert lab.record().fetched_at == "2026-01-06T00:00:00+00:00"


def test_fetching_again_changes_no_byte(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    opinion(lab, 3)
    lab.fetch()
    before = {
        path: (path.read_bytes(), path.stat().st_ino) for path in archived_files(lab.resources.folder(DAY))
    }
    assert lab.fetch().exit_code == 0
    after = {
        path: (path.read_bytes(), path.stat().st_ino) for path in archived_files(lab.resources.folder(DAY))
    }
    assert after == before


def test_changed_runs_replace_vanished_ones_stay_and_late_ones_are_added(lab: Lab) -> None:
    lab.server.load(
        [line(1), line(2, trace=1), line(11), line(12, trace=11, status="pending", end_time=None)], "chat"
    )
    lab.fetch()
    before = lab.runs()
    runs = lab.server.state.runs
    runs.drop([run for number in (2, 11) if (run := runs.get(str(an_id(number))))])
    lab.server.load([line(1, outputs={"changed": True}), line(3, trace=1), line(12, trace=11)], "chat")
    lab.server.load([line(11, outputs={"back": 1})], "chat")
    assert lab.fetch().exit_code == 0
    after = lab.runs()
    assert set(after) == {an_id(n) for n in (1, 2, 3, 11, 12)}
    assert after[an_id(2)].text == before[an_id(2)].text
    assert b'"changed"' in after[an_id(1)].text
    assert b'"back"' in after[an_id(11)].text
    assert (before[an_id(12)].ended, after[an_id(12)].ended) == (False, True)


def test_a_finished_run_is_never_made_pending_again(lab: Lab) -> None:
    lab.server.load([line(1)], "chat")
    lab.fetch()
    finished = lab.runs()[an_id(1)].text
    lab.server.load([line(1, status="pending", end_time=None)], "chat")
    lab.fetch()
    assert lab.runs()[an_id(1)].text == finished


def test_a_whole_project_that_vanished_leaves_the_archive_as_it_is(lab: Lab) -> None:
    lab.server.load(many(), "chat")
    lab.fetch()
    before = lab.runs()
    state = lab.server.state
    state.runs.drop([run for number in range(1, 91) if (run := state.runs.get(str(an_id(number))))])
    assert lab.fetch().exit_code == 0
    assert lab.runs() == before


# --- the choice of the API


def test_the_server_says_which_api_to_read(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("auto")
    assert lab.source.api is V1
    assert lab.source.check() == f"{lab.server.url} (version 0.16.0, reading through v1)"
    gone = make_lab("auto", v1_gone=410, flags={"ch_query_enabled": False})
    gone.server.load(many(), "chat")
    assert gone.fetch().exit_code == 0
    assert (gone.source.api, gone.record().walks, len(gone.runs())) == (V2, 2, 90)


def test_both_apis_give_the_same_runs_in_the_same_files(make_lab: Callable[..., Lab]) -> None:
    found = []
    for api in ("v1", "v2"):
        lab = make_lab(api)
        lab.server.load(many(), "chat")
        opinion(lab, 3, id=str(an_id(7000)))
        lab.fetch()
        files = [path.name for path in archived_files(lab.resources.folder(DAY))]
        runs = [
            (run.id, run.trace_id, run.parent_id, run.dotted_order, run.ended) for run in lab.runs().values()
        ]
        found.append((files, runs, [item.text for trace in lab.traces() for item in trace.feedback]))
    assert found[0] == found[1]


# --- what a walk over the day's traces does not show


def test_runs_whose_root_never_arrived_are_archived_and_make_the_day_partial(lab: Lab) -> None:
    midnight = line(5001, trace=1, at=DAY.end + timedelta(minutes=1))
    lab.server.load([*many(), midnight, line(7001, trace=7000), line(7002, trace=7000)], "chat")
    result = lab.fetch()
    assert (result.state, result.exit_code, len(lab.runs())) == ("partial", 4, 93)
    assert {an_id(7001), an_id(7002)} <= lab.runs().keys()
    assert "3 runs without parent or root" in result.summary
    again = lab.fetch()
    assert (again.summary, len(lab.runs())) == (result.summary, 93)


def test_children_after_midnight_are_no_runs_without_a_root(lab: Lab) -> None:
    following = ProjectDay("chat", date(2026, 1, 6))
    night = [line(n, trace=1, at=following.start + timedelta(minutes=n)) for n in range(5001, 5004)]
    lab.server.load([*many(), *night], "chat")
    assert (lab.fetch().state, len(lab.runs())) == ("done", 93)
    lab.server.clear_log()
    assert lab.fetch(following).state == "done"
    assert lab.runs(following) == {}
    assert lab.queries() == 2  # an empty page, and one for late runs: their own day is not walked by run


def test_a_child_that_starts_weeks_after_its_root_is_fetched_with_it(lab: Lab) -> None:
    late = line(5001, trace=1, at=DAY.start + timedelta(days=20))
    lab.server.load([*many(), late], "chat")
    assert (lab.fetch().state, len(lab.runs()), lab.record().walks) == ("done", 91, 1)
    assert an_id(5001) in lab.runs()


def test_old_days_are_asked_for_in_windows_of_a_week_which_v1_reads_faster() -> None:
    window = Window(Project("p", "chat"), DAY.start, DAY.end)
    main, late = _walk._split(window, 2)
    asked = V1.query(main, None, 100)
    assert (asked["start_time"], asked["end_time"]) == (
        "2026-01-04T23:59:00+00:00",
        "2026-01-11T23:59:00+00:00",
    )
    assert (V1.rate(main), V1.rate(late)) == (LIMITS["v1_recent"], LIMITS["v1_older"])
    assert V1.query(late, None, 100)["start_time"] == asked["end_time"]
    assert "end_time" not in V1.query(late, None, 100)


def test_a_recent_day_is_asked_for_without_an_end_and_without_a_page_for_late_runs(lab: Lab) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = ProjectDay("chat", (today - timedelta(days=1)).date())
    lab.server.load([line(1, trace=1, at=day.start + timedelta(minutes=1))], "chat")
    assert lab.fetch(day).exit_code == 0
    assert lab.queries() == 1


def test_feedback_that_arrived_between_a_page_and_the_count_is_fetched(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.server.load(many(), "chat")
    counts, given = LangSmithSource.counts, list[bytes]()

    def counts_later(source: LangSmithSource, window: Window) -> Counts | None:
        if lab.queries() and not given:
            given.append(opinion(lab, 3, id=str(an_id(7000))))
        return counts(source, window)

    monkeypatch.setattr(LangSmithSource, "counts", counts_later)
    assert lab.fetch().figures["feedback"] == 1
    assert lab.record().server_feedback == 1


@pytest.mark.parametrize("added", ["run", "feedback"])
def test_a_settled_day_is_fetched_again_when_the_source_counts_more(lab: Lab, added: str) -> None:
    lab.server.load(many(), "chat")
    skip = ("upload", "load", "verify")
    assert full_sweep(lab.resources, DAY, skip=skip)[0].state == "done"
    assert full_sweep(lab.resources, DAY, skip=skip)[0].state == "unchanged"
    if added == "run":
        lab.server.load([line(5001, trace=1)], "chat")
    else:
        opinion(lab, 3, id=str(an_id(7000)))
    assert full_sweep(lab.resources, DAY, skip=skip)[0].state == "done"
    assert len(lab.runs()) + sum(len(trace.feedback) for trace in lab.traces()) == 91
    assert full_sweep(lab.resources, DAY, skip=skip)[0].state == "unchanged"


def test_a_settled_day_stays_as_it_is_while_the_source_is_down(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.server.load(many(), "chat")
    skip = ("upload", "load", "verify")
    full_sweep(lab.resources, DAY, skip=skip)
    lab.be_hasty()
    lab.fault({"status": 503}, operation="run_stats", times=None)
    assert [step.state for step in full_sweep(lab.resources, DAY, skip=skip)[:2]] == [
        "unchanged",
        "unchanged",
    ]
    assert "not known" in caplog.text
