"""Reports, searches and changes on a streaming replica, a second server that follows the first."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo
from stored_runs import DAY, load, numbers, raw, run_id

from lse.errors import ConfigurationError
from lse.pipeline import report
from lse.reports import Request
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import Store
from lse.store.reading import Reader

pytestmark = pytest.mark.skipif(
    "LSE_TEST_DATABASE_URL" in os.environ or not Path("/proc/self/exe").exists(),
    reason="a replica is made of the embedded server's files, and its programs are found through /proc",
)


@dataclass(frozen=True)
class Pair:
    """A database on both servers."""

    primary: str
    replica: str

    def catch_up(self) -> None:
        """Wait until the replica has all that the primary has."""
        with (
            psycopg.connect(self.primary) as primary,
            psycopg.connect(self.replica, autocommit=True) as replica,
        ):
            (written,) = primary.execute("select pg_current_wal_insert_lsn()").fetchone() or ("",)
            for _ in range(300):
                row = replica.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone()
                if row and row[0]:
                    return
                time.sleep(0.05)
        raise AssertionError("the replica does not follow")


@pytest.fixture(scope="module")
def replica_server(postgres_url: str) -> Iterator[dict[str, str]]:
    """Where a server answers that follows the one of the tests."""
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("select current_setting('data_directory')").fetchone()
    assert row is not None
    cluster = Path(row[0])
    pid = (cluster / "postmaster.pid").read_text().split()[0]
    programs = Path(f"/proc/{pid}/exe").readlink().parent
    owner = cluster.stat()

    def run(program: str, *arguments: str) -> None:
        account = {} if os.getuid() else {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        subprocess.run(
            [str(programs / program), *arguments],
            cwd=folder,
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **account,  # type: ignore[call-overload]
        )

    with tempfile.TemporaryDirectory(prefix="lse-replica-") as name:
        folder = Path(name)
        os.chown(folder, owner.st_uid, owner.st_gid)
        data = str(folder / "data")
        source = conninfo.make_conninfo(postgres_url, dbname="")
        run(
            "pg_basebackup",
            "--pgdata",
            data,
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--dbname",
            source,
        )
        options = f"-c listen_addresses= -c port=5433 -c unix_socket_directories={folder}"
        run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", f"{data}/log", "--options", options)
        try:
            yield {"host": name, "port": "5433"}
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=fast", "--pgdata", data)


@pytest.fixture
def pair(database_url: str, replica_server: dict[str, str]) -> Pair:
    pair = Pair(database_url, conninfo.make_conninfo(database_url, **replica_server))
    with psycopg.connect(conninfo.make_conninfo(pair.replica, dbname="postgres"), autocommit=True) as replica:
        name = conninfo.conninfo_to_dict(database_url)["dbname"]
        for _ in range(300):
            if replica.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
                break
            time.sleep(0.05)
    pair.catch_up()
    return pair


def test_reports_and_searches_read_the_replica(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    load(Store(pair.primary), raw(0, run_id(0), name="zenrows_scraper", status="error"))
    pair.catch_up()
    monkeypatch.setenv("LSE_DATABASE_URL", pair.primary)
    monkeypatch.setenv("LSE_DATABASE_READ_URL", pair.replica)
    with Resources(load_settings()) as resources:
        assert resources.reader.query("select pg_is_in_recovery() as replica", {}) == [{"replica": True}]
        assert resources.store.query("select pg_is_in_recovery() as replica", {}) == [{"replica": False}]
        text = report(resources, "zenrows-errors", Request(DAY.day, DAY.day, "chat"))
        assert text.splitlines()[1:] == ["2025-09-13,1,1,100.0%"]
        assert numbers(resources.reader.search("why", DAY.day, DAY.day).runs) == [0]
        assert numbers(resources.reader.all_runs(DAY)) == [0]


def test_changes_on_the_replica_miss_no_late_commit(pair: Pair) -> None:
    store, reader = Store(pair.primary), Reader(pair.replica)
    load(store, raw(0, run_id(0)))
    pair.catch_up()
    cursor = reader.changes().cursor
    with psycopg.connect(pair.primary) as late:
        late.execute("update runs set changed_xid = pg_current_xact_id()")
        load(store, raw(1, run_id(1)))
        pair.catch_up()
        early = reader.changes(cursor)
        assert numbers(early.runs) == []
    pair.catch_up()
    assert numbers(reader.changes(early.cursor).runs) == [0, 1]


def test_a_cursor_of_the_primary_goes_on_at_the_replica(pair: Pair) -> None:
    store = Store(pair.primary)
    load(store, raw(0, run_id(0)))
    cursor = Reader(pair.primary).changes().cursor
    load(store, raw(1, run_id(1)))
    pair.catch_up()
    assert numbers(Reader(pair.replica).changes(cursor).runs) == [1]


def test_the_replica_takes_no_loads(pair: Pair) -> None:
    with pytest.raises(ConfigurationError, match="25006"):
        load(Store(pair.replica), raw(0, run_id(0)))
