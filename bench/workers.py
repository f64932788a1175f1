"""Several workers on one database: `python -m bench.workers DAYS WORKERS... [--limits]`.

Each worker is a process that sweeps its share of so many project days against the local LangSmith, into a
Postgres that all of them share. With `--limits`, LangSmith refuses what exceeds its published rates: the
figures are then how many requests were refused, and how much of the rate for pages was used.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from lse.models import ProjectDay
from lse.pipeline import exit_code, full_sweep
from lse.resources import Resources
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.store import migrate
from lse.store.embedded import EmbeddedPostgres, find_binaries

PROJECT = "chat"
RUNS = 250
"""Of each day: three pages"""
PAGES = 10
"""Requests for pages that LangSmith's v1 allows within 10 s, of recent days"""


def main() -> None:
    """Measure each number of workers on a store of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("days", type=int)
    parser.add_argument("workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.share:
        sweep(json.loads(options.share))
        return
    for workers in options.workers:
        measure(options.days, workers, options.limits)


def measure(days: int, workers: int, limits: bool) -> None:
    """Sweep `days` with so many processes, and print what it took."""
    last = datetime.now(UTC).date() - timedelta(days=1)
    projects = [f"{PROJECT}-{number}" for number in range(-(-days // 5))]
    chosen = [(name, last - timedelta(days=back)) for name in projects for back in range(5)][:days]
    with tempfile.TemporaryDirectory() as folder, LangSmithServer(api_key="k", rate_limits=limits) as server:
        for name, day in chosen:
            server.load([line(name, day, number) for number in range(RUNS)], name)
        with EmbeddedPostgres(Path(folder), find_binaries(load_settings(_env_file=None))).running() as url:
            migrate.upgrade(url)
            begin = time.monotonic()
            started = [start(folder, url, server.url, chosen[n::workers], limits) for n in range(workers)]
            codes = [process.wait() for process in started]
            seconds = time.monotonic() - begin
        pages = [entry for entry in server.log if entry.operation == "query_runs"]
        statuses = Counter(entry.status for entry in server.log)
    span = pages[-1].time - pages[0].time
    used = (len(pages) - PAGES) / span / (PAGES / 10)
    print(
        f"{workers} workers, {days} days: {seconds:.1f} s, {seconds / days:.2f} s a day; exit codes {codes};"
        f" {len(pages)} pages, {used:.2f} of the rate; refused {statuses[429]}",
        flush=True,
    )


def start(
    folder: str, url: str, endpoint: str, share: list[tuple[str, date]], limits: bool
) -> subprocess.Popen[bytes]:
    """A process that sweeps `share`."""
    flags = {
        "database_url": url,
        "langsmith_endpoint": endpoint,
        "langsmith_api_key": "k",
        "langsmith_api": "v1",
        "langsmith_rate_limit": limits,
        "data_dir": f"{folder}/data",
        "archive_dir": f"{folder}/archives",
        "state_dir": f"{folder}/state",
    }
    days = [[name, day.isoformat()] for name, day in share]
    told = json.dumps({"flags": flags, "days": days})
    return subprocess.Popen([sys.executable, "-m", "bench.workers", "0", "--share", told])


def sweep(told: dict[str, object]) -> None:
    """Sweep the days of a share; the exit code is the first that is not 0."""
    with Resources(load_settings(_env_file=None, **told["flags"])) as resources:  # type: ignore[arg-type]
        results = [
            result
            for name, day in told["days"]  # type: ignore[attr-defined]
            for result in full_sweep(resources, ProjectDay(name, date.fromisoformat(day)), skip={"upload"})
        ]
    sys.exit(exit_code(results))


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
