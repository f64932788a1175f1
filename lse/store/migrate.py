"""Bring the schema of a database up or down. Explicit: nothing else in `lse` changes a schema.

Migrations are linear, and each call is one transaction: it happens whole or not at all.
"""

import contextlib
import logging
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg import Error as PsycopgError
from sqlalchemy.pool import NullPool

from lse.errors import UsageError
from lse.store.connection import connect, translate
from lse.store.queries import QUERIES
from lse.store.revisions import check, check_known, current, head, is_known, migrations_folder

__all__ = ["check", "current", "downgrade", "head", "transaction", "upgrade"]

_MIGRATION_TIMEOUT = 3600.0
"""Seconds one statement of a migration may take: rewriting a table of 50 million runs takes that long."""

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
        with engine.begin() as connection:
            connection.execute(sa.text(QUERIES["lock_migrations"].decode()))
            yield connection
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, PsycopgError):
            raise translate(error.orig) from None
        raise


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
