"""How Alembic reaches the store: over the connection it is handed, or at the address in the settings."""

import sqlalchemy as sa
from alembic import context

from lse.errors import ConfigurationError
from lse.settings import load_settings
from lse.store.migrate import is_declared, transaction
from lse.store.tables import RunRow


def _migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection, target_metadata=RunRow.metadata, include_object=is_declared, compare_type=True
    )
    context.run_migrations()


def _run() -> None:
    handed_in = context.config.attributes.get("connection")
    if handed_in is not None:
        _migrate(handed_in)
        return
    url = load_settings().database_url
    if url is None:
        raise ConfigurationError(
            "Alembic needs a database.", hint="Set LSE_DATABASE_URL, or use `lse db upgrade`."
        )
    with transaction(url.get_secret_value()) as connection:
        _migrate(connection)


_run()
