"""A schema beside the live one, for rows that nobody is to see."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection, conninfo, errors, sql

from lse.errors import ConfigurationError
from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.migrate import upgrade

_PREFIX = "lse_drill_"


@contextmanager
def scratch_schema(url: str) -> Iterator[str]:
    """The address of a schema with empty tables in the same database, which goes with the block.

    Its role must be allowed to create schemas there; raises `ConfigurationError` with the statement that
    allows it when it is not.
    """
    name = f"{_PREFIX}{secrets.token_hex(6)}"
    _execute(url, sql.SQL("create schema {}").format(sql.Identifier(name)))
    try:
        options = conninfo.conninfo_to_dict(url).get("options") or ""
        scratch = conninfo.make_conninfo(url, options=f"{options} -c search_path={name}".strip())
        upgrade(scratch)
        yield scratch
    finally:
        _execute(url, sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))


def _execute(url: str, statement: sql.Composed) -> None:
    with translated(), connect(url) as connection, deadline(connection, STATEMENT_TIMEOUT):
        try:
            connection.execute(statement)
        except errors.InsufficientPrivilege:
            raise _no_right(connection) from None


def _no_right(connection: Connection[Any]) -> ConfigurationError:
    role, database = connection.execute("select current_user, current_database()").fetchall()[0]
    names = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
    grant = sql.SQL("grant create on database {database} to {role}").format(**names).as_string(connection)
    return ConfigurationError(
        f"The role {role} may not create a schema in the database {database}, and a drill needs one.",
        hint=f"Have the database's owner run: {grant}",
    )
