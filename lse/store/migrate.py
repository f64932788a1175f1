"""Bring the schema of a database up or down. Explicit: nothing else in `lse` changes a schema.

Migrations are linear, and each call is one transaction: it happens whole or not at all.
"""

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import SchemaItem

from lse.errors import UsageError
from lse.store.connection import connect, deadline, translate
from lse.store.queries import QUERIES
from lse.store.revisions import check, check_known, current, head, is_known, migrations_folder
from lse.store.search_index import PREFIX

__all__ = ["check", "current", "differences", "downgrade", "head", "is_declared", "transaction", "upgrade"]

_PARTITION = re.compile(r"runs_\d{4}_\d{2}")

_MIGRATION_TIMEOUT = 3600.0
"""Seconds one statement of a migration may take: rewriting a table of 50 million runs takes that long."""

_DEADLINE = 6 * _MIGRATION_TIMEOUT
"""Seconds for all statements of a call; a server that stalls is left then."""

logging.getLogger("alembic").setLevel(logging.WARNING)


def upgrade(url: str) -> None:
    """Bring the database to the last revision; at that already, nothing happens.

    Two at once wait for each other. Raises `ConfigurationError` for a schema of a later `lse`,
    `BusyError` when a table stays locked.
    """
    revision = current(url)
    if revision == head():
        return
    check_known(revision)
    with transaction(url) as connection:
        command.upgrade(_config(connection), "head")


def downgrade(url: str, revision: str) -> None:
    """Bring the database down to `revision`; `base` removes every table of `lse` and the rows in them."""
    check_known(current(url))
    if revision != "base" and not is_known(revision):
        raise UsageError(f"There is no revision {revision!r}.", hint="`lse db status` names the current one.")
    with transaction(url) as connection:
        command.downgrade(_config(connection), revision)


def differences(url: str) -> list[str]:
    """Where the live tables are not those that this `lse` declares: one line for each, such as `add index x`.

    Each line names the change that would make them so. Raises `ConfigurationError` for another revision.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from lse.store.tables import RunRow  # what declares the tables takes half a second to import

    check(url)
    with transaction(url) as connection:
        options = {"compare_type": True, "include_object": is_declared}
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, RunRow.metadata)
    return [
        _described(change) for entry in found for change in (entry if isinstance(entry, list) else [entry])
    ]


def is_declared(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Whether Alembic compares this object: months and the indexes for searches come and go by themselves."""
    if kind == "index":
        return not (name or "").startswith(PREFIX)
    return not (kind == "table" and name and _PARTITION.fullmatch(name))


def _described(change: tuple[Any, ...]) -> str:
    """Alembic's tuple for a change: what is done, and the names in it."""
    kind, *subjects = change
    names = [str(getattr(part, "name", part)) for part in subjects if isinstance(part, str | SchemaItem)]
    return f"{kind.replace('_', ' ')} {'.'.join(names)}"


@contextlib.contextmanager
def transaction(url: str) -> Iterator[sa.Connection]:
    """A transaction for one migration, alone: others that migrate wait until it ends."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url, autocommit=False, timeout=_MIGRATION_TIMEOUT),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with engine.connect() as connection, deadline(_driver(connection), _DEADLINE), connection.begin():
            connection.execute(sa.text(QUERIES["lock_migrations"].decode()))
            yield connection
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from None
        raise


def _driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
