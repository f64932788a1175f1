"""Following changes: every write comes once, in whatever order transactions commit."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from stored_runs import load, numbers, raw, run_id

from lse.errors import UsageError
from lse.store import Store
from lse.store.reading import Reader


@pytest.fixture
def reader(store: Store, database_url: str) -> Reader:
    return Reader(database_url)


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else's, who writes and has not committed."""
    with psycopg.connect(database_url) as connection:
        yield connection


def touch(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute(
        "update runs set changed_xid = pg_current_xact_id() where run_id = %s", [run_id(number)]
    )


def test_a_first_call_begins_at_the_beginning_and_the_next_sees_only_what_follows(
    store: Store, reader: Reader
) -> None:
    assert reader.changes().cursor is None
    load(store, raw(0, run_id(0)), raw(1, run_id(0)))
    first = reader.changes()
    assert numbers(first.runs) == [0, 1]
    nothing = reader.changes(first.cursor)
    assert (nothing.runs, nothing.cursor) == ([], first.cursor)
    load(store, raw(0, run_id(0)), raw(1, run_id(0), name="changed"), raw(2, run_id(0)))
    assert numbers(reader.changes(first.cursor).runs) == [1, 2]


def test_small_pages_give_the_same_as_a_large_one(store: Store, reader: Reader) -> None:
    load(store, *(raw(n, run_id(n % 2)) for n in range(5)))
    load(store, *(raw(n, run_id(n % 2)) for n in range(5, 8)))
    seen, cursor = [], None
    while page := reader.changes(cursor, limit=2).runs:
        cursor = reader.changes(cursor, limit=2).cursor
        seen += numbers(page)
    assert seen == numbers(reader.changes().runs)
    assert sorted(seen) == list(range(8))


def test_a_transaction_that_commits_late_is_not_missed(
    store: Store, reader: Reader, other: psycopg.Connection[Any]
) -> None:
    load(store, raw(0, run_id(0)), raw(1, run_id(1)))
    cursor = reader.changes().cursor
    touch(other, 0)  # has its transaction id, and stays open
    load(store, raw(2, run_id(2)))  # begins later, commits first

    early = reader.changes(cursor)
    assert numbers(early.runs) == []
    other.commit()
    late = reader.changes(early.cursor)

    assert numbers(late.runs) == [0, 2]
    assert numbers(reader.changes(late.cursor).runs) == []


def test_what_is_rolled_back_never_comes(
    store: Store, reader: Reader, other: psycopg.Connection[Any]
) -> None:
    load(store, raw(0, run_id(0)))
    cursor = reader.changes().cursor
    touch(other, 0)
    other.rollback()
    assert reader.changes(cursor).runs == []


def test_a_follower_sees_every_write_of_four_writers(database_url: str, store: Store, reader: Reader) -> None:
    load(store, *(raw(n, run_id(0)) for n in range(40)))
    cursor = reader.changes().cursor
    done = threading.Event()

    def write(first: int) -> None:
        with psycopg.connect(database_url) as connection:
            for number in range(first, 40, 4):
                touch(connection, number)
                connection.execute("select pg_sleep(%s)", [0.02 * (number % 3)])
                connection.commit()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    while not done.is_set():
        if not any(writer.is_alive() for writer in writers):
            done.set()  # one more look after the last commit
        page = reader.changes(cursor, limit=7)
        while page.runs:
            seen += numbers(page.runs)
            cursor = page.cursor
            page = reader.changes(cursor, limit=7)
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize("cursor", ["", "1", "x/2025-09-13/a/b", f"{UUID(int=1)}/{UUID(int=2)}"])
def test_a_cursor_of_something_else_is_refused(reader: Reader, cursor: str) -> None:
    with pytest.raises(UsageError, match="not a cursor"):
        reader.changes(cursor)
