"""What the steps work with, each opened when first used: source, target, store."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID, uuid4

from lse.archive.layout import archive_name, day_folder, project_slug
from lse.errors import AccessError, BusyError, ConfigurationError, LseError, TemporaryError
from lse.models import ProjectDay
from lse.settings import Settings
from lse.sources import Source, open_source
from lse.store import Store
from lse.store.embedded import EmbeddedPostgres, find_binaries
from lse.store.rates import SharedRates, tenant_of
from lse.store.reading import Reader
from lse.store.revisions import current, head
from lse.targets import Target, open_target

if TYPE_CHECKING:
    from lse.langsmith.http import Rates

logger = logging.getLogger(__name__)


class Resources:
    """The outside world of one command or flow run; close it, or use it as a context manager."""

    def __init__(
        self, settings: Settings, *, origin: UUID | None = None, rates: "Rates | None" = None
    ) -> None:
        """`origin` names the flow run in events, `rates` are those that others in this process keep to."""
        self.settings = settings
        self.origin = origin or uuid4()
        self._rates = rates
        self._opened = ExitStack()
        self._target_asked = False
        self.ledger_failure: LseError | None = None
        """Why there is no ledger, once that was found out"""

    @cached_property
    def source(self) -> Source:
        """Where runs come from."""
        source = open_source(self.settings, self.rates)
        self._opened.callback(source.close)
        return source

    @cached_property
    def rates(self) -> "Rates":
        """LangSmith's request rates, shared with all that use LSE_DATABASE_URL; without one, one's own."""
        from lse.langsmith.http import Rates  # importing the SDK takes most of a second

        if self._rates is not None:
            return self._rates
        url, key = self.settings.database_url, self.settings.langsmith_api_key
        if url is None or key is None or not self.settings.langsmith_rate_limit:
            return Rates()
        shared = SharedRates(
            url.get_secret_value(),
            tenant_of(
                self.settings.langsmith_endpoint, key.get_secret_value(), self.settings.langsmith_workspace_id
            ),
        )
        self._opened.callback(shared.close)
        return Rates(shared)

    def waited(self) -> float:
        """Seconds spent so far waiting for the source's rates; 0 while the source is not opened."""
        return self.source.waited if "source" in vars(self) else 0.0

    def requests(self) -> int:
        """How many requests were sent to the source so far; 0 while it is not opened."""
        return self.source.requests if "source" in vars(self) else 0

    @cached_property
    def target(self) -> Target:
        """Where archives go. Raises `ConfigurationError` when none is set."""
        if self.settings.target is None:
            raise ConfigurationError(
                "No target is set, so there is nowhere to upload to.",
                hint="Set LSE_TARGET to `drive`, `s3:bucket` or `directory:/path`,"
                " or sweep with --skip-upload.",
            )
        target = open_target(self.settings.target, self.settings)
        self._opened.callback(target.close)
        return target

    def require_target(self) -> None:
        """Ask the target, once per command, whether uploads to it can work at all.

        Raises `ConfigurationError` when a setting, the folder or the account makes them impossible. A target
        that cannot be reached now, or refuses, is only warned of: what needs no target can still be done.
        """
        target = self.target
        if self._target_asked:
            return
        self._target_asked = True
        try:
            target.check()
        except (TemporaryError, AccessError) as error:
            logger.warning("The target does not answer as it should: %s", error)

    @cached_property
    def database_url(self) -> str:
        """The store's address; without one set, an embedded Postgres is started and migrated."""
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        url = self._opened.enter_context(embedded_postgres(self.settings).running())
        if current(url) != head():
            from lse.store.migrate import upgrade  # Alembic takes half a second to import

            upgrade(url)
        return url

    @cached_property
    def store(self) -> Store:
        """The runs store, reachable and migrated. Raises `LseError` saying what to do otherwise."""
        store = Store(self.database_url, self.origin)
        store.check()
        return store

    @cached_property
    def reader(self) -> Reader:
        """Where reports and searches read: at LSE_DATABASE_READ_URL, such as a replica, else in the store.

        Raises `LseError` saying what to do when it is not reachable or not migrated.
        """
        separate = self.settings.database_read_url
        reader = Reader(separate.get_secret_value() if separate else self.database_url)
        reader.check()
        return reader

    @cached_property
    def ledger(self) -> Store | None:
        """The store for notes on steps that do not need it; without one None, and one warning."""
        try:
            return self.store
        except (TemporaryError, ConfigurationError) as error:
            logger.warning("The ledger is not written: %s", error)
            self.ledger_failure = error
            return None

    @contextmanager
    def lock(self, day: ProjectDay) -> Iterator[None]:
        """Hold `day` against every other process. Raises `BusyError` when somebody else holds it.

        A lock in the database reaches all machines; a file lock holds off this machine's other processes
        also when there is no database. Both end with the process that holds them.
        """
        with ExitStack() as held:
            held.enter_context(_file_lock(self.settings.state_dir, day))
            if self.ledger is not None:
                held.enter_context(self.ledger.lock(day))
            yield

    def folder(self, day: ProjectDay) -> Path:
        """Where the trace files of `day` are."""
        return day_folder(self.settings.data_dir, day)

    def zip_path(self, day: ProjectDay) -> Path:
        """Where the zip of `day` is."""
        return self.settings.archive_dir / archive_name(day)

    def spool_folder(self, day: ProjectDay) -> Path:
        """Where an unfinished fetch of `day` is kept."""
        return self.settings.state_dir / "fetch" / project_slug(day.project) / day.day.isoformat()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, gone with the block; those that killed processes left go as well."""
        place = self.settings.state_dir / "scratch"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ExitStack() as held:
            with _locked(place):
                _remove_abandoned(place)
                folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=place)))
                held.enter_context(_locked(folder))
            yield folder

    def now(self) -> datetime:
        """The time, UTC."""
        return datetime.now(UTC)

    def close(self) -> None:
        """Close whatever was opened."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _file_lock(state_dir: Path, day: ProjectDay) -> Iterator[None]:
    path = state_dir / "locks" / f"{project_slug(day.project)}_{day.day.isoformat()}"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"Another process works on {day}.", hint="Run it again when that one is done."
            ) from None
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder, as long as this process lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(place: Path) -> None:
    """Remove the folders in `place` that no living process holds."""
    for folder in place.iterdir():
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            pass  # somebody works in it
        finally:
            os.close(descriptor)


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """The Postgres that `lse` runs itself, below the state directory."""
    return EmbeddedPostgres(settings.state_dir, find_binaries(settings))
