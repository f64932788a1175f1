"""A plan before a fetch, and the status afterwards: against the sandbox and a real Postgres."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lse.archive.fetch_record import read_fetch_record
from lse.errors import UsageError
from lse.models import ProjectDay
from lse.pipeline import (
    ProjectStatus,
    archived_projects,
    ask_expiry,
    fetch,
    full_sweep,
    load,
    plan,
    run_step,
    statuses,
)
from lse.pipeline.health import Health, HealthPart
from lse.pipeline.status import Vanishing
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.sources import Cost, Counts, Window
from lse.store import Store

KEY = "sandbox-key"
FIRST = date(2026, 1, 5)
NOW = datetime(2026, 1, 12, 6, tzinfo=UTC)
LAST = date(2026, 1, 11)
"""The day before `NOW`."""


def a_day(number: int, project: str = "chat") -> ProjectDay:
    return ProjectDay(project, FIRST + timedelta(days=number))


def line(day: ProjectDay, number: int, **more: Any) -> bytes:
    """A trace of one run."""
    run = f"{day.day:%Y%m%d}-0000-4000-8000-{number:012x}"
    at = day.start + timedelta(minutes=number)
    values = {
        "id": run,
        "trace_id": run,
        "name": "root",
        "run_type": "chain",
        "status": "success",
        "start_time": at.isoformat(),
        "end_time": (at + timedelta(seconds=1)).isoformat(),
        "dotted_order": f"{at:%Y%m%dT%H%M%S%fZ}{run}",
    }
    return json.dumps(values | more).encode()


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    """Five runs on each of seven days of `chat`; the fourth day is empty."""
    with LangSmithServer(api_key=KEY) as running:
        for number in (0, 1, 2, 4, 5, 6):
            running.load([line(a_day(number), run) for run in range(1, 6)], "chat")
        running.load([line(a_day(0), 99)], "other")
        yield running


class Machine:
    """One machine with a store, where it is six o'clock on the eighth day."""

    def __init__(self, server: LangSmithServer, folder: Path, database_url: str, api: str = "v1") -> None:
        self.server = server
        self.folder = folder
        self.settings = load_settings(
            langsmith_endpoint=server.url,
            langsmith_api_key=KEY,
            langsmith_api=api,
            langsmith_rate_limit=False,
            database_url=database_url,
            target=f"directory:{folder / 'target'}",
            data_dir=folder / "data",
            archive_dir=folder / "archives",
            state_dir=folder / "state",
        )
        self.resources = self.at(NOW)

    def at(self, now: datetime) -> Resources:
        """What it works with at another time."""
        resources = Resources(self.settings)
        vars(resources)["now"] = lambda: now
        return resources

    def status(self, *, expiry: bool = False, project: str = "chat") -> ProjectStatus:
        found = statuses(self.resources, [project])
        return (ask_expiry(self.resources, found).statuses if expiry else found)[0]

    def close(self) -> None:
        self.resources.close()


@pytest.fixture
def machine(server: LangSmithServer, tmp_path: Path, database_url: str) -> Iterator[Machine]:
    made = Machine(server, tmp_path, database_url)
    yield made
    made.close()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# The plan


