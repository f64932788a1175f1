"""How fast a project day is fetched, against the least time that LangSmith's limits allow and the plain SDK.

python -m bench.fetch [--runs RUNS] [--limited RUNS] [--traces TRACES]

The server runs in a process of its own, and so does each fetch: time and memory are those of one side.
"""

import argparse
import math
import multiprocessing
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import requests
from langsmith import Client
from langsmith.utils import LangSmithRateLimitError

from bench import data
from lse.models import ProjectDay
from lse.pipeline import fetch
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.sources import Project, Window
from lse.sources._read_apis import V1, V2, ReadApi

_KEY = "bench-key"
_LATENCY = 0.05
_PROCESSES = multiprocessing.get_context("spawn")
_APIS: tuple[ReadApi, ...] = (V1, V2)


@dataclass(frozen=True)
class Figures:
    """What one way of fetching took."""

    runs: int
    seconds: float
    requests: int = 0
    refused: int = 0
    """Requests answered with 429"""
    memory: float = 0.0
    """Peak above the start, in MB"""
    processor: float = 0.0
    """Seconds of processor time"""

    @property
    def rate(self) -> float:
        """Runs per second."""
        return self.runs / self.seconds


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000, help="runs of the day without limits")
    parser.add_argument("--limited", type=int, default=2_990, help="runs of the day with limits and latency")
    parser.add_argument("--traces", type=int, default=15, help="traces after which the SDK loop is cut off")
    wanted, _ = parser.parse_known_args()
    day = ProjectDay("bench", datetime.now(UTC).date() - timedelta(days=2))
    _print_limited(day, wanted.limited, wanted.traces)
    print()
    _print_unlimited(day, wanted.runs)


def _print_limited(day: ProjectDay, runs: int, traces: int) -> None:
    print(f"{runs:,} runs, documented rate limits, {_LATENCY * 1000:.0f} ms latency")
    print(f"{'':40}{'seconds':>9}{'runs/s':>9}{'requests':>10}{'per 1,000':>11}{'429s':>6}{'of optimum':>12}")
    for api in _APIS:
        optimum = _optimum(api, day, runs)
        _print_row(f"least requests the rate allows, {api.name}", optimum, optimum)
        with _server(day, runs, limited=True) as url:
            _print_row(f"lse, {api.name}", _fetched(url, day, api.name, limited=True), optimum)
    with _server(day, runs, limited=True) as url:
        loop = _apart(_sdk_loop, url, day, traces)
    _print_row(f"SDK loop, v1, the first {traces} traces", loop, _optimum(V1, day, runs))


def _print_row(name: str, figures: Figures, optimum: Figures) -> None:
    per_thousand = figures.requests * 1000 / figures.runs
    print(
        f"{name:40}{figures.seconds:9.2f}{figures.rate:9,.0f}{figures.requests:10,}{per_thousand:11.1f}"
        f"{figures.refused:6}{figures.rate / optimum.rate:12.2f}"
    )


def _print_unlimited(day: ProjectDay, runs: int) -> None:
    print(f"{runs:,} runs, no limits, no latency, end to end to trace files")
    columns = f"{'seconds':>9}{'runs/s':>9}{'requests':>10}{'processor s':>13}{'peak MB':>9}{'of floor':>10}"
    print(f"{'':40}{columns}")
    with _server(day, runs, limited=False) as url:
        for api in _APIS:
            floor = _apart(_bare_walk, url, day, api.name)
            figures = _fetched(url, day, api.name, limited=False)
            for name, row in (
                (f"bare requests, answers dropped, {api.name}", floor),
                (f"lse, {api.name}", figures),
            ):
                print(
                    f"{name:40}{row.seconds:9.2f}{row.rate:9,.0f}{row.requests:10,}{row.processor:13.2f}"
                    f"{row.memory:9.0f}{row.rate / floor.rate:10.2f}"
                )


def _optimum(api: ReadApi, day: ProjectDay, runs: int) -> Figures:
    """The least requests, each sent as soon as the rate allows.

    Where the rate lets all of them pass at once, each still waits for the cursor in the answer before it.
    """
    pages = math.ceil(runs / api.page_size)
    rate = api.rate(Window(Project("", day.project), day.start, day.end))
    bursts, last = divmod(pages - 1, rate.calls)
    return Figures(runs, bursts * rate.seconds + (last + 1) * _LATENCY, pages)


