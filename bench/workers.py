"""Several workers on one database: `python -m bench.workers DAYS WORKERS... [--limits]`.

So many project days are swept against the local LangSmith, into a Postgres that all workers share: by plain
processes, and by flow runs of as many Prefect workers under a running server. What the flow runs take longer
is the cost of orchestration, in seconds of each worker, and what they compute more, in seconds of a
processor: that of the server included, but not what it and the workers take when nothing runs. With
`--limits`, LangSmith refuses what exceeds its published rates of v1: the figures are then how many requests
were refused, and how much of the rate for pages was used.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import stack
from bench.stack import OVER, WORKER, Stack
from lse.models import ProjectDay
from lse.pipeline import exit_code, full_sweep
from lse.resources import Resources
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.store import migrate
from lse.store.embedded import EmbeddedPostgres, find_binaries

DAYS_EACH = 5
"""Days of each project; all are within what LangSmith counts as recent"""
RUNS = 250
"""Of each day: three pages"""
PAGES = 10
"""Requests for pages that LangSmith's v1 allows within 10 s, of recent days"""
IDLE_SECONDS = 10
FIRST = datetime.now(UTC).date() - timedelta(days=DAYS_EACH)


@dataclass(frozen=True)
class Place:
    """Where the workers of one measurement work."""

    folder: Path
    settings: dict[str, str]
    projects: list[str]
    server: LangSmithServer

    def share(self, number: int, workers: int) -> list[str]:
        """The projects of one worker."""
        return self.projects[number::workers]


@dataclass(frozen=True)
class Taken:
    """What sweeping all days took."""

    seconds: float
    computed: float
    """Seconds of a processor, without those of Postgres and LangSmith"""


