"""What every test stands on: a clean environment, and a real Postgres for those that ask for one."""

import gc
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from measured import combine_measured
from psycopg import conninfo, sql

from lse.settings import load_settings
from lse.store import Store, migrate
from lse.store.embedded import EmbeddedPostgres, find_binaries

# A shared machine is slow now and then, which says nothing about the code.
settings.register_profile(
    "lse", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None, max_examples=50
)
settings.register_profile("torture", settings.get_profile("lse"), max_examples=2_000, print_blob=True)
settings.load_profile("lse")

# Tests that are started in the background may have interrupts ignored, which their processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

_WAITING = ("test_unattended.py", "test_flows.py", "test_signals.py")

_OURS = ("LSE_", "LANGSMITH_", "LANGCHAIN_", "PREFECT_")
_TEST_DATABASE = os.environ.get("LSE_TEST_DATABASE_URL")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What mostly waits for other programs begins first: beside it others work, at the end none would."""
    items.sort(key=lambda item: item.path.name not in _WAITING)


def pytest_collection_finish() -> None:
    """What was imported for the tests stays to their end: no collection of garbage need look at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Commands that tests forked ran lines as well, of which SlipCover does not know yet."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        combine_measured()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's reaches a test: neither from the environment nor from a `.env`.

    Nor does the umask that flows set where they are imported.
    """
    os.umask(0o022)
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def no_power_cuts() -> Iterator[None]:
    """Files are not flushed to the disk, which tests mostly wait for: a killed process loses nothing by that.

    What a power cut would lose is shown by the order of the calls, in processes that do flush (`syscalls`).
    """
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def pg_bin() -> Path:
    """The Postgres programs that `lse` finds on this machine."""
    return find_binaries(load_settings(_env_file=None))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One server for all tests: the one LSE_TEST_DATABASE_URL names, else an embedded one."""
    if _TEST_DATABASE:
        yield _TEST_DATABASE
        return
    with tempfile.TemporaryDirectory(prefix="lse-test-", dir=folder_in_memory()) as folder:
        server = EmbeddedPostgres(Path(folder), find_binaries(load_settings(_env_file=None)))
        with server.running() as url:
            forget_power_cuts(url)
            yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a migrated, empty database, to be copied."""
    name = f"lse_template_{uuid.uuid4().hex[:8]}"
    _admin(postgres_url, "create database {}", name)
    migrate.upgrade(database(postgres_url, name))
    yield name
    _admin(postgres_url, "drop database {}", name)


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """The address of a migrated, empty database of the test's own."""
    name = f"lse_test_{uuid.uuid4().hex[:8]}"
    _admin(postgres_url, "create database {} template {}", name, template)
    yield database(postgres_url, name)
    _admin(postgres_url, "drop database {} with (force)", name)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """The address of a database without any table."""
    name = f"lse_test_{uuid.uuid4().hex[:8]}"
    _admin(postgres_url, "create database {}", name)
    yield database(postgres_url, name)
    _admin(postgres_url, "drop database {} with (force)", name)


@pytest.fixture
def store(database_url: str) -> Store:
    """A store on a migrated, empty database."""
    return Store(database_url)


def folder_in_memory() -> str | None:
    """A folder in memory, if there is room. Each test's database is some 300 files, and where many were just
    deleted ext4 looks long for a place for others: half of the processors' time (measured).
    """
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2**31
    return str(shared) if roomy else None


def forget_power_cuts(url: str) -> None:
    """Let the server flush nothing to the disk either."""
    for setting in ("fsync", "full_page_writes"):
        _admin(url, "alter system set {} = off", setting)
    _admin(url, "select pg_reload_conf()")


def database(url: str, name: str) -> str:
    """`url` with another database."""
    return conninfo.make_conninfo(url, dbname=name)


def _admin(url: str, statement: str, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]
