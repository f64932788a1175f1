"""The flows through Prefect's own test harness, and the command that runs a flow without a server."""

import asyncio
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from commands import LAST_DAY, PROJECT, RECIPE, Lse, Written
from surroundings import bare_environment

from bench.stack import until
from lse.errors import AccessError, TemporaryError, UsageError
from lse.sandbox.faults import Rule

ROOT = Path(__file__).parents[2]
ALL_STEPS = ["fetch", "pack", "upload", "load", "verify"]


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One temporary Prefect server for the module; the harness is imported here, since it takes seconds."""
    home = tmp_path_factory.mktemp("prefect")
    os.environ |= {
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings(
            updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}  # its thread takes a second to end each flow
        ),
    ):
        yield


@pytest.fixture
def configured(lse: Lse, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Lse:
    """This process set up as `lse` is, since a flow reads its settings from the environment."""
    for name, value in lse.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(lse.folder)
    return lse


def artifacts(key: str) -> list[Any]:
    """The artifacts stored under `key`, oldest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    async def read() -> list[Any]:
        async with get_client() as client:
            return await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            )

    return asyncio.run(read())


def test_a_sweep_is_completed_and_publishes_its_summary(configured: Lse) -> None:
    from flows.full_sweep import full_sweep

    state = full_sweep(project=PROJECT, date=LAST_DAY, return_state=True)

    assert (state.type.value, state.message) == ("COMPLETED", "5 steps done")
    summary = artifacts("full-sweep-chat-research")[0]
    assert re.match(
        r"chat-research/2025-09-14: [\d.]+ s, .+; [1-9]\d* requests to LangSmith$", summary.description
    )
    assert [step in summary.data for step in ALL_STEPS] == [True] * 5


def test_steps_that_are_skipped_are_left_out(configured: Lse) -> None:
    from flows.full_sweep import full_sweep

    state = full_sweep(project=PROJECT, date=LAST_DAY, skip_upload=True, skip_db=True, return_state=True)

    assert state.type.value == "COMPLETED"
    assert [result.state for result in state.result()] == ["done", "done", "skipped", "skipped", "done"]