def main() -> None:
    """Measure each number of workers, each on stores of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("days", type=int, help=f"a multiple of {DAYS_EACH} times the number of workers")
    parser.add_argument("workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.share:
        sweep(json.loads(options.share))
        return
    print("workers  days  plain, s  Prefect, s  more a day, s  computed more, s  pages  of the rate  refused")
    for workers in options.workers:
        measure(options.days, workers, options.limits)


def measure(days: int, workers: int, limits: bool) -> None:
    """Sweep `days` with so many processes, and with so many Prefect workers, and print what it took."""
    with place(days, limits) as by_processes:
        plain = run_processes(by_processes, workers)
    with place(days, limits) as by_flows:
        orchestrated = run_flows(by_flows, workers)
        pages = [entry.time for entry in by_flows.server.log if entry.operation == "query_runs"]
        refused = Counter(entry.status for entry in by_flows.server.log)[429]
    used = (len(pages) - PAGES) / (pages[-1] - pages[0]) / (PAGES / 10)
    overhead = (orchestrated.seconds - plain.seconds) * workers / days
    more = (orchestrated.computed - plain.computed) / days
    took = f"{plain.seconds:8.1f}  {orchestrated.seconds:10.1f}  {overhead:13.2f}  {more:16.2f}"
    asked_for = f"{len(pages):5}  {used:11.2f}  {refused:7}"
    print(f"{workers:7}  {days:4}  {took}  {asked_for}", flush=True)


@contextmanager
def place(days: int, limits: bool) -> Iterator[Place]:
    """A LangSmith with so many project days, and an empty store."""
    projects = [f"chat-{number}" for number in range(days // DAYS_EACH)]
    binaries = find_binaries(load_settings(_env_file=None))
    with (
        tempfile.TemporaryDirectory() as name,
        LangSmithServer(api_key="k", rate_limits=limits) as server,
        EmbeddedPostgres(Path(name), binaries).running() as url,
    ):
        for project in projects:
            for day in (FIRST + timedelta(days=number) for number in range(DAYS_EACH)):
                server.load([line(project, day, number) for number in range(RUNS)], project)
        migrate.upgrade(url)
        settings = {
            "LSE_DATABASE_URL": url,
            "LANGSMITH_ENDPOINT": server.url,
            "LANGSMITH_API_KEY": "k",
            "LSE_LANGSMITH_API": "v1",
            "LSE_LANGSMITH_RATE_LIMIT": str(limits),
            "LSE_DATA_DIR": f"{name}/data",
            "LSE_ARCHIVE_DIR": f"{name}/archives",
            "LSE_STATE_DIR": f"{name}/state",
        }
        yield Place(Path(name), settings, projects, server)


def run_processes(where: Place, workers: int) -> Taken:
    """What plain processes take."""
    begin, before = time.monotonic(), computed()
    shares = [json.dumps(where.share(number, workers)) for number in range(workers)]
    command = [sys.executable, "-m", "bench.workers", "0", "--share"]
    started = [subprocess.Popen([*command, share], env=where.settings) for share in shares]
    codes = [process.wait() for process in started]
    if any(codes):
        raise RuntimeError("a process failed")
    return Taken(time.monotonic() - begin, computed() - before)


def sweep(projects: list[str]) -> None:
    """Sweep the days of a share; the exit code is the first that is not 0."""
    with Resources(load_settings(_env_file=None)) as resources:
        results = [
            result
            for name in projects
            for number in range(DAYS_EACH)
            for result in full_sweep(
                resources, ProjectDay(name, FIRST + timedelta(days=number)), skip={"upload"}
            )
        ]
    sys.exit(exit_code(results))


def run_flows(where: Place, workers: int) -> Taken:
    """What it takes from asking for flow runs until the last is over; server and workers run before."""
    with stack.postgres() as database, Stack(where.folder, database, where.settings) as running:
        running.start_server()
        running.deploy()
        for _ in range(workers):
            running.start(*WORKER, "--limit", "1")
        with running.client() as client:
            stack.until(lambda: len(client.read_workers_for_work_pool("lse")) == workers)
            deployment = client.read_deployment_by_name("backfill/range").id
            idle = idle_rate(running)
            begin, before = time.monotonic(), running.computed()
            runs = [
                client.create_flow_run_from_deployment(
                    deployment, parameters=asked(where, number, workers)
                ).id
                for number in range(workers)
            ]
            stack.until(lambda: all(client.read_flow_run(run).state_name in OVER for run in runs), 3600)
            seconds = time.monotonic() - begin
            taken = Taken(seconds, running.computed() - before - idle * seconds)
            if any(client.read_flow_run(run).state_name != "Completed" for run in runs):
                raise RuntimeError(f"a flow run failed: {running.log.read_text()[-6000:]}")
    return taken


def idle_rate(running: Stack) -> float:
    """The processor seconds that server and workers take each second while no flow runs."""
    before = running.computed()
    time.sleep(IDLE_SECONDS)
    return (running.computed() - before) / IDLE_SECONDS


def computed() -> float:
    """The processor time of this process's children that are over, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def asked(where: Place, number: int, workers: int) -> dict[str, Any]:
    """The parameters of the backfill of one share."""
    return {
        "projects": where.share(number, workers),
        "start": FIRST.isoformat(),
        "end": (FIRST + timedelta(days=DAYS_EACH - 1)).isoformat(),
        "at_once": 1,
        "skip": ["upload"],
    }


def line(project: str, day: date, number: int) -> bytes:
    """A trace of one run."""
    run = f"{day:%Y%m%d}-{int(project.rpartition('-')[2]):04x}-4000-8000-{number:012x}"
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(seconds=10 * number)
    values = {
        "id": run,
        "trace_id": run,
        "name": "root",
        "run_type": "chain",
        "status": "success",
        "start_time": at.isoformat(),
        "end_time": (at + timedelta(seconds=1)).isoformat(),
        "dotted_order": f"{at:%Y%m%dT%H%M%S%f}Z{run}",
    }
    return json.dumps(values).encode()


if __name__ == "__main__":
    main()
