"""The schema goes up and down, keeps rows, and is what the tables declare."""

import io
import logging
import os
import signal
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.types.json import Jsonb

from lse.cli import database
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
    assert migrate.current(url) == migrate.head()
    assert tables(url) == {
        "alembic_version",
        "daily_feedback",
        "daily_rollups",
        "daily_traces",
        "evaluation_requests",
        "events",
        "feedback",
        "project_days",
        "quarantine",
        "rate_budgets",
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


OLDER = {
    "id": str(ID),
    "trace_id": str(ID),
    "start_time": "2025-09-13T10:00:00",
    "status": "success",
    "extra": {"metadata": {"ls_model_name": "gpt-4o"}},
}


REVISIONS = sorted(path.name.split("_")[0] for path in (migrations_folder() / "versions").glob("[0-9]*.py"))


def upgrade_to(url: str, revision: str) -> None:
    with transaction(url) as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations_folder()))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def first_revision(empty_database_url: str) -> str:
    """A database as revision 0001 left it, with one run, its month and its ledger entry."""
    upgrade_to(empty_database_url, "0001")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "create table runs_2025_09 (like runs including all) with (toast_tuple_target = 512)"
        )
        connection.execute(
            "alter table runs attach partition runs_2025_09 for values from ('2025-09-01') to ('2025-10-01')"
        )
        connection.execute(
            "insert into runs (run_date, trace_id, run_id, content_hash, start_time, end_time, sanitized,"
            " project, name, total_tokens, tags, data) values ('2025-09-13', %(id)s, %(id)s, %(id)s,"
            " '2025-09-13 10:00Z', '2025-09-13 10:00:02Z', false, 'chat', 'plan', 5, '{}', %(data)s)",
            {"id": ID, "data": Jsonb(OLDER)},
        )
    return empty_database_url


def row(url: str, statement: str) -> tuple[Any, ...] | None:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchone()


def test_rows_of_the_first_revision_get_model_rollup_cursor_and_views(first_revision: str) -> None:
    migrate.upgrade(first_revision)
    assert row(first_revision, "select name, model, changed_xid is not null from runs") == (
        "plan",
        "gpt-4o",
        True,
    )
    rollup = "select name, model, runs, roots, traces, total_tokens, ended, latency::int from daily_rollups"
    assert row(first_revision, rollup) == ("plan", "gpt-4o", 1, 1, 1, 5, 1, 2)
    assert row(first_revision, "select name, runs, latency from lse_traces") == ("plan", 1, 2.0)
    assert load_one(first_revision) == LoadResult(updated=1)
    assert row(first_revision, "select count(*) from run_versions") == (1,)


@pytest.mark.parametrize("revision", REVISIONS)
def test_from_every_revision_the_rows_come_to_the_last_and_back(first_revision: str, revision: str) -> None:
    upgrade_to(first_revision, revision)
    before = row(first_revision, "select data from runs")
    migrate.upgrade(first_revision)
    assert migrate.differences(first_revision) == []
    assert row(first_revision, "select data from runs") == before
    migrate.downgrade(first_revision, revision)
    assert migrate.current(first_revision) == revision
    assert row(first_revision, "select data from runs") == before


def test_going_back_to_the_first_revision_keeps_its_rows(first_revision: str) -> None:
    before = row(first_revision, "select runs from runs")
    migrate.upgrade(first_revision)
    migrate.downgrade(first_revision, "0001")
    assert row(first_revision, "select runs from runs") == before
    migrate.upgrade(first_revision)
    migrate.check(first_revision)


@pytest.mark.parametrize("statement", [1, 4, 8])
def test_an_upgrade_that_is_killed_leaves_the_earlier_revision_whole(
    first_revision: str, statement: int
) -> None:
    child = os.fork()
    if child == 0:
        try:
            kill_at(statement)
            migrate.upgrade(first_revision)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert migrate.current(first_revision) == "0001"
    migrate.upgrade(first_revision)
    assert row(first_revision, "select name, model from runs") == ("plan", "gpt-4o")


def kill_at(statement: int) -> None:
    """Let this process die before the migration's statement of this number."""
    execute, done = op.execute, iter(range(1, 100))

    def execute_or_die(text: str) -> None:
        if next(done) == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        execute(text)

    op.execute = execute_or_die


def test_the_embedded_database_is_not_downgraded_since_the_next_command_would_undo_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LSE_STATE_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="embedded database is brought up to date"):
        database.downgrade("0001", yes=True)


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
    assert migrate.differences(database_url) == []


def test_each_change_to_the_live_schema_is_named(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop index runs_project_day")
        connection.execute("alter table project_days drop column walks")
        connection.execute("create table feedback_copy (id int)")
    assert sorted(migrate.differences(database_url)) == [
        "add column project_days.walks",
        "add index runs_project_day",
        "remove table feedback_copy",
    ]


def test_another_revision_is_not_compared(empty_database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="no tables of lse yet"):
        migrate.differences(empty_database_url)


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