def test_a_plan_counts_requests_time_and_expiry_and_writes_nothing(
    machine: Machine, store: Store, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    first, empty = plan(machine.resources, [a_day(0), a_day(3)])

    assert (first.counts, first.settled) == (Counts(5, 5, 0), False)
    # two pages at 10 calls in 10 s, the second for late runs; six small requests at 2,000 a minute
    assert first.cost == Cost(pages=2, counts=5, feedback=1, seconds=2 * 10 / 10 + 6 * 60 / 2000)
    assert first.expires_at == datetime(2026, 1, 19, 0, 1, tzinfo=UTC)
    assert (empty.counts, empty.expires_at) == (Counts(0, 0, 0), None)
    assert tree(tmp_path) == before
    assert store.ledgers() == []


def test_a_large_day_takes_as_many_pages_as_hold_it_and_one_more_for_each_further_lane(
    machine: Machine,
) -> None:
    source = machine.resources.source
    window = Window(source.project("chat"), a_day(0).start, a_day(0).end)
    cost = source.cost(window, Counts(100_000, 10_000), lanes=4)

    assert (cost.pages, cost.counts, cost.feedback) == (1003, 5, 2000)


def test_through_v2_a_plan_says_nothing_of_expiry(
    server: LangSmithServer, tmp_path: Path, database_url: str
) -> None:
    machine = Machine(server, tmp_path, database_url, api="v2")
    (day,) = plan(machine.resources, [a_day(0)])
    assert (day.counts, day.expires_at) == (Counts(5, 5, 0), None)
    assert day.cost == Cost(pages=2, counts=5, feedback=1, seconds=2 * 10 / 300 + 6 * 60 / 2000)
    machine.close()


def test_a_settled_day_is_known_in_the_plan(machine: Machine) -> None:
    fetch(machine.resources, a_day(0))  # seven days later
    fetch(machine.resources, a_day(6))  # six hours later
    assert [day.settled for day in plan(machine.resources, [a_day(0), a_day(6)])] == [True, False]


def test_a_server_that_cannot_count_leaves_the_cost_unknown(machine: Machine) -> None:
    machine.server.faults.add(Rule({"status": 404}, operation="run_stats", times=None))
    (day,) = plan(machine.resources, [a_day(0)])
    assert (day.counts, day.cost, day.expires_at) == (None, None, None)


def test_a_plan_for_an_unknown_project_is_refused(machine: Machine) -> None:
    with pytest.raises(UsageError, match="no project called 'caht'"):
        plan(machine.resources, [a_day(0, "caht")])


# The status


def test_nothing_is_known_of_a_project_that_was_never_archived(machine: Machine) -> None:
    assert machine.status() == ProjectStatus(
        "chat",
        first_day=None,
        last_complete=None,
        lag=None,
        open=(),
        partial=(),
        unproved=(),
        missing=(),
        quarantined=0,
        not_uploaded=(),
        not_verified=(),
        differing=(),
        health=Health(0, ()),
        failure=None,
        vanishing=(),
    )
    assert archived_projects(machine.resources) == set()


def test_a_project_that_is_swept_day_by_day_is_up_to_date(machine: Machine) -> None:
    for number in range(7):
        full_sweep(machine.resources, a_day(number))
    status = machine.status(expiry=True)

    assert (status.first_day, status.last_complete, status.lag, status.whole) == (FIRST, LAST, 0, True)
    # settled after 72 hours: the sweeps at six o'clock of the eighth day came too early for three days
    assert status.open == tuple(FIRST + timedelta(days=n) for n in (4, 5, 6))
    assert (status.not_uploaded, status.not_verified, status.quarantined) == ((), (), 0)
    assert (status.failure, status.vanishing) == (None, ())
    assert status.health.score == 100
    assert archived_projects(machine.resources) == {"chat"}


def test_gaps_lag_and_days_never_uploaded_are_seen(machine: Machine) -> None:
    for number in (0, 3, 4):
        fetch(machine.resources, a_day(number))
    load(machine.resources, a_day(0))
    status = machine.status()

    assert (status.last_complete, status.lag) == (FIRST + timedelta(days=4), 2)
    assert status.missing == tuple(FIRST + timedelta(days=n) for n in (1, 2, 5, 6))
    assert status.not_uploaded == status.not_verified == (FIRST, FIRST + timedelta(days=4))  # one is empty
    assert not status.whole
    assert status.health == Health(
        37,
        (
            HealthPart("complete", 17, 40, "3 of 7 days since 2026-01-05 are proved complete"),
            HealthPart("uploaded", 0, 20, "0 of 2 days with runs are in the target"),
            HealthPart("verified", 0, 20, "0 of 2 days with runs have copies that were equal"),
            HealthPart("quarantine", 10, 10, "0 runs could not be loaded"),
            HealthPart("failures", 10, 10, "0 days on which the last try of a step failed"),
        ),
    )


def test_an_empty_day_of_a_mistyped_year_begins_no_project(machine: Machine) -> None:
    for day in (ProjectDay("chat", FIRST.replace(year=2016)), a_day(0)):
        fetch(machine.resources, day)
    status = machine.status()

    assert (status.first_day, len(status.missing)) == (FIRST, 6)


def test_a_partial_day_shows_with_its_failure_and_when_it_vanishes(machine: Machine) -> None:
    machine.server.load(
        [
            line(
                a_day(0),
                7,
                trace_id=f"{a_day(0).day:%Y%m%d}-0000-4000-8000-{1:012x}",
                parent_run_id="00000000-0000-4000-8000-00000000000f",
                dotted_order=None,
            )
        ],
        "chat",
    )
    fetch(machine.resources, a_day(0))
    status = machine.status()
    record = read_fetch_record(machine.resources.folder(a_day(0)))

    assert record is not None
    assert record.expires_at == "2026-01-19T00:01:00+00:00"
    assert (status.partial, status.last_complete, status.whole) == ((FIRST,), None, False)
    assert status.failure is not None
    assert status.failure.startswith("2026-01-05 fetch: ")
    assert status.vanishing == (Vanishing(FIRST, datetime(2026, 1, 19, 0, 1, tzinfo=UTC)),)


def test_the_radar_asks_the_source_about_every_day_that_is_not_archived(machine: Machine) -> None:
    for number in (0, 2, 4):
        fetch(machine.resources, a_day(number))
    status = machine.status(expiry=True)

    def expiry(number: int) -> Vanishing:
        return Vanishing(a_day(number).day, a_day(number).start + timedelta(days=14, minutes=1))

    assert status.vanishing == (expiry(1), expiry(5), expiry(6))  # the fourth day is empty
    assert [item.day for item in machine.status(expiry=True, project="other").vanishing] == [FIRST]


def test_the_radar_goes_by_the_records_when_the_source_does_not_answer(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (0, 2):
        fetch(machine.resources, a_day(number))
    machine.server.faults.add(Rule({"status": 401}, times=None))

    outlook = ask_expiry(machine.resources, statuses(machine.resources, ["chat"]))

    assert outlook.statuses[0].vanishing == ()
    assert outlook.not_asked == tuple(a_day(number) for number in (1, 3, 4, 5, 6))
    assert "from earlier fetches only" in caplog.text


def test_the_radar_asks_what_may_go_first_and_says_what_it_did_not_come_to(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(machine.resources, a_day(0))
    later = machine.at(datetime(2027, 2, 8, 6, tzinfo=UTC))
    found = statuses(later, ["chat"])

    soon = ask_expiry(later, found, within=timedelta(days=3), seconds=-1)

    assert len(found[0].missing) == 398
    days = ("2027-01-25", "2027-01-26", "2026-01-06", "2027-01-27", "2026-01-07", "2027-01-28")
    assert [str(day.day) for day in soon.not_asked] == list(days)  # kept for 14 days, or for 400
    assert "LangSmith was not asked about 6 days, the first chat/2027-01-25." in caplog.text


def test_where_the_source_has_nothing_of_all_those_days_it_is_asked_once(machine: Machine) -> None:
    fetch(machine.resources, a_day(6))
    later = machine.at(NOW + timedelta(days=300))
    found = statuses(later, ["chat"])
    machine.server.clear_log()

    outlook = ask_expiry(later, found)

    assert (len(found[0].missing), outlook.statuses[0].vanishing, outlook.not_asked) == (300, (), ())
    assert len([each for each in machine.server.log if each.operation == "query_runs"]) <= 2


def test_what_is_scored_is_listed(machine: Machine) -> None:
    """An import leaves days that nothing proves complete, and a comparison may find differences."""
    fetch(machine.resources, a_day(0))
    machine.resources.store.record(a_day(0), verified_at=NOW, differences=2)
    machine.resources.store.record(a_day(1), loaded_at=NOW, runs=5)
    status = machine.status()

    assert (status.unproved, status.differing) == ((a_day(1).day,), (FIRST,))
    assert status.missing == tuple(FIRST + timedelta(days=n) for n in (2, 3, 4, 5, 6))
    assert [part.why for part in status.health.parts[:3]] == [
        "1 of 7 days since 2026-01-05 are proved complete",
        "0 of 2 days with runs are in the target",
        "0 of 2 days with runs have copies that were equal",
    ]


def test_quarantined_runs_are_summed(machine: Machine) -> None:
    for number, quarantined in ((0, 2), (1, 3)):
        fetch(machine.resources, a_day(number))
        machine.resources.store.record(a_day(number), quarantined=quarantined)
    assert machine.status().quarantined == 5
    assert [part.points for part in machine.status().health.parts if part.name == "quarantine"] == [0]


def test_a_step_that_succeeds_takes_its_own_failure_back_and_no_other(machine: Machine) -> None:
    day = a_day(0)
    machine.resources.store.record(day, failed_step="pack", failure="the disk was full")
    fetch(machine.resources, a_day(1))
    assert machine.status().failure == "2026-01-05 pack: the disk was full"
    run_step("fetch", machine.resources, day)
    machine.resources.store.record(day, failed_step="upload", failure="no answer")
    run_step("pack", machine.resources, day)
    assert machine.status().failure == "2026-01-05 upload: no answer"
    run_step("upload", machine.resources, day)
    assert machine.status().failure is None


def test_without_a_store_the_records_are_the_truth_and_the_rest_is_unknown(machine: Machine) -> None:
    vars(machine.resources)["ledger"] = None
    for number in (0, 2):
        fetch(machine.resources, a_day(number))
    status = machine.status()

    assert (status.last_complete, status.lag) == (FIRST + timedelta(days=2), 4)
    assert status.missing == tuple(FIRST + timedelta(days=n) for n in (1, 3, 4, 5, 6))
    assert (status.quarantined, status.not_uploaded, status.not_verified) == (None, None, None)
    assert [(part.name, part.points) for part in status.health.parts] == [
        ("complete", 11),
        ("uploaded", 0),
        ("verified", 0),
        ("quarantine", 0),
        ("failures", 10),
    ]
    assert archived_projects(machine.resources) == {"chat"}


def test_a_fetch_that_the_ledger_missed_counts_all_the_same(machine: Machine) -> None:
    fetch(machine.resources, a_day(0))
    away = machine.at(NOW + timedelta(hours=1))
    vars(away)["ledger"] = None
    fetch(away, a_day(1))
    away.close()

    status = machine.status()
    assert (status.last_complete, status.not_uploaded) == (
        FIRST + timedelta(days=1),
        (FIRST, FIRST + timedelta(days=1)),
    )


def test_the_status_reads_and_locks_nothing(machine: Machine) -> None:
    fetch(machine.resources, a_day(0))
    done = threading.Event()

    def look() -> None:
        machine.status()
        done.set()

    with machine.resources.lock(a_day(0)):
        thread = threading.Thread(target=look)
        thread.start()
        assert done.wait(20)
        thread.join()
