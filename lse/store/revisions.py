"""Which revision a database has and which is the last; cheap enough to ask before every command."""

from pathlib import Path

import lse
from lse.errors import ConfigurationError
from lse.store.connection import CONNECT_TIMEOUT, connect, deadline, translated
from lse.store.queries import QUERIES

_PACKAGE = Path(lse.__file__).parent


def migrations_folder() -> Path:
    """The folder of the migrations: inside an installed wheel, or at the top of a checkout."""
    installed = _PACKAGE / "_migrations"
    return installed if installed.is_dir() else _PACKAGE.parent / "migrations"


def head() -> str:
    """The last revision of the schema. Migrations are linear and their file names begin with a number."""
    return max(path.name for path in (migrations_folder() / "versions").glob("[0-9]*.py")).split("_")[0]


def current(url: str) -> str | None:
    """The revision of the database, or None when it has no tables of `lse`."""
    with translated(), connect(url) as connection, deadline(connection, CONNECT_TIMEOUT):
        table = connection.execute(QUERIES["revision_table"]).fetchone()
        if table is None or table[0] is None:
            return None
        row = connection.execute(QUERIES["revision"]).fetchone()
    return row[0] if row else None


def check(url: str) -> None:
    """Raise `ConfigurationError` unless the database is at the last revision."""
    check_revision(current(url))


def check_revision(revision: str | None) -> None:
    """Raise `ConfigurationError` unless `revision` is the last one."""
    if revision == head():
        return
    check_known(revision)
    state = "has no tables of lse yet" if revision is None else f"is at revision {revision}, behind {head()}"
    raise ConfigurationError(f"The database {state}.", hint="Run `lse db upgrade`.")


def is_known(revision: str) -> bool:
    """Whether this `lse` has a migration to `revision`."""
    files = (migrations_folder() / "versions").glob("[0-9]*.py")
    return revision in {file.name.split("_")[0] for file in files}


def check_known(revision: str | None) -> None:
    """Raise `ConfigurationError` for a revision that this `lse` does not have."""
    if revision is not None and not is_known(revision):
        raise ConfigurationError(
            "The database is at a revision that this lse does not know.",
            hint="Install the lse that wrote it, or a later one.",
        )
