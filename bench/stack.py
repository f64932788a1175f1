"""What a team runs, on this machine: a Prefect server on a Postgres of its own, and process workers."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

from psycopg import conninfo

from lse.errors import ConfigurationError, TemporaryError
from lse.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).parents[1]
WORKER = ("worker", "start", "--pool", "lse", "--type", "process")
OVER = ("Completed", "Failed", "Crashed", "Cancelled")


@contextmanager
def postgres() -> Iterator[str]:
    """The address, as Prefect wants it, of an empty database with pg_trgm, which the wheels' Postgres lacks.

    Raises `ConfigurationError` where there is no such Postgres.
    """
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not places or not list(Path("/usr/share/postgresql").glob("*/extension/pg_trgm.control")):
        raise ConfigurationError("There is no Postgres with pg_trgm.", hint="Install that of your system.")
    with (
        tempfile.TemporaryDirectory(prefix="lse-prefect-") as folder,
        EmbeddedPostgres(Path(folder), places[0]).running() as url,
    ):
        parts = conninfo.conninfo_to_dict(url)
        yield f"postgresql+asyncpg://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


class Stack:
    """Server and workers, whose logs are in `folder`; all that is left of them is killed with the block."""

    def __init__(self, folder: Path, database: str, settings: Mapping[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.log = folder / "prefect.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "DO_NOT_TRACK": "1",
            **settings,
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """`prefect` with this command."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def start_server(self) -> subprocess.Popen[bytes]:
        """The server, once it answers. Raises `TemporaryError` when it does not within ten minutes."""
        server = self.start("server", "start", "--host", "127.0.0.1")
        until(lambda: self._answers() or server.poll() is not None, 600)
        if server.poll() is not None:
            raise TemporaryError(f"The Prefect server ended: {self.log.read_text()[-2000:]}")
        return server

    def deploy(self) -> None:
        """What `lse deploy` does, from another process."""
        subprocess.run(
            [sys.executable, "-m", "deployments.apply"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=600,
        )

    def computed(self) -> float:
        """The processor time of all that runs, and of its children that are over, in seconds."""
        pids = [each for process in self._started for each in [process.pid, *children(process.pid)]]
        return sum(map(_computed, pids))

    @contextmanager
    def client(self) -> Iterator["SyncPrefectClient"]:
        """A client of the server, for this process."""
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with (
            temporary_settings(updates={PREFECT_API_URL: self.environment["PREFECT_API_URL"]}),
            get_client(sync_client=True) as client,
        ):
            yield client

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.environment['PREFECT_API_URL']}/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            kill_tree(process)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, none of which gets to say anything."""
    if process.poll() is None:
        for pid in [*children(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=10)


def children(pid: int) -> list[int]:
    """The processes that descend from `pid`, the youngest first."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    found = [int(child) for child in listed.stdout.split()]
    return [each for child in found for each in [*children(child), child]]


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What `condition` gives once it is true. Raises `TemporaryError` when that takes longer."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TemporaryError(f"It took over {seconds:.0f} s.")
        time.sleep(0.1)
    return found


def _computed(pid: int) -> float:
    """The processor time of a process and of its children that are over, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
