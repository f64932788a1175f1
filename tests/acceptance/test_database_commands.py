"""`lse db` on a database of one's own."""

import psycopg
import pytest
from commands import PROJECT, Lse

from lse.store.migrate import head


@pytest.fixture
def empty(lse: Lse, empty_database_url: str) -> Lse:
    """`lse` on a database without any table."""
    lse.settings["LSE_DATABASE_URL"] = empty_database_url
    return lse


def test_the_schema_is_made_looked_at_and_taken_back(empty: Lse) -> None:
    assert empty("db", "current").out == "none\n"
    assert empty("db", "check").code == 7
    assert empty("db", "upgrade").out == f"at revision {head()}, the latest\n"
    assert empty("db", "status", "--json").json == {
        "database": "LSE_DATABASE_URL",
        "revision": head(),
        "latest_revision": head(),
    }
    assert empty("db", "check").out == f"as declared, at revision {head()}\n"
    refused = empty("db", "downgrade", "0001")
    assert (refused.code, empty("db", "current").out) == (130, f"{head()}\n")
    assert empty("db", "downgrade", "0001", "--yes").out == "at revision 0001\n"
    assert empty("db", "current").out == "0001\n"


def test_a_table_that_somebody_changed_is_named(lse: Lse) -> None:
    assert lse("db", "psql", "-c", "alter table quarantine drop column reason").code == 0
    found = lse("db", "check")
    assert (found.code, "reason" in found.out) == (3, True)
    assert lse("db", "check", "--json").json["differences"] == found.out.splitlines()


def test_the_statements_for_roles_are_printed_and_run(lse: Lse) -> None:
    names = ("--runtime", f"runtime_{lse.folder.name}", "--readonly", f"readonly_{lse.folder.name}")
    assert [lse("db", "roles", *names).out.count(name) > 1 for name in (names[1], names[3])] == [True, True]
    assert "may load and report" in lse("db", "roles", *names, "--apply").out
    with psycopg.connect(lse.settings["LSE_DATABASE_URL"], autocommit=True) as connection:
        for name in (names[1], names[3]):
            connection.execute(f'drop owned by "{name}"'.encode())
            connection.execute(f'drop role "{name}"'.encode())


def test_an_empty_quarantine_is_said_to_be_empty(lse: Lse) -> None:
    day = ("--project", PROJECT, "--date", "2025-09-14")
    assert lse("archive", "full-sweep", *day, "--skip-upload").code == 0
    assert lse("db", "quarantine", *day).out == "nothing is in quarantine\n"
    assert lse("db", "quarantine", *day, "--json").json == []


def test_a_server_of_ones_own_is_not_started_or_stopped(lse: Lse) -> None:
    refused = lse("db", "start")
    assert refused.code == 7
    assert "LSE_DATABASE_URL is set" in refused.err
