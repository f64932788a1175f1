"""What a team leaves alone: a Prefect server on Postgres, a worker, deployments, and kills in the middle."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from collector import Collector
from commands import LAST_DAY, PROJECT, Lse, Written

from bench import stack
from bench.stack import WORKER, Stack, kill_tree, until
from lse.errors import ConfigurationError
from lse.sandbox.faults import Rule

FIRST_DAY = LAST_DAY - timedelta(days=1)


@pytest.fixture
def running(lse: Lse, tmp_path: Path, collector: Collector) -> Iterator[Stack]:
    """The settings of server, worker and flow runs, none of which is started yet."""
    settings = {
        **lse.settings,
        "LSE_DATA_DIR": str(tmp_path / "data"),
        "LSE_ARCHIVE_DIR": str(tmp_path / "archives"),
        "LSE_STATE_DIR": str(tmp_path / "state"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    try:
        with stack.postgres() as database, Stack(tmp_path, database, settings) as made:
            yield made
    except ConfigurationError as error:
        pytest.skip(error.message)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server


@pytest.mark.timeout(600)  # 40 s on a machine that is idle
def test_deployments_run_by_hand_and_by_schedule_and_kills_cost_nothing_but_time(
    lse: Lse, written: Written, running: Stack, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.schemas.schedules import IntervalSchedule

    from deployments import apply

    monkeypatch.setenv("PREFECT_API_URL", running.environment["PREFECT_API_URL"])
    server = running.start_server()
    with running.client() as client:

        def state(run_id: Any) -> str:
            return str(client.read_flow_run(run_id).state_name)

        # A run of which nothing is heard for so long is dead; the first heartbeat comes at its beginning.
        monkeypatch.setattr(apply, "_SILENCE", timedelta(seconds=10))
        first = apply.apply(prune=True)
        assert next(first) == "work pool lse: made"
        worker = running.start(*WORKER)
        list(first)
        assert {each.name for each in client.read_automations()} == {
            f"lse: {kind} run" for kind in ("failed", "late", "stuck", "dead", "lost")
        }
        day = client.read_deployment_by_name("full-sweep/day").id

        faults = written.sandbox.langsmith.faults
        faults.add(Rule(operation="query_runs", do={"delay": 30}))
        last_day = {"project": PROJECT, "date": LAST_DAY.isoformat()}
        killed = client.create_flow_run_from_deployment(day, parameters=last_day).id
        until(lambda: faults.describe()["rules"][0]["fired"])  # its fetch waits for an answer now
        kill_tree(worker)
        faults.clear()
        until(lambda: state(killed) == "Crashed")

        kill_tree(server)
        running.start_server()
        monkeypatch.undo()
        monkeypatch.setenv("PREFECT_API_URL", running.environment["PREFECT_API_URL"])
        running.start(*WORKER)
        again = list(apply.apply(prune=True))
        assert again[0] == "work pool lse: there already"
        other_day = {"project": PROJECT, "date": FIRST_DAY.isoformat()}
        by_hand = client.create_flow_run_from_deployment(day, parameters=other_day).id
        every_ten = IntervalSchedule(interval=timedelta(seconds=10))
        client.create_deployment_schedules(day, [(every_ten, True)], parameters=last_day)
        until(lambda: state(by_hand) in stack.OVER)
        assert state(by_hand) == "Completed"
        until(
            lambda: any(
                each.auto_scheduled and each.state_name == "Completed" for each in client.read_flow_runs()
            )
        )

    compared = lse(
        "archive",
        "verify",
        "-p",
        PROJECT,
        "--start-date",
        str(FIRST_DAY),
        "--end-date",
        str(LAST_DAY),
        "--json",
        **running.environment,
    )
    assert (compared.code, [each["figures"]["differences"] for each in compared.json]) == (0, [0, 0])
    swept = {each.day: each.runs for each in written.summary.days if each.project == PROJECT}
    assert [each["figures"]["runs"] for each in compared.json] == [swept[FIRST_DAY], swept[LAST_DAY]]

    told = collector.spans("prefect")
    ended = {span.trace_id for span in told if not span.parent_span_id}  # a run that is killed tells half
    fetches = [span for span in collector.spans("lse") if span.name == "fetch" and span.trace_id in ended]
    assert fetches
    assert {span.parent_span_id for span in fetches} <= {span.span_id for span in told}
