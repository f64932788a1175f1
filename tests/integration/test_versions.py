"""Earlier versions: what a later fetch replaces is kept, and what it changed is logged."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from lse.archive import assemble
from lse.archive.layout import FETCH_RECORD, LOG, SUPERSEDED, archived_files, trace_files
from lse.archive.manifest import describe_folder
from lse.archive.trace_file import read_trace_file, write_trace
from lse.archive.versions import LogEntry, Superseded, read_log
from lse.errors import DifferencesFound
from lse.models import ProjectDay, RawRun, StepResult
from lse.pipeline import fetch, pack, restore, verify
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.sources import _walk

KEY = "sandbox-key"
DAY = ProjectDay("chat", date(2026, 1, 5))
RUNS = 200


class Machine:
    """A folder that archives the day from a server."""

    def __init__(self, server: LangSmithServer, folder: Path, api: str) -> None:
        self.server = server
        self.resources = Resources(
            load_settings(
                langsmith_endpoint=server.url,
                langsmith_api_key=KEY,
                langsmith_api=api,
                langsmith_rate_limit=False,
                data_dir=folder / "data",
                archive_dir=folder / "archives",
                state_dir=folder / "state",
            )
        )
        vars(self.resources).update(ledger=None)

    @property
    def folder(self) -> Path:
        return self.resources.folder(DAY)

    @property
    def superseded(self) -> list[bytes]:
        path = self.folder / SUPERSEDED
        return path.read_bytes().splitlines() if path.exists() else []

    def fetch(self) -> StepResult:
        return fetch(self.resources, DAY)

    def runs(self) -> dict[UUID, RawRun]:
        return {run.id: run for path in trace_files(self.folder) for run in read_trace_file(path).runs}

    def log(self) -> list[tuple[int, int, int, int]]:
        """Added, changed, vanished, feedback of each entry."""
        return [
            (entry.added, entry.changed, entry.vanished, entry.feedback) for entry in read_log(self.folder)
        ]


@pytest.fixture(params=["v1", "v2"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with LangSmithServer(api_key=KEY) as running:
        yield running


@pytest.fixture
def machine(server: LangSmithServer, tmp_path: Path, api: str) -> Iterator[Machine]:
    made = Machine(server, tmp_path / "one", api)
    yield made
    made.resources.close()


def an_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def line(number: int, **more: Any) -> bytes:
    """One run; those of equal last digit are one trace."""
    trace = number % 10
    at = DAY.start + timedelta(seconds=number)
    order = f"{DAY.start + timedelta(seconds=trace):%Y%m%dT%H%M%S%fZ}{an_id(trace)}"
    values = {
        "id": an_id(number),
        "trace_id": an_id(trace),
        "parent_run_id": None if number == trace else an_id(trace),
        "parent_run_ids": [] if number == trace else [an_id(trace)],
        "name": f"run {number}",
        "run_type": "chain",
        "status": "success",
        "start_time": at.isoformat(),
        "end_time": (at + timedelta(seconds=1)).isoformat(),
        "dotted_order": order if number == trace else f"{order}.{at:%Y%m%dT%H%M%S%fZ}{an_id(number)}",
    }
    return json.dumps(values | more).encode()


def load(server: LangSmithServer, numbers: range, **more: Any) -> None:
    server.load([line(number, **more) for number in numbers], "chat")


def opinion(server: LangSmithServer, run: int, **more: Any) -> None:
    text = {"id": an_id(5000), "key": "score", "run_id": an_id(run), "created_at": DAY.end.isoformat()}
    server.state.add_feedback(server.state.read_feedback(json.dumps(text | more).encode()))


def vanish(server: LangSmithServer, numbers: range) -> None:
    runs = server.state.runs
    runs.drop([run for number in numbers if (run := runs.get(an_id(number)))])


def test_after_five_percent_changed_a_fetch_reaches_the_state_of_a_full_refresh(
    machine: Machine, tmp_path: Path, api: str
) -> None:
    load(machine.server, range(RUNS))
    machine.fetch()
    before = machine.runs()
    changed = range(0, RUNS, 20)
    load(machine.server, changed, outputs={"answer": "another"})

    assert machine.fetch().exit_code == 0

    fresh = Machine(machine.server, tmp_path / "fresh", api)
    fresh.fetch()
    assert {path.name: path.read_bytes() for path in trace_files(machine.folder)} == {
        path.name: path.read_bytes() for path in trace_files(fresh.folder)
    }
    assert sorted(machine.superseded) == sorted(before[UUID(an_id(number))].text for number in changed)
    assert machine.log() == [(RUNS, 0, 0, 0), (0, 10, 0, 0)]
    assert read_log(machine.folder)[-1].content_sha256 == describe_folder(machine.folder, DAY).content_sha256
    fresh.resources.close()


def test_a_text_that_goes_and_comes_back_is_kept_once(machine: Machine) -> None:
    for answer in ("a", "b", "a", "b", "c"):
        load(machine.server, range(1), outputs={"answer": answer})
        machine.fetch()

    assert [text.count(b'"answer"') for text in machine.superseded] == [1, 1]
    assert machine.log() == [(1, 0, 0, 0), *[(0, 1, 0, 0)] * 4]


def test_a_fetch_that_changes_nothing_leaves_no_trace_of_itself(machine: Machine) -> None:
    load(machine.server, range(20))
    machine.fetch()
    before = read_log(machine.folder)
    machine.fetch()

    assert read_log(machine.folder) == before
    assert SUPERSEDED not in {path.name for path in archived_files(machine.folder)}


def test_a_day_without_runs_has_no_log(machine: Machine) -> None:
    machine.server.load([line(1, start_time="2026-01-09T00:00:00", dotted_order="")], "chat")
    machine.fetch()

    assert read_log(machine.folder) == []


def test_a_finished_run_stays_and_its_unfinished_version_is_no_earlier_text(machine: Machine) -> None:
    load(machine.server, range(1), status="pending", end_time=None)
    machine.fetch()
    load(machine.server, range(1))
    machine.fetch()
    load(machine.server, range(1), status="pending", end_time=None)
    machine.fetch()

    assert machine.runs()[UUID(an_id(0))].ended
    assert len(machine.superseded) == 1
    assert machine.log() == [(1, 0, 0, 0), (0, 1, 0, 0)]


def test_feedback_that_changes_keeps_its_earlier_text(machine: Machine) -> None:
    load(machine.server, range(10))
    machine.fetch()
    opinion(machine.server, 3, comment="good")
    machine.fetch()
    opinion(machine.server, 3, comment="bad")
    machine.fetch()

    assert sum(b'"comment":"good"' in text.replace(b" ", b"") for text in machine.superseded) == 1
    assert [entry[3] for entry in machine.log()] == [0, 1, 1]


def test_what_vanished_is_kept_and_said_once(machine: Machine) -> None:
    load(machine.server, range(40))
    machine.fetch()
    vanish(machine.server, range(15, 20))  # parts of traces
    vanish(machine.server, range(1, 40, 10))  # and a whole one
    for _ in range(2):
        assert machine.fetch().exit_code == 0

    assert len(machine.runs()) == 40
    assert machine.log() == [(40, 0, 0, 0), (0, 0, 9, 0)]
    load(machine.server, range(40))
    machine.fetch()
    assert [entry[2] for entry in machine.log()] == [0, 9, 0]


def test_without_proof_nothing_is_said_to_have_vanished(machine: Machine) -> None:
    load(machine.server, range(20))
    machine.fetch()
    vanish(machine.server, range(15, 20))
    machine.server.faults.add(Rule({"status": 404}, operation="run_stats", times=None))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_walk, "_MOST_WALKS", 1)  # one walk, and nobody who counts
        assert machine.fetch().state == "partial"

    assert {entry[2] for entry in machine.log()} == {0}


def test_earlier_texts_travel_in_the_zip_and_come_back(machine: Machine, tmp_path: Path) -> None:
    load(machine.server, range(20))
    machine.fetch()
    load(machine.server, range(5), outputs={"answer": "another"})
    machine.fetch()

    packed = pack(machine.resources, DAY)
    kept = machine.superseded
    machine.folder.rename(tmp_path / "aside")
    restore(machine.resources, DAY)

    assert packed.figures["superseded"] == 5
    assert (machine.superseded, len(kept)) == (kept, 5)
    assert verify(machine.resources, DAY).figures["differences"] == 0


def test_earlier_texts_that_are_lost_are_a_difference_and_are_not_packed_away(machine: Machine) -> None:
    load(machine.server, range(20))
    machine.fetch()
    load(machine.server, range(1), outputs={"answer": "another"})
    machine.fetch()
    pack(machine.resources, DAY)
    (machine.folder / SUPERSEDED).unlink()

    assert any("earlier text" in detail for detail in verify(machine.resources, DAY).details)
    (machine.folder / FETCH_RECORD).unlink()
    with pytest.raises(DifferencesFound, match=r"superseded\.jsonl"):
        pack(machine.resources, DAY)


def test_the_log_stays_when_trace_files_are_brought_back(machine: Machine) -> None:
    load(machine.server, range(20))
    machine.fetch()
    pack(machine.resources, DAY)
    before = read_log(machine.folder)
    for path in archived_files(machine.folder):
        path.unlink()
    restore(machine.resources, DAY)

    assert read_log(machine.folder) == before
    assert isinstance(before[0], LogEntry)


def test_a_log_says_the_begin_of_the_fetch(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    load(machine.server, range(10))
    monkeypatch.setattr(machine.resources, "now", lambda: datetime(2026, 1, 6, 1, 2, 3, tzinfo=UTC))
    machine.fetch()

    assert [entry.time for entry in read_log(machine.folder)] == ["2026-01-06T01:02:03+00:00"]


def test_half_a_text_that_a_kill_left_is_cut_off_before_the_next_one(tmp_path: Path) -> None:
    (tmp_path / SUPERSEDED).write_bytes(b'{"id":1}\n{"id":')
    Superseded(tmp_path).add([b'{"id":1}', b'{"id":2}'])
    Superseded(tmp_path).add([b'{"id":2}', b'{"id":3}', b'{"id":3}'])

    assert (tmp_path / SUPERSEDED).read_bytes() == b'{"id":1}\n{"id":2}\n{"id":3}\n'


def test_a_fetch_that_breaks_off_while_it_replaces_loses_no_text_and_keeps_each_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(machine.server, range(40))
    machine.fetch()
    before = machine.runs()
    load(machine.server, range(0, 40, 4), outputs={"answer": "another"})

    written = 0

    def breaks(*arguments: Any, **options: Any) -> Path:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError("the disk is gone")
        return write_trace(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(assemble, "write_trace", breaks)
        with pytest.raises(OSError, match="the disk is gone"):
            machine.fetch()
    now = {run.text for run in machine.runs().values()} | set(machine.superseded)
    assert {run.text for run in before.values()} <= now

    assert machine.fetch().exit_code == 0
    assert sorted(machine.superseded) == sorted(before[UUID(an_id(n))].text for n in range(0, 40, 4))
    assert read_log(machine.folder)[-1].content_sha256 == describe_folder(machine.folder, DAY).content_sha256


def test_a_damaged_line_of_the_log_is_left_out_and_stops_nothing(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    load(machine.server, range(3))
    machine.fetch()
    log = machine.folder / LOG
    log.write_bytes(log.read_bytes().replace(b":", b";", 1))
    damaged = log.read_bytes()

    load(machine.server, range(3), outputs={"answer": "another"})
    machine.fetch()
    assert (len(read_log(machine.folder)), log.read_bytes().startswith(damaged)) == (1, True)
    assert f"Line 1 of {log} is damaged" in caplog.text
