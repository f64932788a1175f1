"""Events, failures, metrics and alerts: what stays known of sweeps when their processes are gone."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from lse.errors import TemporaryError
from lse.models import ProjectDay
from lse.pipeline.alerts import Alert, alerts, as_text, new_alerts, note_alerts, post
from lse.pipeline.metrics import METRICS, metrics
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import Store
from lse.store.events import KINDS, Events, write_event

NOW = datetime.now(UTC)
OLD = ProjectDay("chat", NOW.date() - timedelta(days=20))
DONE = {"fetched_at": NOW, "complete": True, "runs": 5, "server_runs": 5}


@pytest.fixture
def resources(database_url: str, tmp_path: Path) -> Iterator[Resources]:
    settings = load_settings(database_url=database_url, data_dir=tmp_path / "d", state_dir=tmp_path / "s")
    with Resources(settings) as opened:
        yield opened


@pytest.fixture
def events(database_url: str) -> Events:
    return Events(database_url)


def test_what_the_ledger_is_set_to_is_told_by_events_of_the_same_transaction(
    store: Store, events: Events, database_url: str
) -> None:
    store.record(OLD, **DONE)
    store.record(OLD, failed_step="upload", failure="Drive is full.")
    store.recovered(OLD, "upload")
    store.record(OLD, verified_at=NOW, differences=2)

    found = events.read()
    assert [(event.kind, event.severity, event.step) for event in found] == [
        ("day.fetched", "info", "fetch"),
        ("step.failed", "error", "upload"),
        ("step.recovered", "info", "upload"),
        ("day.differs", "error", "verify"),
    ]
    assert found[1].data == {"message": "Drive is full."}
    with psycopg.connect(database_url) as connection:
        same = connection.execute(
            "select kind from events join project_days on project_days.xmin::text = events.xid::text"
        ).fetchall()
    assert same == [("day.differs",)]


def test_a_ledger_that_cannot_be_written_leaves_no_event(store: Store, events: Events) -> None:
    with pytest.raises(TypeError):
        store.record(OLD, **DONE, no_such_column=1)

    assert events.read() == []


def test_who_follows_sees_each_event_once_also_of_transactions_that_end_late(
    events: Events, database_url: str
) -> None:
    with psycopg.connect(database_url) as slow:
        write_event(slow, "sweep.started", OLD)
        events.write("sweep.started", ProjectDay("other", OLD.day))
        before = events.read()
        slow.commit()
    events.write("sweep.finished", OLD)

    after = events.read(before[-1].cursor if before else ("1", 0))
    assert [event.project for event in before + after] == ["chat", "other", "chat"]
    assert events.read(after[-1].cursor) == []


def test_failures_that_say_the_same_are_one_group_and_solved_when_each_day_is(
    store: Store, events: Events, database_url: str
) -> None:
    days = [ProjectDay("chat", date(2026, 1, number)) for number in (1, 2, 3)]
    flow_run = uuid4()
    for number, day in enumerate(days):
        said = f"Drive answered 503 after {number + 3} attempts."
        Store(database_url, flow_run).record(day, failed_step="upload", failure=said)
    store.record(days[0], failed_step="load", failure="No database.")
    store.record(days[0], loaded_at=NOW, loaded_runs=1)

    first, second = events.failures(NOW - timedelta(days=1))
    assert (first.step, first.count, first.days, first.last_day, first.solved) == (
        "upload",
        3,
        3,
        "chat/2026-01-03",
        False,
    )
    assert (first.origins, first.last_origin) == (1, flow_run)
    assert (second.step, second.count, second.solved) == ("load", 1, True)


def test_old_events_go_but_for_alerts_that_still_stand(events: Events, database_url: str) -> None:
    for kind, cause in [("alert.raised", "a"), ("alert.raised", "b"), ("alert.cleared", "b")]:
        events.write(kind, cause=cause)
    events.write("sweep.started", OLD)
    with psycopg.connect(database_url) as connection:
        connection.execute("update events set at = now() - interval '100 days'")

    assert events.forget() == 3
    assert [event.data for event in events.read()] == [{"cause": "a"}]


def test_each_kind_of_event_that_is_written_is_in_the_catalogue(store: Store, events: Events) -> None:
    for kind in KINDS:
        store.happened(kind, OLD, figure=1)

    assert {event.kind for event in events.read()} == set(KINDS)


def test_metrics_are_those_of_the_ledger_and_the_events(resources: Resources, store: Store) -> None:
    store.record(OLD, **DONE, quarantined=2, differences=1, verified_at=NOW)
    store.record(ProjectDay('ch"at\n', OLD.day), complete=False, fetched_at=NOW, runs=1)
    store.happened("sweep.finished", OLD, steps=[["fetch", "done", 0.5], ["load", "skipped", None]])

    lines = metrics(resources).splitlines()

    end = datetime.combine(OLD.day, datetime.min.time(), UTC) + timedelta(days=1)
    assert f'lse_last_complete_timestamp_seconds{{project="chat"}} {int(end.timestamp())}' in lines
    assert 'lse_runs_archived_total{project="chat"} 5' in lines
    assert 'lse_runs_archived_total{project="ch\\"at\\n"} 1' in lines
    assert 'lse_runs_quarantined{project="chat"} 2' in lines
    assert 'lse_verify_differences{project="chat"} 1' in lines
    assert 'lse_partition_state{state="differs"} 1' in lines
    assert 'lse_partition_state{state="failed"} 0' in lines
    assert 'lse_partition_state{state="partial"} 1' in lines
    assert "lse_breaker_state 0" in lines
    assert [line for line in lines if line.startswith("lse_step_seconds_bucket")][:3] == [
        'lse_step_seconds_bucket{step="fetch",le="0.1"} 0',
        'lse_step_seconds_bucket{step="fetch",le="1"} 1',
        'lse_step_seconds_bucket{step="fetch",le="10"} 1',
    ]
    assert 'lse_step_seconds_count{step="fetch"} 1' in lines
    assert {f"# TYPE {name} gauge" for name, *_ in METRICS} <= set(lines)


@pytest.mark.parametrize(
    ("facts", "cause", "command"),
    [
        ({**DONE, "complete": False}, "partial/", "lse archive fetch "),
        (
            {**DONE, "failed_step": "upload", "failure": "no"},
            "failed/chat/upload/",
            "lse archive full-sweep ",
        ),
        ({**DONE, "differences": 3}, "differs/", "lse archive verify "),
        (DONE, "behind/chat/", "lse archive sweep --project chat"),
    ],
)
def test_each_thing_that_is_wrong_is_an_alert_with_the_command_that_helps(
    resources: Resources, store: Store, facts: dict[str, Any], cause: str, command: str
) -> None:
    store.record(OLD, **facts)

    found = {alert.cause.partition("/")[0]: alert for alert in alerts(resources)}

    alert = found[cause.partition("/")[0]]
    assert alert.cause.startswith(cause)
    assert alert.command.startswith(command)


def test_a_day_with_far_more_errors_than_the_week_before_is_an_alert(
    resources: Resources, database_url: str
) -> None:
    rows = [(NOW.date() - timedelta(days=n), 40 if n == 1 else 2) for n in range(1, 9)]
    with psycopg.connect(database_url) as connection:
        for day, failed in rows:
            for status, runs in (("error", failed), ("success", 100 - failed)):
                connection.execute(
                    "insert into daily_rollups (project, run_date, name, run_type, status, model, runs,"
                    " roots, traces, prompt_tokens, completion_tokens, total_tokens, prompt_cost,"
                    " completion_cost, total_cost, ended, latency)"
                    " values ('chat', %s, 'x', 'tool', %s, '', %s, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
                    (day, status, runs),
                )

    [spike] = alerts(resources)

    assert spike.text.endswith("40 of 100 runs failed (40.0%); the median of the week before is 2.0%")


def test_an_alert_is_told_once_until_it_is_over_and_comes_back(resources: Resources) -> None:
    alert = Alert("failed/chat", "chat failed", "lse archive sweep --project chat")

    assert new_alerts(resources, [alert]) == [alert]
    note_alerts(resources, [alert])
    assert new_alerts(resources, [alert]) == []
    note_alerts(resources, [])
    assert new_alerts(resources, [alert]) == [alert]


def test_alerts_are_posted_as_text_and_as_data_and_a_refusal_names_no_address() -> None:
    told: list[Any] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if self.path == "/good" else 403)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    alert = Alert("failed/chat", "chat failed", "lse archive sweep --project chat")
    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        post(f"{address}/good", [alert])
        with pytest.raises(TemporaryError, match=r"^The address for alerts answered 403\.$"):
            post(f"{address}/secret-token", [alert])
        server.shutdown()

    assert told[0]["text"] == as_text([alert]) == "chat failed\n    lse archive sweep --project chat"
    assert told[0]["alerts"][0]["cause"] == "failed/chat"
