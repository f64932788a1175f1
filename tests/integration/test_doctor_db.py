"""`lse doctor db`: what is wrong with a database is found, with the command that helps; nothing else is."""

from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from stored_runs import DAY, load, raw, run_id

from lse.models import ProjectDay
from lse.reports import find_report, report_names
from lse.store import Store, search_index
from lse.store.doctor import (
    Finding,
    Partition,
    about_partition,
    about_plan,
    about_server,
    declared_indexes,
    diagnose,
    reading_statements,
    sample_parameters,
)

QUERIES = {name: find_report(name).QUERY.encode() for name in report_names()}
SERVER: dict[str, Any] = {
    "version": 180004,
    "version_name": "18.4",
    "autovacuum": True,
    "max_wal_size": 2**30,
    "shared_buffers": 2**27,
    "max_connections": 100,
    "connections": 3,
    "oldest_transaction": 0.5,
    "replica": False,
}


def wrong(findings: Any) -> list[Finding]:
    return [finding for finding in findings if finding.severity != "ok"]


def partition(**changes: Any) -> Partition:
    values: dict[str, Any] = {
        **{"name": "runs_2025_09", "pages": 10_000, "rows": 300_000, "live": 300_000, "dead": 0},
        **{"visible_pages": 10_000, "size": 10**9, "needed_pages": 9_500},
        **dict.fromkeys(("vacuumed_at", "analyzed_at"), datetime(2025, 9, 14, tzinfo=UTC)),
    }
    return Partition(**{**values, **changes})


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def loaded_url(store: Store, database_url: str) -> str:
    load(store, *(raw(n, run_id(n % 3)) for n in range(9)))
    load(store, raw(10, run_id(10)), day=ProjectDay("chat", date(2025, 10, 1)))
    return database_url


def test_a_sound_database_has_nothing_to_mend(loaded_url: str) -> None:
    findings = diagnose(loaded_url, QUERIES)
    assert [finding for finding in findings if finding.severity == "mend"] == []
    checked = {finding.item for finding in findings if finding.check == "plan"}
    assert {"runs_of_day", "run_hashes", "trace_runs", "search_words", "changes", *QUERIES} <= checked


def test_an_empty_database_is_no_fault(database_url: str) -> None:
    findings = diagnose(database_url, {})
    assert {finding.severity for finding in findings} <= {"ok", "note"}
    (note,) = [finding for finding in findings if finding.check == "plan"]
    assert note.text == "nothing is loaded yet, so no plan could be looked at"


def test_every_statement_that_reads_runs_has_sample_values() -> None:
    named = sample_parameters(
        {"project": "p", "run_date": DAY.day}, {"trace_id": run_id(1), "run_id": run_id(1)}
    )
    statements = reading_statements()
    assert len(statements) >= 10
    for name, text in {**statements, **QUERIES}.items():
        used = {part.split(b")")[0].decode() for part in text.split(b"%(")[1:]}
        assert used <= set(named), name


def test_a_missing_index_is_named_and_so_are_the_statements_it_served(loaded_url: str) -> None:
    execute(
        loaded_url,
        "drop index runs_project_day",
        "drop index runs_trace",
        "alter table runs drop constraint runs_pkey",
    )
    found = {(f.check, f.item): f for f in diagnose(loaded_url, QUERIES) if f.severity == "mend"}
    assert found[("index", "runs_project_day")].command == (
        'lse db psql -c "CREATE INDEX runs_project_day ON runs (project, run_date)"'
    )
    assert ("plan", "place_of_trace") in found
    assert found[("plan", "place_of_trace")].text.startswith("no index serves it: it reads runs_2025_")


def test_every_index_can_be_made_again_as_the_doctor_says(loaded_url: str) -> None:
    statements = declared_indexes()
    execute(
        loaded_url,
        *(f"drop index {name}" for name in statements if name.startswith("runs_") and "pkey" not in name),
        "alter table runs drop constraint runs_pkey",
    )
    missing = [f.item for f in diagnose(loaded_url, {}) if f.check == "index" and f.severity == "mend"]
    assert missing == [
        "runs_changed",
        "runs_failed",
        "runs_pkey",
        "runs_project_day",
        "runs_start_time",
        "runs_trace",
    ]
    execute(loaded_url, *(statements[name] for name in missing))
    assert [f for f in diagnose(loaded_url, QUERIES) if f.severity == "mend"] == []


def test_an_index_that_is_not_valid_is_found(loaded_url: str) -> None:
    execute(
        loaded_url,
        "create index half on feedback (project)",
        "update pg_index set indisvalid = false where indexrelid = 'half'::regclass",
    )
    (finding,) = [f for f in diagnose(loaded_url, {}) if f.severity == "mend"]
    assert (finding.item, finding.command) == ("half", 'lse db psql -c "reindex index concurrently half"')


