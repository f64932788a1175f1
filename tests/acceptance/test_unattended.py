"""What a team leaves alone: a Prefect server on Postgres, a worker, deployments, and a kill in the middle."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from commands import LAST_DAY, PROJECT, Lse, Written
from psycopg import conninfo

from lse.sandbox.faults import Rule
from lse.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
SCHEDULES = not version("sqlalchemy").startswith("2.1")
"""The scheduler of Prefect 3.8.8 fails at every turn with SQLAlchemy 2.1, so no schedule ever fires there."""
DAY = {"project": PROJECT, "date": LAST_DAY.isoformat()}


@pytest.fixture
def prefect_postgres() -> Iterator[dict[str, str]]:
    """A server for Prefect, which needs pg_trgm; the Postgres of a wheel comes without extensions."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not places or not list(Path("/usr/share/postgresql").glob("*/extension/pg_trgm.control")):
        pytest.skip("there is no Postgres with pg_trgm")
    with (
        tempfile.TemporaryDirectory(prefix="lse-prefect-") as folder,
        EmbeddedPostgres(Path(folder), places[0]).running() as url,
    ):
        yield {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items()}


@pytest.fixture
def environment(lse: Lse, prefect_postgres: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The settings of server, worker and flow runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **lse.settings,
        "LSE_DATA_DIR": str(tmp_path / "data"),
        "LSE_ARCHIVE_DIR": str(tmp_path / "archives"),
        "LSE_STATE_DIR": str(tmp_path / "state"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": port,
        "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://{user}@/{dbname}?host={host}".format(
            **prefect_postgres
        ),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
    }


@contextlib.contextmanager
def running(environment: dict[str, str], log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect` with this command until the block ends, with whatever it started."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_tree(process.pid)
        process.wait(timeout=10)


def kill_tree(pid: int) -> None:
    """Kill a process and its children, none of which gets to say anything."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    for child in map(int, listed.stdout.split()):
        kill_tree(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
    return found


def answers(environment: dict[str, str]) -> bool:
    try:
        with urlopen(f"{environment['PREFECT_API_URL']}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.timeout(600)  # a minute on a machine that is idle
def test_deployments_run_by_hand_and_by_schedule_and_a_killed_worker_costs_nothing_but_time(
    lse: Lse, written: Written, environment: dict[str, str], tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.schedules import IntervalSchedule
    from prefect.settings import PREFECT_API_URL, temporary_settings

    log = tmp_path / "prefect.log"
    worker = ("worker", "start", "--pool", "lse", "--type", "process")
    with (
        running(environment, log, "server", "start", "--host", "127.0.0.1") as server,
        temporary_settings(updates={PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        until(lambda: answers(environment) or server.poll() is not None, 90)
        assert server.poll() is None, log.read_text()[-2000:]
        deployed = [lse("deploy", "--prune", **environment) for _ in range(2)]
        assert [(answer.code, answer.err) for answer in deployed] == [(0, ""), (0, "")]
        assert [answer.out.splitlines()[0] for answer in deployed] == [
            "work pool lse: made",
            "work pool lse: there already",
        ]

        with get_client(sync_client=True) as client:
            assert len(client.read_automations()) == 4
            day = client.read_deployment_by_name("full-sweep/day").id

            def state(run_id: Any) -> str:
                return str(client.read_flow_run(run_id).state_name)

            with running(environment, log, *worker):
                by_hand = client.create_flow_run_from_deployment(day, parameters=DAY).id
                until(lambda: state(by_hand) in ("Completed", "Failed", "Crashed"))
                assert state(by_hand) == "Completed"

                faults = written.sandbox.langsmith.faults
                faults.add(Rule(operation="query_runs", do={"delay": 30}))
                killed = client.create_flow_run_from_deployment(day, parameters={**DAY, "force": True}).id
                until(lambda: faults.describe()["rules"][0]["fired"])  # its fetch waits for an answer now
            faults.clear()
            assert state(killed) == "Running"

            again = {**DAY, "force": True}
            if SCHEDULES:
                every_ten = IntervalSchedule(interval=timedelta(seconds=10))
                client.create_deployment_schedules(day, [(every_ten, True)], parameters=again)
            else:
                client.create_flow_run_from_deployment(day, parameters=again)
            with running(environment, log, *worker):
                until(lambda: completed(client, but=by_hand))
    compared = lse("archive", "verify", "-p", PROJECT, "-d", DAY["date"], "--json", **environment)
    assert (compared.code, compared.json["figures"]["differences"]) == (0, 0)
    swept = {(each.project, each.day): each.runs for each in written.summary.days}
    assert compared.json["figures"]["runs"] == swept[PROJECT, LAST_DAY]


def completed(client: Any, *, but: Any) -> bool:
    """Whether another run has completed: one that nobody started by hand, where schedules work."""
    return any(
        run.state_name == "Completed" and run.id != but and run.auto_scheduled == SCHEDULES
        for run in client.read_flow_runs()
    )
