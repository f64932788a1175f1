"""The roles of `lse db roles`: one loads without any right to change tables, one only reads."""

import uuid
from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from psycopg import conninfo, sql
from test_store import DAY, feedback, run, trace

from lse.errors import AccessError, ConfigurationError
from lse.models import ProjectDay
from lse.reports import Request, find_report
from lse.store import LoadResult, Store
from lse.store.reading import Reader
from lse.store.roles import apply_roles, role_statements
from lse.store.scratch import scratch_schema


@pytest.fixture
def roles(database_url: str) -> Iterator[dict[str, str]]:
    """The addresses of both roles, made for this database alone."""
    names = {kind: f"lse_{kind}_{uuid.uuid4().hex[:8]}" for kind in ("runtime", "readonly")}
    apply_roles(database_url, **names)
    with psycopg.connect(database_url, autocommit=True) as owner:
        for name in names.values():
            owner.execute(sql.SQL("alter role {} password 'for-tests'").format(sql.Identifier(name)))
        yield {
            kind: conninfo.make_conninfo(database_url, user=name, password="for-tests")
            for kind, name in names.items()
        }
        for name in names.values():
            owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


def test_the_runtime_role_loads_changes_and_reports_and_opens_months(roles: dict[str, str]) -> None:
    store = Store(roles["runtime"])
    store.check()
    good, bad = run(1), run(2, text='"x":NaN')
    loaded = store.load(DAY, [trace(good, bad, feedback=[feedback(1, good)])])
    assert loaded == LoadResult(inserted=1, quarantined=1, feedback=1)
    assert store.load(DAY, [trace(run(1, name="other"))]) == LoadResult(updated=1)
    assert store.load(ProjectDay("chat", date(2031, 1, 1)), [trace(run(1))]) == LoadResult(inserted=1)
    with store.lock(DAY):
        store.record(DAY, complete=True)
    assert store.query("select count(*) from run_versions", {}) == [{"count": 2}]


def test_the_runtime_role_vacuums_the_months_that_it_opened(
    roles: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lse.store.store._WORTH_VACUUMING", 1)
    store = Store(roles["runtime"])
    store.load(DAY, [trace(run(1))])
    with psycopg.connect(roles["runtime"]) as connection:
        if connection.info.server_version < 170_000:
            pytest.skip("before Postgres 17 only the owner may vacuum, and autovacuum does")
    asked = "select relallvisible from pg_class where relname = 'runs_2025_09'"
    assert store.query(asked, {}) == [{"relallvisible": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "drop table runs",
        "alter table runs add column mine text",
        "create table mine (id int)",
        "truncate runs",
        "update alembic_version set version_num = '0001'",
        "create function mine() returns int language sql as 'select 1'",
    ],
)
@pytest.mark.parametrize("kind", ["runtime", "readonly"])
def test_neither_role_changes_the_schema(roles: dict[str, str], kind: str, statement: str) -> None:
    with psycopg.connect(roles[kind]) as connection:
        connection.read_only = False
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_readonly_role_reads_tables_and_views_and_reports(store: Store, roles: dict[str, str]) -> None:
    store.load(DAY, [trace(run(1, status="error"))])
    reading = Reader(roles["readonly"])
    reading.check()
    views = ("lse_runs", "lse_traces", "lse_days", "lse_rollups")
    assert [reading.query(f"select count(*) from {view}", {}) for view in views] == [[{"count": 1}]] * 4
    request = Request(DAY.day, DAY.day, "chat")
    report = find_report("zenrows-errors")
    rows = report.from_store(reading, request)
    assert report.render(rows, request, "csv").splitlines()[1] == "2025-09-13,1,1,100.0%"


@pytest.mark.parametrize("statement", ["delete from runs", "insert into project_days values ('x', now())"])
def test_the_readonly_role_writes_nothing_even_when_it_asks_to(roles: dict[str, str], statement: str) -> None:
    with psycopg.connect(roles["readonly"]) as connection:
        connection.read_only = False
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_readonly_role_cannot_load_and_says_what_is_missing(roles: dict[str, str]) -> None:
    with pytest.raises((AccessError, ConfigurationError), match=r"permission|25006"):
        Store(roles["readonly"]).load(DAY, [trace(run(1))])


def test_making_the_roles_again_changes_nothing(database_url: str, roles: dict[str, str]) -> None:
    names = [str(conninfo.conninfo_to_dict(url)["user"]) for url in roles.values()]
    apply_roles(database_url, *names)
    assert Store(roles["runtime"]).load(DAY, [trace(run(1))]) == LoadResult(inserted=1)


def test_a_role_name_is_a_name_and_no_sql(database_url: str) -> None:
    odd = 'x"; drop table runs; --'
    statements = role_statements(database_url, odd, "reader's")
    assert any('to "x""; drop table runs; --"' in statement for statement in statements)
    assert all(statement.startswith(("do ", "grant ", "alter ", "revoke ")) for statement in statements)


def test_only_who_may_create_roles_makes_them(roles: dict[str, str]) -> None:
    with pytest.raises(AccessError):
        apply_roles(roles["runtime"], "somebody", "somebody_else")


def test_a_drill_needs_one_right_more_names_it_and_runs_with_it(
    database_url: str, roles: dict[str, str]
) -> None:
    role, database = (conninfo.conninfo_to_dict(roles["runtime"])[name] for name in ("user", "dbname"))
    with pytest.raises(ConfigurationError) as refused, scratch_schema(roles["runtime"]):
        pass
    assert refused.value.message == (
        f"The role {role} may not create a schema in the database {database}, and a drill needs one."
    )
    grant = f'grant create on database "{database}" to "{role}"'
    assert (refused.value.exit_code, refused.value.hint) == (7, f"Have the database's owner run: {grant}")
    with psycopg.connect(database_url) as owner:
        owner.execute(grant.encode())
    with scratch_schema(roles["runtime"]) as scratch:
        assert Store(scratch).load(DAY, [trace(run(1))]) == LoadResult(inserted=1)