def test_a_search_index_that_was_half_built_is_found(loaded_url: str) -> None:
    execute(loaded_url, "create index runs_search_words on only runs using gin (to_tsvector('simple', name))")
    (finding,) = [f for f in diagnose(loaded_url, {}) if f.severity == "mend"]
    assert (finding.item, finding.command) == ("runs_search_words", "lse db search-index on")
    search_index.drop(loaded_url)
    search_index.build(loaded_url, "words")
    assert [f for f in diagnose(loaded_url, {}) if f.severity == "mend"] == []


def test_a_report_that_no_index_serves_is_found(loaded_url: str) -> None:
    served = b"select count(*) from runs where run_date >= %(start)s and data ->> 'name' = %(project)s"
    unserved = b"select sum(total_tokens) from runs where symbol = %(project)s"
    found = {f.item: f.severity for f in diagnose(loaded_url, {"served": served, "unserved": unserved})}
    assert (found["served"], found["unserved"]) == ("ok", "mend")


def test_a_large_partition_read_whole_for_a_small_day_is_wrong_and_for_a_large_one_right() -> None:
    whole = ["runs_2025_09"]
    small = about_plan("daily", [], whole, [partition()], 10_000)
    assert (small.severity, small.command) == ("mend", 'lse db psql -c "vacuum (analyze) runs_2025_09"')
    assert about_plan("daily", [], whole, [partition()], 200_000).severity == "ok"
    assert about_plan("daily", [], whole, [partition(pages=200)], 10).severity == "ok"
    assert about_plan("daily", [], ["project_days"], [partition()], 10).severity == "ok"
    assert about_plan("daily", whole, whole, [partition(pages=1)], 10).severity == "mend"


@pytest.mark.parametrize(
    ("changes", "severity", "says"),
    [
        ({"dead": 100_000}, "mend", "100,000 dead rows beside 300,000"),
        ({"visible_pages": 5_000}, "note", "50% of its pages are known as all-visible"),
        ({"needed_pages": 4_000}, "note", "60% of its 78 MB of rows are free"),
        ({"rows": 0, "analyzed_at": None}, "note", "300,000 rows, never analyzed"),
    ],
)
def test_a_partition_in_need_of_care_is_found(changes: dict[str, Any], severity: str, says: str) -> None:
    (finding,) = wrong(about_partition(partition(**changes)))
    assert finding.severity == severity
    assert says in finding.text
    assert "runs_2025_09" in finding.command


def test_a_small_partition_is_left_alone() -> None:
    assert wrong(about_partition(partition(pages=500, dead=300_000, visible_pages=0, needed_pages=1))) == []


@pytest.mark.parametrize(
    ("changes", "item", "severity"),
    [
        ({"version": 140010}, "version", "mend"),
        ({"version": 150010}, "version", "note"),
        ({"autovacuum": False}, "autovacuum", "mend"),
        ({"max_wal_size": 2**26}, "max_wal_size", "note"),
        ({"shared_buffers": 2**20}, "shared_buffers", "note"),
        ({"connections": 80}, "connections", "note"),
        ({"oldest_transaction": 9_000.0}, "oldest transaction", "note"),
    ],
)
def test_settings_that_hurt_are_found(changes: dict[str, Any], item: str, severity: str) -> None:
    assert wrong(about_server(SERVER)) == []
    assert [(f.item, f.severity) for f in wrong(about_server({**SERVER, **changes}))] == [(item, severity)]


def test_the_declared_indexes_are_those_of_the_migrations(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "select indexname from pg_indexes where schemaname = 'public' and tablename <> 'alembic_version'"
        ).fetchall()
    assert {name for (name,) in found} == set(declared_indexes())


def test_the_keys_let_the_tables_be_distributed_by_trace_and_cut_by_day(database_url: str) -> None:
    """Citus and partitions refuse a unique index without the column by which rows are placed."""
    with psycopg.connect(database_url) as connection:
        unique = connection.execute(
            """
            select indrelid::regclass::text, array_agg(attname::text)
            from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)
            where indisunique and indrelid in ('runs'::regclass, 'run_versions'::regclass)
            group by indrelid, indexrelid
            """
        ).fetchall()
        serials = connection.execute(
            "select count(*) from pg_sequences where sequencename !~ '^events'"
        ).fetchone()
        triggers = connection.execute(
            "select count(*) from pg_trigger where tgrelid in ('runs'::regclass, 'run_versions'::regclass)"
        ).fetchone()
    assert sorted(table for table, _ in unique) == ["run_versions", "runs"]
    assert all({"trace_id", "run_date"} <= set(columns) for _, columns in unique)
    assert (serials, triggers) == ((0,), (0,))
