"""SIGINT and SIGTERM end every long command soon, with what was done kept; a held day is busy."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from commands import LAST_DAY, PROJECT, Lse, Written

from bench.stack import until
from lse.models import ProjectDay
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.settings import load_settings

SOON = 15
"""Seconds in which a command has to end."""
DAY = ("--project", PROJECT, "--date", LAST_DAY.isoformat())
HANGS = {"hang": 40}


@contextmanager
def begun(lse: Lse, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`lse` with `arguments`, running."""
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("lse")), *arguments],
        cwd=lse.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(lse.folder), **lse.settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the command never came to where it should hang"
        time.sleep(0.02)


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send the signal; the command ends soon, and says so in two lines."""
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - began < SOON
    assert err.splitlines()[-2:] == [
        "lse: Stopped.",
        "     Run the same command again: what is done is kept.",
    ]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "server", "operation", "number"),
    [
        (("archive", "full-sweep", *DAY), "langsmith", "(v2_)?query_runs", signal.SIGTERM),
        (("archive", "full-sweep", *DAY), "drive", "upload_chunk", signal.SIGINT),
        (("archive", "full-sweep", *DAY, "--flow"), "langsmith", "(v2_)?query_runs", signal.SIGTERM),
        (("archive", "fetch", *DAY), "langsmith", "(v2_)?query_runs", signal.SIGINT),
    ],
    ids=["sweep in fetch", "sweep in upload", "flow", "fetch"],
)
def test_a_command_that_waits_for_a_service_ends_soon_and_a_rerun_finishes(
    lse: Lse,
    written: Written,
    arguments: tuple[str, ...],
    server: str,
    operation: str,
    number: signal.Signals,
) -> None:
    faults = getattr(written.sandbox, server).faults
    faults.add(Rule(HANGS, operation=operation))

    with begun(lse, *arguments) as process:
        wait_until(lambda: faults.describe()["rules"][0]["fired"] > 0, process)
        stopped(process, number)

    again = lse(*(word for word in arguments if word != "--flow"))  # the plain steps finish what a flow began
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("archive", "verify", *DAY, "--deep"), signal.SIGTERM),
        (("archive", "restore", *DAY, "--force"), signal.SIGINT),
        (("archive", "upload", *DAY), signal.SIGTERM),
        (("archive", "prune", "--keep-days", "0", "--max-share", "100", "--yes"), signal.SIGINT),
    ],
    ids=["verify", "restore", "upload", "prune"],
)
def test_a_command_on_an_archived_day_ends_soon(
    lse: Lse, written: Written, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    assert lse("archive", "full-sweep", *DAY).code == 0
    faults = written.sandbox.drive.faults
    faults.add(Rule(HANGS, operation="list_files|read_file"))

    with begun(lse, *arguments) as process:
        wait_until(lambda: faults.describe()["rules"][0]["fired"] > 0, process)
        stopped(process, number)

    again = lse(*arguments)
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("archive", "to-db", *DAY), signal.SIGTERM),
        (("report", "zenrows-errors", *DAY), signal.SIGINT),
    ],
    ids=["to-db", "report"],
)
def test_a_command_that_waits_for_the_database_ends_soon(
    lse: Lse, database_url: str, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    assert lse("archive", "full-sweep", *DAY, "--skip-db").code == 0

    with psycopg.connect(database_url) as other:
        other.execute("lock table runs, project_days in access exclusive mode")
        with begun(lse, *arguments) as process, psycopg.connect(database_url, autocommit=True) as watching:
            waiting = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                " and datname = current_database()"
            )
            wait_until(lambda: watching.execute(waiting).fetchone() != (0,), process)
            stopped(process, number)

    assert lse("archive", "to-db", *DAY).code == 0


def test_a_second_sweep_of_a_day_says_busy_and_changes_nothing(lse: Lse, written: Written) -> None:
    faults = written.sandbox.langsmith.faults
    faults.add(Rule(HANGS, operation="(v2_)?query_runs"))

    sweep = ("archive", "full-sweep", *DAY)
    with begun(lse, *sweep) as process:
        wait_until(lambda: faults.describe()["rules"][0]["fired"] > 0, process)
        with ThreadPoolExecutor() as others:
            answers = list(others.map(lambda state: lse(*sweep, LSE_STATE_DIR=state), (None, "other-state")))
        process.kill()

    for answer in answers:
        assert (answer.code, answer.out) == (6, "")
        assert f"{PROJECT}/{LAST_DAY}" in answer.err
    assert lse("archive", "full-sweep", *DAY).code == 0


def test_a_range_comes_back_to_a_day_on_which_another_process_worked(
    lse: Lse, database_url: str, tmp_path: Path
) -> None:
    held = ProjectDay(PROJECT, LAST_DAY - timedelta(days=1))
    days = ("--start-date", str(held.day), "--end-date", str(LAST_DAY))
    settings = load_settings(database_url=database_url, state_dir=tmp_path / "elsewhere")
    with Resources(settings) as another, ThreadPoolExecutor() as runner:
        with another.lock(held):
            sweep = runner.submit(lse, "archive", "full-sweep", "-p", PROJECT, *days, "--skip-upload")
            until(lambda: sweep.done() or (lse.folder / f"archives/{PROJECT}/{LAST_DAY}.zip").exists())
        answer = sweep.result()

    assert answer.code == 0, answer.err
    assert f"{held}  sweep   busy" in answer.err
    swept = [line.split()[0] for line in answer.out.splitlines()]
    assert list(dict.fromkeys(swept)) == [f"{PROJECT}/{LAST_DAY}", str(held)]
