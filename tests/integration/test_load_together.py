"""Loads of the same and of other days at once, some of them killed: the rows are those of one quiet load."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pytest
from test_store import run, trace

from lse.models import ProjectDay, Trace
from lse.store import Store, migrate

_PROCESSES = multiprocessing.get_context("fork")
DAYS = [ProjectDay(project, date(2025, month, 28)) for project in ("a", "b") for month in (9, 10)]
ROWS = "select project, run_date, trace_id, run_id, content_hash, name from runs order by 1, 2, 3, 4"
ROLLUPS = "select * from daily_rollups order by 1, 2, 3, 4, 5, 6"


def traces_of(day: ProjectDay, version: int) -> Sequence[Trace]:
    """Six traces of the day; a later version changes half of the runs."""
    base = 1_000 * (1 + DAYS.index(day))
    return [
        trace(
            *(
                run(base + 20 * number + index, UUID(int=base + number), name=f"v{version * (index % 2)}")
                for index in range(10)
            )
        )
        for number in range(6)
    ]


def slowly(traces: Sequence[Trace], pause: float) -> Iterator[Trace]:
    for item in traces:
        time.sleep(pause)
        yield item


def loading(url: str, day: ProjectDay, version: int, pause: float) -> None:
    try:
        Store(url).load(day, slowly(traces_of(day, version), pause), batch_runs=7)
    except BaseException:  # noqa: BLE001 - a forked child reports by its exit code alone
        os._exit(1)
    os._exit(0)


def everything(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return [connection.execute(asked.encode()).fetchall() for asked in (ROWS, ROLLUPS)]


@pytest.mark.parametrize("seed", [1, 2])
def test_loads_at_once_with_kills_end_in_the_rows_of_a_quiet_load(
    database_url: str, empty_database_url: str, seed: int
) -> None:
    rng = random.Random(seed)
    jobs = [(day, version) for day in DAYS for version in (1, 1, 1)] * 2
    rng.shuffle(jobs)
    children = []
    for day, version in jobs:
        child = _PROCESSES.Process(target=loading, args=(database_url, day, version, rng.random() * 0.01))
        child.start()
        children.append(child)
    for child in rng.sample(children, len(children) // 3):
        time.sleep(rng.random() * 0.03)
        if child.pid is not None and child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
    for child in children:
        child.join(60)
    assert {child.exitcode for child in children} <= {0, -signal.SIGKILL}
    store = Store(database_url)
    for day in DAYS:
        store.load(day, traces_of(day, 1))
    assert everything(database_url) == quiet(empty_database_url)
    assert store.query("select count(*) from run_versions", {}) == [{"count": 0}]


def quiet(url: str) -> list[Any]:
    """What one load of each day after the other leaves."""
    migrate.upgrade(url)
    for day in DAYS:
        Store(url).load(day, traces_of(day, 1))
    return everything(url)


def test_two_loads_of_one_day_with_other_versions_end_in_one_of_them(database_url: str) -> None:
    day = DAYS[0]
    children = [
        _PROCESSES.Process(target=loading, args=(database_url, day, version, 0.001)) for version in (1, 2) * 3
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 6
    store = Store(database_url)
    names = {row["name"] for row in store.query("select distinct name from runs", {})}
    assert names in ({"v0", "v1"}, {"v0", "v2"})
    kept = {row["name"] for row in store.query("select distinct data->>'name' as name from run_versions", {})}
    assert kept == {"v1", "v2"} - names


def test_runs_that_two_projects_claim_at_once_stand_once(database_url: str) -> None:
    """The same runs under two names of a project, in opposite order: no deadlock, and no run twice."""
    first, renamed = DAYS[0], ProjectDay("renamed", DAYS[0].day)
    traces = list(traces_of(first, 1))

    def claim(day: ProjectDay, items: Sequence[Trace]) -> None:
        try:
            Store(database_url).load(day, items, batch_runs=60)
        except BaseException:  # noqa: BLE001 - see above
            os._exit(1)
        os._exit(0)

    children = [
        _PROCESSES.Process(target=claim, args=(first, traces)),
        _PROCESSES.Process(target=claim, args=(renamed, traces[::-1])),
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    store = Store(database_url)
    for day, child in zip((first, renamed), children, strict=True):
        if child.exitcode:  # the database ended one of two that waited for each other; it is tried again
            store.load(day, traces)
    assert store.query("select count(*) from runs", {}) == [{"count": 60}]
    [total] = store.query("select sum(runs) as runs from daily_rollups", {})
    assert total == {"runs": 60}
