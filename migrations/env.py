"""How Alembic reaches the store: over the connection it is handed, or at the address in the settings."""

import re

import sqlalchemy as sa
from alembic import context

from lse.errors import ConfigurationError
from lse.settings import load_settings
from lse.store.migrate import transaction
from lse.store.search_index import PREFIX
from lse.store.tables import RunRow

_PARTITION = re.compile(r"runs_\d{4}_\d{2}")


def _is_declared(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Whether Alembic compares this object: months and the indexes for searches come and go by themselves."""
    if kind == "index":
        return not (name or "").startswith(PREFIX)
    return not (kind == "table" and name and _PARTITION.fullmatch(name))


def _migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection, target_metadata=RunRow.metadata, include_object=_is_declared, compare_type=True
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
