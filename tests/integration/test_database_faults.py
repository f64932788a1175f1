"""Whatever the database does, a sweep ends with a clear message, and the next one leaves what it should."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from database_faults import Sweeps
from fault_proxy import Fault
from machines import DAY, Machine
from psycopg import conninfo
from scenarios import SCENARIOS, World, sweep, verify_day

from lse.pipeline import full_sweep
from lse.store import migrate
from lse.store.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def sweeps(world: World) -> Sweeps:
    return Sweeps(world)


@pytest.fixture
def machine(world: World) -> Iterator[Machine]:
    with world.machine(SCENARIOS["sweep"]) as made:
        yield made


@pytest.mark.parametrize("how", ["before", "after", "stall"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_commit_whose_answer_never_comes_is_made_good_by_the_next_sweep(
    sweeps: Sweeps, how: str, number: int
) -> None:
    sweeps.with_fault(Fault(how, at=number, containing=b"COMMIT"))


@pytest.mark.parametrize("how", ["before", "after", "stall"])
def test_a_connection_lost_at_any_message_is_made_good_by_the_next_sweep(sweeps: Sweeps, how: str) -> None:
    for number in random.Random(how).sample(range(1, sweeps.messages + 1), 5):
        sweeps.with_fault(Fault(how, at=number))


def test_connections_that_an_administrator_ends_are_made_good(sweeps: Sweeps, postgres_url: str) -> None:
    def end_all() -> None:
        with psycopg.connect(postgres_url) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname like 'm%' and application_name = 'lse'"
            )

    for number in (20, 40, sweeps.messages):
        sweeps.with_fault(Fault("call", at=number, act=end_all))


@pytest.fixture(scope="module")
def server(pg_bin: Path) -> Iterator[EmbeddedPostgres]:
    """A server of these tests alone, to be broken."""
    with tempfile.TemporaryDirectory(prefix="lse-faults-") as folder:
        made = EmbeddedPostgres(Path(folder), pg_bin)
        with made.running():
            yield made


@pytest.fixture(scope="module")
def own_world(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedPostgres) -> Iterator[World]:
    admin(server.url, "create database empty")
    migrate.upgrade(conninfo.make_conninfo(server.url, dbname="empty"))
    made = World(tmp_path_factory.mktemp("world"), "empty", server.url)
    yield made
    made.close()


def admin(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_server_that_crashes_and_comes_back_is_made_good(
    own_world: World, server: EmbeddedPostgres
) -> None:
    def crash() -> None:
        pid = server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)  # what `pg_ctl stop -m immediate` sends
        while server.status().running:
            time.sleep(0.01)
        with server.running():
            pass

    sweeps = Sweeps(own_world)
    for number in (10, sweeps.messages // 2, sweeps.messages - 15):
        sweeps.with_fault(Fault("call", at=number, act=crash))


@pytest.fixture
def small_disk(server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB that the server may write to."""
    place = Path("/tmp") / f"lse-small-{tmp_path.name}-{os.getpid()}"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True)
    try:
        if mounted.returncode:
            pytest.skip("no small disk can be mounted here")
        owner = server.status().folder.stat()
        os.chown(place, owner.st_uid, owner.st_gid)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], capture_output=True)
        place.rmdir()


def test_a_full_disk_of_the_database_is_said_and_made_good_when_there_is_room(
    own_world: World, server: EmbeddedPostgres, small_disk: Path
) -> None:
    admin(server.url, f"create tablespace small location '{small_disk}'")
    with own_world.machine(SCENARIOS["sweep"]) as machine:
        admin(server.url, f"alter database {machine.folder.name} set tablespace small")
        admin(machine.database_url, "create table filler (page text storage plain)")
        for rows in (1_000, 1):
            fill(machine.database_url, rows)

        with machine.resources() as resources:
            first = {each.step: each for each in full_sweep(resources, DAY)}
        assert [first[step].state for step in ("fetch", "pack", "upload", "load")] == ["done"] * 3 + [
            "failed"
        ]
        assert first["load"].exit_code == 6
        assert first["load"].summary == "The database's disk is full (53100 DiskFull)."

        admin(machine.database_url, "drop table filler")
        assert sweep(machine) == 0
        assert verify_day(machine) == 0
    admin(server.url, "drop tablespace small")


def fill(url: str, rows: int) -> None:
    """Write pages into the filler until so many more find no room."""
    with contextlib.suppress(psycopg.errors.DiskFull):
        while True:
            admin(url, f"insert into filler select repeat('x', 8000) from generate_series(1, {rows})")


REFUSED_ONCE = """
create sequence fail_once;
create function refuse() returns trigger language plpgsql as
    $$ begin
        if nextval('fail_once') = 1 then raise exception using errcode = '{code}'; end if;
        return new;
    end $$;
create trigger refuse before insert or update on {table} for each row execute function refuse()
"""


@pytest.mark.parametrize("table", ["runs", "feedback", "project_days"])
@pytest.mark.parametrize(
    "code", ["40001", "40P01", "53100", "57014"], ids=["serialization", "deadlock", "disk full", "cancelled"]
)
def test_a_statement_that_is_refused_for_now_stops_its_step_only(
    machine: Machine, code: str, table: str
) -> None:
    with psycopg.connect(machine.database_url) as connection:
        connection.execute(REFUSED_ONCE.format(code=code, table=table).encode())
    first = swept(machine)

    assert [first[step] for step in ("fetch", "pack", "upload")] == [("done", 0)] * 3
    assert first["load"] in [("failed", 6), ("done", 0)]
    assert sweep(machine) == 0


BROKEN = {
    "read-only": ("alter database {name} set default_transaction_read_only = on", 7),
    "without tables": ("drop schema public cascade; create schema public", 7),
    "of a later lse": ("update alembic_version set version_num = '9999'", 7),
    "of an earlier lse": ("update alembic_version set version_num = '0001'", 7),
    "closed to all": ("alter database {name} allow_connections off", 7),
}


@pytest.mark.parametrize("state", BROKEN)
def test_with_a_database_that_cannot_be_used_the_archive_is_made_and_the_reason_is_said(
    machine: Machine, postgres_url: str, state: str
) -> None:
    statement, code = BROKEN[state]
    with psycopg.connect(postgres_url if "{name}" in statement else machine.database_url) as connection:
        connection.autocommit = True
        connection.execute(statement.format(name=machine.folder.name).encode())
    first = swept(machine)

    assert [first[step] for step in ("fetch", "pack", "upload")] == [("done", 0)] * 3
    assert first["load"] == ("failed", code)


def swept(machine: Machine) -> dict[str, tuple[str, int]]:
    with machine.resources() as resources:
        return {each.step: (each.state, each.exit_code) for each in full_sweep(resources, DAY)}