def _fetched(url: str, day: ProjectDay, api: str, *, limited: bool) -> Figures:
    requests.delete(f"{url}/_sandbox/log", timeout=30)
    figures = _apart(_fetch, url, day, api, limited)
    log = requests.get(f"{url}/_sandbox/log", timeout=30).json()["entries"]
    refused = sum(entry["status"] == 429 for entry in log)
    return Figures(figures.runs, figures.seconds, len(log), refused, figures.memory, figures.processor)


# --- each in a process of its own


def _fetch(url: str, day: ProjectDay, api: str, limited: bool) -> Figures:
    with (
        tempfile.TemporaryDirectory(prefix="lse-bench-") as folder,
        _resources(url, api, limited, folder) as lse,
    ):
        lse.source.check()  # loads the SDK, which is no part of a fetch
        return _measured(lambda: int(str(fetch(lse, day).figures["runs"])))


def _bare_walk(url: str, day: ProjectDay, name: str) -> Figures:
    """The same pages, asked for one after the other; of the answers only the cursor is looked at."""
    api = V1 if name == "v1" else V2
    with tempfile.TemporaryDirectory() as folder, _resources(url, name, False, folder) as lse:
        window = Window(lse.source.project(day.project), day.start, day.end)
    session = requests.Session()
    session.headers["x-api-key"] = _KEY
    asked = runs = 0

    def walk() -> int:
        nonlocal asked, runs
        cursor, more = None, True
        while more:
            body = api.query(window, cursor, api.page_size)
            answer = session.post(url + api.path, json=body, timeout=60).json()
            asked, runs = asked + 1, runs + len(answer[api.items])
            cursor = answer.get("next_cursor") or answer.get("cursors", {}).get("next")
            more = cursor is not None
        return runs

    figures = _measured(walk)
    return Figures(runs, figures.seconds, asked, 0, figures.memory, figures.processor)


def _sdk_loop(url: str, day: ProjectDay, traces: int) -> Figures:
    """What people write first: list the roots, then the runs of each trace; a refusal waits a second."""
    warnings.simplefilter("ignore", DeprecationWarning)
    client = Client(api_url=url, api_key=_KEY, auto_batch_tracing=False, info={})
    asked = refused = 0

    def patiently(**question: Any) -> list[Any]:
        nonlocal asked, refused
        while True:
            try:
                found = list(client.list_runs(project_name=day.project, start_time=day.start, **question))
            except LangSmithRateLimitError:
                refused += 1
                time.sleep(1)
            else:
                asked += max(1, math.ceil(len(found) / V1.page_size))
                return found

    def loop() -> int:
        roots = patiently(is_root=True, filter=f'lt(start_time, "{day.end.isoformat()}")')
        return sum(len(patiently(trace_id=root.id)) for root in roots[:traces])

    figures = _measured(loop)
    return Figures(figures.runs, figures.seconds, asked + refused, refused)


def _measured(work: Callable[[], int]) -> Figures:
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    runs = work()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(runs, seconds, 0, 0, (after.ru_maxrss - before.ru_maxrss) / 1024, processor)


def _apart(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """What `work` gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=_PROCESSES) as process:
        return process.submit(work, *arguments).result()


@contextmanager
def _resources(url: str, api: str, limited: bool, folder: str) -> Iterator[Resources]:
    """What a fetch works with; nothing of it needs a database."""
    root = Path(folder)
    settings = load_settings(
        langsmith_endpoint=url,
        langsmith_api_key=_KEY,
        langsmith_api=api,
        langsmith_rate_limit=limited,
        data_dir=root / "data",
        archive_dir=root / "archives",
        state_dir=root / "state",
    )
    with Resources(settings) as resources:
        vars(resources).update(ledger=None)
        yield resources


# --- the server


@contextmanager
def _server(day: ProjectDay, runs: int, *, limited: bool) -> Iterator[str]:
    """The address of a LangSmith that holds the day."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_serve, args=(theirs, day, runs, limited))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(30)


def _serve(parent: Connection, day: ProjectDay, runs: int, limited: bool) -> None:
    with LangSmithServer(api_key=_KEY, rate_limits=limited) as server:
        server.load((run.text for trace in data.traces(runs, day.day) for run in trace.runs), day.project)
        if limited:
            server.faults.add(Rule({"delay": _LATENCY}, times=None))
        parent.send(server.url)
        parent.recv()


if __name__ == "__main__":
    main()
