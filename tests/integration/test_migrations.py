"""The schema goes up and down, keeps rows, and is what the tables declare."""

import io
import logging
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from lse.errors import ConfigurationError, UsageError
from lse.models import ProjectDay, RawRun, Trace
from lse.store import LoadResult, Store, migrate
from lse.store.migrate import transaction
from lse.store.revisions import migrations_folder
from lse.store.tables import RunRow

DAY = ProjectDay("chat", date(2025, 9, 13))
ID = UUID("0199d0aa-0000-7000-8000-000000000001")


def load_one(url: str) -> LoadResult:
    text = f'{{"id":"{ID}","trace_id":"{ID}","start_time":"2025-09-13T10:00:00","status":"success"}}'
    run = RawRun(ID, ID, None, "", True, text.encode())
    return Store(url).load(DAY, [Trace(ID, datetime(2025, 9, 13, 10, tzinfo=UTC), (run,), ())])


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return {name for (name,) in found}


def test_an_empty_database_goes_up_down_and_up_again(empty_database_url: str) -> None:
    url = empty_database_url
    assert migrate.current(url) is None
    migrate.upgrade(url)
    migrate.check(url)
    assert migrate.current(url) == migrate.head() == "0002"
    assert tables(url) == {
        "alembic_version",
        "daily_rollups",
        "feedback",
        "project_days",
        "quarantine",
        "run_versions",
        "runs",
    }
    assert load_one(url) == LoadResult(inserted=1)
    migrate.downgrade(url, "base")
    assert tables(url) == {"alembic_version"}
    migrate.upgrade(url)
    assert load_one(url) == LoadResult(inserted=1)


def test_upgrading_again_keeps_the_rows(database_url: str) -> None:
    load_one(database_url)
    migrate.upgrade(database_url)
    assert load_one(database_url) == LoadResult(unchanged=1)


def test_two_upgrades_at_once_both_succeed(empty_database_url: str) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty_database_url)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    migrate.check(empty_database_url)


def test_the_schema_is_what_the_tables_declare(database_url: str) -> None:
    load_one(database_url)
    with transaction(database_url) as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_object": lambda _o, name, *_: name != "runs_2025_09"},
        )
        differences = compare_metadata(context, RunRow.metadata)
    assert differences == []


def test_the_checks_of_the_schema_are_those_the_tables_declare(database_url: str) -> None:
    with transaction(database_url) as connection:
        found = {
            check["name"]
            for table in ("runs", "feedback")
            for check in sa.inspect(connection).get_check_constraints(table)
        }
    declared = {
        constraint.name
        for name in ("runs", "feedback")
        for constraint in RunRow.metadata.tables[name].constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert found == declared
    assert len(found) == 4


def test_migrations_are_one_line_and_the_last_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrate.head()]
    assert all(
        Path(script.path).name.startswith(f"{script.revision}_") for script in scripts.walk_revisions()
    )


def test_a_schema_of_a_later_lse_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    for ask in (
        migrate.check,
        migrate.upgrade,
        lambda url: migrate.downgrade(url, "base"),
        lambda url: Store(url).check(),
    ):
        with pytest.raises(ConfigurationError, match="does not know"):
            ask(database_url)


def test_a_schema_that_is_behind_is_named_with_what_to_do(empty_database_url: str) -> None:
    with pytest.raises(ConfigurationError) as behind:
        migrate.check(empty_database_url)
    assert str(behind.value) == "The database has no tables of lse yet."
    assert behind.value.hint == "Run `lse db upgrade`."


def test_a_revision_that_is_none_is_refused(database_url: str) -> None:
    with pytest.raises(UsageError):
        migrate.downgrade(database_url, "0000")


def test_alembic_itself_finds_the_database_of_the_settings(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    config = Config(stdout=said)
    config.set_main_option("script_location", str(migrations_folder()))
    with pytest.raises(ConfigurationError, match="needs a database"):
        command.check(config)
    monkeypatch.setenv("LSE_DATABASE_URL", database_url)
    command.check(config)
    assert "No new upgrade operations" in said.getvalue()


def test_upgrades_are_quiet(empty_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        migrate.upgrade(empty_database_url)
    assert caplog.records == []