def test_a_sweep_whose_upload_fails_is_failed_and_has_still_loaded(
    configured: Lse, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import _days
    from flows import full_sweep as module

    monkeypatch.setattr(_days, "step", _days.step.with_options(retries=0))
    written.sandbox.drive.faults.add(
        Rule(operation=".*", do={"status": 403, "reason": "insufficientFilePermissions"}, times=None)
    )

    state = module.full_sweep(project=PROJECT, date=LAST_DAY, return_state=True)

    results = {result.step: result.state for result in state.result(raise_on_failure=False)}
    assert state.type.value == "FAILED"
    assert "upload failed" in state.message
    assert (results["upload"], results["load"]) == ("failed", "done")


def test_a_report_is_published_as_a_csv_file_a_link_and_a_table(configured: Lse) -> None:
    from flows.full_sweep import full_sweep
    from flows.reports import report

    full_sweep(project=PROJECT, date=LAST_DAY, return_state=True)

    state = report(name="zenrows-errors", project=PROJECT, start=LAST_DAY, return_state=True)

    file = configured.folder / "archives/reports/zenrows-errors/chat-research/2025-09-14_2025-09-14.csv"
    assert state.message == f"1 row in {file}"
    assert file.read_text().startswith("Date,Total Traces,Zenrows Errors,Error Rate\n2025-09-14,5,")
    assert file.as_uri() in artifacts("zenrows-errors-chat-research-csv")[0].data
    assert '"Total Traces": "5"' in artifacts("zenrows-errors-chat-research")[0].data


def test_a_sweep_of_what_is_due_goes_on_past_a_day_that_fails(
    configured: Lse, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import _common, _days, sweep

    monkeypatch.setattr(_days, "step", _days.step.with_options(retries=0))
    monkeypatch.setattr(_common, "due_date", lambda: LAST_DAY + timedelta(days=1))
    failing = Rule(operation=".*", do={"status": 403, "reason": "insufficientFilePermissions"}, times=99)
    configured("archive", "full-sweep", "-p", PROJECT, "-d", "2025-09-13", "--skip-upload", "--skip-verify")
    written.sandbox.drive.faults.add(failing)

    state = sweep.sweep(projects=["chat-*"], at_once=2, return_state=True)
    written.sandbox.drive.faults.clear()
    again = sweep.sweep(projects=["chat-*"], return_state=True)

    done = {str(each.day): each.good for each in state.result(raise_on_failure=False)}
    assert set(done) >= {"chat-research/2025-09-13", "chat-research/2025-09-14"}
    assert (state.type.value, again.type.value) == ("FAILED", "COMPLETED")
    assert state.message.startswith(f"{len(done)} project days: ")
    assert "upload failed" in state.message
    assert any("chat-research" in table.data for table in artifacts("sweep"))


def test_a_backfill_takes_each_day_of_its_range_and_says_so_in_its_name(configured: Lse) -> None:
    from prefect.client.orchestration import get_client

    from flows.sweep import backfill

    state = backfill(
        projects=[PROJECT], start=date(2025, 9, 13), end=LAST_DAY, skip={"upload"}, return_state=True
    )

    assert (state.type.value, state.message) == ("COMPLETED", "2 project days done")
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(state.state_details.flow_run_id).name
    assert name == "backfill/chat-research/2025-09-13 to 2025-09-14"


@pytest.fixture
def dask(configured: Lse, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dask is there; a process of its cluster that hangs is aborted, and shows where its threads were."""
    pytest.importorskip("prefect_dask")
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    late = threading.Timer(120, lambda: [os.kill(each, signal.SIGABRT) for each in dask_processes()])
    late.start()
    yield
    late.cancel()


def dask_processes() -> list[int]:
    return [each.pid for each in multiprocessing.active_children() if "Dask" in each.name and each.pid]


def spread_over_two() -> Any:
    """The state of a sweep of two days in two processes."""
    from flows.sweep import backfill

    days = {"start": date(2025, 9, 13), "end": LAST_DAY}
    return backfill(projects=[PROJECT], **days, at_once=2, engine="dask", return_state=True)


def events(lse: Lse, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lse("events", "--kind", kind, "--json").out.splitlines()]


def assert_both_are_done(lse: Lse, state: Any) -> None:
    """The flow run is completed, and the events of both days name it."""
    assert (state.type.value, state.message) == ("COMPLETED", "2 project days done")
    told = events(lse, "sweep.finished")
    assert {each["origin"] for each in told} == {str(state.state_details.flow_run_id)}
    assert {each["run_date"] for each in told} == {"2025-09-13", str(LAST_DAY)}


def test_a_sweep_spreads_over_the_processes_of_a_dask_cluster(configured: Lse, dask: None) -> None:
    assert_both_are_done(configured, spread_over_two())


def test_the_death_of_a_dask_process_costs_a_sweep_only_time(
    configured: Lse, dask: None, written: Written
) -> None:
    faults = written.sandbox.langsmith.faults
    faults.add(Rule(operation="(v2_)?query_runs", do={"delay": 12}, times=2))

    def kill() -> None:
        """Kill one of the processes while both wait for an answer."""
        until(lambda: faults.describe()["rules"][0]["fired"] == 2)
        os.kill(dask_processes()[0], signal.SIGKILL)

    with ThreadPoolExecutor() as beside:
        killed = beside.submit(kill)
        state = spread_over_two()
        killed.result()

    assert len(events(configured, "sweep.started")) > 2
    assert_both_are_done(configured, state)


def test_a_rotation_compares_its_part_a_drill_restores_and_prune_says_what_would_go(configured: Lse) -> None:
    from flows.care import drill, prune, verify_rotation

    configured("archive", "full-sweep", "-p", PROJECT, "-d", LAST_DAY.isoformat())

    compared = verify_rotation(parts=1, return_state=True)
    drilled = drill(count=1, seed=5, return_state=True)
    pruned = prune(keep_days=30, max_share=100, return_state=True)

    assert (compared.type.value, compared.message) == ("COMPLETED", "1 project day done")
    assert (drilled.type.value, drilled.message) == ("COMPLETED", "1 day restored, seed 5")
    assert '"from": "target"' in artifacts("drill")[0].data
    assert pruned.type.value == "COMPLETED"
    assert pruned.message.startswith("1 day, ")
    assert pruned.message.endswith(" would go to the trash")


@pytest.mark.parametrize(
    "module", ["flows.full_sweep", "flows.sweep", "flows.care", "flows.reports"], ids=lambda name: name[6:]
)
def test_each_flow_describes_each_of_its_parameters(module: str) -> None:
    from prefect import Flow

    flows = [value for value in vars(importlib.import_module(module)).values() if isinstance(value, Flow)]

    assert flows
    for flow in flows:
        described = {name: "description" in schema or name for name, schema in described_of(flow).items()}
        assert described == dict.fromkeys(described, True)


def described_of(flow: Any) -> dict[str, Any]:
    """The schema of each parameter, as the user interface reads it."""
    from prefect.utilities.callables import parameter_schema

    return dict(parameter_schema(flow).properties)


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (TemporaryError("busy"), True),
        (AccessError("no"), False),
        (UsageError("no"), False),
        (ValueError("x"), False),
    ],
)
def test_only_failures_that_may_pass_are_retried(error: Exception, retried: bool) -> None:
    from prefect.states import Failed

    from flows._common import is_temporary

    assert is_temporary(None, None, Failed(data=error)) is retried


def test_runs_are_named_by_flow_project_and_day(configured: Lse) -> None:
    from prefect.client.orchestration import get_client

    from flows.full_sweep import full_sweep

    state = full_sweep(
        project=PROJECT, date=date(2025, 9, 13), skip_upload=True, skip_db=True, return_state=True
    )

    with get_client(sync_client=True) as client:
        assert (
            client.read_flow_run(state.state_details.flow_run_id).name
            == "full-sweep/chat-research/2025-09-13"
        )


def test_no_day_is_doubled_or_skipped_where_clocks_change(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import _common

    nights = [datetime(2026, month, day, 1, tzinfo=UTC) for month in (3, 10) for day in range(24, 32)]

    def day_of(night: datetime) -> date:
        """What a run means that was due then; Prefect gives times in the zone of its schedule."""
        monkeypatch.setattr(_common, "flow_run", SimpleNamespace(scheduled_start_time=night))
        return _common.the_day(None)

    assert [day_of(night) for night in nights] == [night.date() - timedelta(days=1) for night in nights]
    berlin = ZoneInfo("Europe/Berlin")
    assert [day_of(night.astimezone(berlin)) for night in nights] == [day_of(night) for night in nights]


def test_artifact_keys_keep_projects_apart() -> None:
    from flows._common import artifact_key

    keys = {
        artifact_key("report", name) for name in ("My App", "my-app", "my app", "MY APP", "my_app", "マイ")
    }

    assert len(keys) == 6
    assert all(key.replace("-", "").isalnum() and key.isascii() and key == key.lower() for key in keys)


def test_a_dataset_is_built_uploaded_and_published(
    configured: Lse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.datasets import dataset

    assert configured("archive", "full-sweep", "-p", PROJECT, "-d", str(LAST_DAY), "--skip-upload").code == 0
    (tmp_path / "asked.yaml").write_text(RECIPE)
    monkeypatch.setenv("LSE_RECIPES_DIR", str(tmp_path))

    state = dataset(project=PROJECT, recipe="asked", end=LAST_DAY, days=1, return_state=True)
    assert state.type.value == "COMPLETED"
    record = state.result()
    assert state.message == f"5 examples, {record.id}"
    key = hashlib.sha256(b"dataset-chat-research_asked").hexdigest()[:8]
    published = artifacts(f"dataset-chat-research-asked-{key}")[-1]
    assert ('"added"' in published.data, "1 of 1 days complete" in published.description) == (True, True)

    before = LAST_DAY - timedelta(days=30)
    nothing = dataset(project=PROJECT, recipe="asked", end=before, days=1, return_state=True)
    assert (nothing.type.value, "No trace became an example" in nothing.message) == ("FAILED", True)


def test_the_command_runs_the_flow_and_gives_its_steps_as_json(lse: Lse, prefect_server: None) -> None:
    from prefect.settings import PREFECT_API_URL

    sweep = ("archive", "full-sweep", "-p", PROJECT, "-d", LAST_DAY.isoformat(), "--flow", "--json")
    answer = lse(*sweep, PREFECT_API_URL=PREFECT_API_URL.value())

    assert answer.code == 0, answer.err
    assert [step["state"] for step in answer.json["steps"]] == ["done"] * 5
    assert "Traceback" not in answer.err


def test_prefect_deploys_all_from_a_fresh_clone_without_a_question_or_a_warning(
    prefect_server: None, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "flows", clone / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", clone)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="lse", type="process"))
        code, said = on_a_terminal(
            "prefect", "deploy", "--all", cwd=clone, PREFECT_API_URL=str(client.api_url)
        )
        assert code == 0, said
        registered = [
            client.read_deployment(each.id) for each in client.read_deployments() if "lse" in each.tags
        ]

    assert [word for word in ("?", "warning", "deprecated") if word in said.lower()] == []
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert sorted((each.name, each.entrypoint, each.parameters, each.tags) for each in registered) == sorted(
        (each["name"], each["entrypoint"], each["parameters"], each["tags"]) for each in declared
    )
    schedules = {
        each.name: [(dict(s.schedule)["cron"], s.active) for s in each.schedules] for each in registered
    }
    assert schedules == {
        each["name"]: [(s["cron"], s["active"]) for s in each["schedules"]] for each in declared
    }
    begin = [{"prefect.deployments.steps.set_working_directory": {"directory": str(clone)}}]
    assert [each.pull_steps for each in registered] == [begin] * len(declared)


def on_a_terminal(program: str, *arguments: str, cwd: Path, **settings: str) -> tuple[int, str]:
    """What a program of this installation says on a terminal, where it may ask, and its exit code."""
    terminal, theirs = os.openpty()
    with subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=cwd,
        env=bare_environment(cwd.parent) | {"TERM": "dumb"} | settings,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said: list[str] = []
        # It fails when nobody writes to it any more.
        with os.fdopen(terminal, errors="replace") as lines, suppress(OSError):
            said.extend(lines)
    return process.returncode, "".join(said)
