"""A schema beside the live one, for rows that nobody is to see."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import conninfo, sql

from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.migrate import upgrade

_PREFIX = "lse_drill_"


@contextmanager
def scratch_schema(url: str) -> Iterator[str]:
    """The address of a schema with empty tables in the same database, which goes with the block.

    Its role must be allowed to create schemas there; raises `AccessError` when it is not.
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
        connection.execute(statement)
