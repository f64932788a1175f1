"""The indexes that make searches fast, built when somebody asks for them: every load pays for what they hold.

A partitioned index cannot be built concurrently, so the one of `runs` is declared first and stays incomplete
until each month has its own. Months that begin later bring theirs along.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, LiteralString

from psycopg import Connection, sql

from lse.errors import ConfigurationError
from lse.store.connection import connect, deadline, translated
from lse.store.queries import read_queries
from lse.store.reading import DOCUMENT

Kind = Literal["words", "substring"]

PREFIX = "runs_search_"
"""How the names of these indexes begin; the tables do not declare them."""

_BUILD_TIMEOUT = 6 * 3600.0
"""Seconds for the index of one month (measured: 1 ms a run)."""

_QUERIES = read_queries("search_index.sql")
_DEFINITIONS: dict[Kind, LiteralString] = {
    "words": "gin (to_tsvector('simple', {document}))",
    "substring": "gin ((data::text) gin_trgm_ops)",
}


def build(url: str, kind: Kind) -> list[str]:
    """Build the index for searches by `kind`; the months whose own was built now.

    Loads go on meanwhile. What is there already stays, so a build that broke off goes on when repeated.
    Raises `ConfigurationError` when the server does not have `pg_trgm`, which substrings need.
    """
    parent = PREFIX + kind
    definition = sql.SQL(_DEFINITIONS[kind]).format(document=sql.SQL(DOCUMENT.decode()))
    with _connected(url) as connection:
        if kind == "substring":
            _ensure_trigrams(connection)
        connection.execute(
            sql.SQL("create index if not exists {} on only runs using {}").format(
                sql.Identifier(parent), definition
            )
        )
        months = [name for (name,) in connection.execute(_QUERIES["months_without"], {"index": parent})]
        for month in months:
            own = sql.Identifier(f"{month}_search_{kind}")
            connection.execute(sql.SQL("drop index concurrently if exists {}").format(own))
            connection.execute(
                sql.SQL("create index concurrently {} on {} using {}").format(
                    own, sql.Identifier(month), definition
                )
            )
            connection.execute(
                sql.SQL("alter index {} attach partition {}").format(sql.Identifier(parent), own)
            )
    return months


def drop(url: str) -> list[str]:
    """Drop the indexes for searches; the kinds that there were. Searches go on without them, more slowly."""
    with _connected(url) as connection:
        names = [name for (name,) in connection.execute(_QUERIES["search_indexes"])]
        for name in names:
            connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
    return [name.removeprefix(PREFIX) for name in names]


def sizes(url: str) -> dict[str, int]:
    """The bytes of each kind of index that there is."""
    with _connected(url) as connection:
        found = connection.execute(_QUERIES["search_index_sizes"]).fetchall()
    return {name.removeprefix(PREFIX): size for name, size in found}


def _ensure_trigrams(connection: Connection[Any]) -> None:
    if connection.execute(_QUERIES["has_trigrams"]).fetchone() is None:
        raise ConfigurationError(
            "This Postgres does not have the extension pg_trgm, which an index for substrings needs.",
            hint="Searches with --substring work without it, more slowly. Words: lse db search-index on.",
        )
    connection.execute("create extension if not exists pg_trgm")


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection[Any]]:
    with (
        translated(),
        connect(url, timeout=_BUILD_TIMEOUT) as connection,
        deadline(connection, 20 * _BUILD_TIMEOUT),
    ):
        yield connection
