"""Reading the store: pages of a day, traces as trees, finding by id; also as a role that only reads."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from fault_proxy import Fault, FaultProxy
from psycopg import conninfo, sql
from stored_runs import DAY, load, numbers, raw, run_id

from lse.errors import ConfigurationError, LseError, TemporaryError, UsageError
from lse.models import ProjectDay, RawFeedback, RawRun, Trace
from lse.reports import Request, find_report
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import Store, reading
from lse.store.reading import Filters, Node, Place, Reader, RunLine, arranged


@pytest.fixture
def reader(store: Store, database_url: str) -> Reader:
    return Reader(database_url)


@pytest.fixture
def reading_role(database_url: str) -> Iterator[str]:
    """The address of a role that may read and nothing else."""
    name = f"lse_reader_{os.getpid()}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in (
            "create role {} login password 'reader'",
            "grant select on all tables in schema public to {}",
            "alter role {} set default_transaction_read_only = on",
        ):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]
    yield conninfo.make_conninfo(database_url, user=name, password="reader")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("drop owned by {0}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("drop role {0}").format(sql.Identifier(name)))


def test_the_runs_of_a_day_come_in_pages_without_gap_or_repeat(store: Store, reader: Reader) -> None:
    load(store, *(raw(n, run_id(n % 3)) for n in range(7)))
    first = reader.runs(DAY, limit=3)
    second = reader.runs(DAY, limit=3, after=first.cursor)
    third = reader.runs(DAY, limit=3, after=second.cursor)
    assert [numbers(page.runs) for page in (first, second, third)] == [[0, 3, 6], [1, 4, 2], [5]]
    assert third.cursor is None
    assert list(reader.all_runs(DAY)) == [*first.runs, *second.runs, *third.runs]


def test_a_last_page_that_is_full_says_that_nothing_follows(store: Store, reader: Reader) -> None:
    load(store, *(raw(n, run_id(0)) for n in range(3)))
    assert reader.runs(DAY, limit=3).cursor is None


def test_a_run_is_shown_with_its_typed_values(store: Store, reader: Reader) -> None:
    load(store, raw(1, run_id(1), tags=["a"], error="boom"))
    assert reader.runs(DAY).runs == [
        RunLine(
            run_date=DAY.day,
            project="chat",
            trace_id=run_id(1),
            run_id=run_id(1),
            parent_run_id=None,
            name="step 1",
            run_type="chain",
            status="success",
            start_time=datetime(2025, 9, 13, 10, 0, 1, tzinfo=UTC),
            end_time=datetime(2025, 9, 13, 10, 0, 2, tzinfo=UTC),
            latency=1.0,
            model=None,
            prompt_tokens=None,
            completion_tokens=None,
            total_tokens=7,
            total_cost=Decimal("0.0003"),
            tags=["a"],
            error="boom",
        )
    ]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), [0, 1, 2]),
        (Filters(name="step 1"), [1]),
        (Filters(status="error"), [1]),
        (Filters(run_type="llm"), [2]),
        (Filters(tag="a"), [0, 2]),
        (Filters(tag="a", run_type="llm"), [2]),
        (Filters(name="step"), []),
    ],
)
def test_filters_choose_runs(store: Store, reader: Reader, filters: Filters, expected: list[int]) -> None:
    load(
        store,
        raw(0, run_id(0), tags=["a"]),
        raw(1, run_id(0), status="error"),
        raw(2, run_id(0), run_type="llm", tags=["b", "a"]),
    )
    assert numbers(reader.runs(DAY, filters).runs) == expected


def test_other_days_and_projects_are_not_of_the_day(store: Store, reader: Reader) -> None:
    load(store, raw(0, run_id(0)))
    load(store, raw(1, run_id(1)), day=ProjectDay("other", DAY.day))
    load(store, raw(2, run_id(2)), day=ProjectDay("chat", date(2025, 10, 1)))
    assert numbers(reader.runs(DAY).runs) == [0]
    assert numbers(reader.all_runs(ProjectDay("nothing", DAY.day))) == []


def test_a_trace_is_a_tree_with_children_in_order_of_their_start(store: Store, reader: Reader) -> None:
    root = run_id(0)
    load(
        store,
        raw(0, root),
        raw(1, root, root, start_time="2025-09-13T10:00:30"),
        raw(2, root, root),
        raw(3, root, run_id(1)),
        raw(4, root, run_id(2)),
        raw(5, root, run_id(99)),
    )
    place = reader.find(root)
    assert place == Place("chat", DAY.day, root, None)
    tree = reader.trace(place)
    assert list(zip(numbers(node.run for node in tree), [n.depth for n in tree], strict=True)) == [
        (0, 0),
        (2, 1),
        (4, 2),
        (1, 1),
        (3, 2),
        (5, 0),
    ]


def test_a_circle_of_parents_shows_each_run_once(store: Store, reader: Reader) -> None:
    root = run_id(0)
    load(store, raw(0, root), raw(1, root, run_id(2)), raw(2, root, run_id(1)), raw(3, root, run_id(3)))
    place = reader.find(root)
    assert place is not None
    assert sorted(numbers(node.run for node in reader.trace(place))) == [0, 1, 2, 3]


def test_a_tree_of_twenty_thousand_levels_is_arranged(store: Store, reader: Reader) -> None:
    load(store, raw(0, run_id(0)))
    (line,) = reader.runs(DAY).runs
    values = vars(line)
    chain = [
        RunLine(**{**values, "run_id": UUID(int=n + 1), "parent_run_id": UUID(int=n) if n else None})
        for n in range(20_000)
    ]
    assert arranged(chain)[-1] == Node(19_999, chain[-1])


def test_runs_traces_and_feedback_are_found_by_id(store: Store, reader: Reader) -> None:
    random_id = UUID("4bd3a0e5-5b5a-4d39-9d0c-0123456789ab")
    odd = RawRun(
        random_id,
        run_id(0),
        run_id(0),
        "",
        True,
        json.dumps(
            {"id": str(random_id), "trace_id": str(run_id(0)), "start_time": "2025-09-13T10:00:09"}
        ).encode(),
    )
    record = {"id": str(UUID(int=5)), "run_id": str(run_id(1)), "key": "good", "score": 1}
    feedback = RawFeedback(UUID(int=5), run_id(1), json.dumps(record).encode())
    load(store, raw(0, run_id(0)), raw(1, run_id(0), run_id(0)), odd, feedback=(feedback,))
    assert reader.find(run_id(1)) == Place("chat", DAY.day, run_id(0), run_id(1))
    assert reader.find(random_id) == Place("chat", DAY.day, run_id(0), random_id)
    assert reader.find(UUID(int=5)) == Place("chat", DAY.day, run_id(0), run_id(1))
    assert reader.find(UUID(int=6)) is None


def test_a_run_whose_id_says_another_day_is_found_as_well(store: Store, reader: Reader) -> None:
    load(store, raw(0, run_id(0)), raw(1, run_id(0)), day=ProjectDay("chat", date(2026, 1, 1)))
    assert reader.find(run_id(1)) == Place("chat", date(2026, 1, 1), run_id(0), run_id(1))


def test_payloads_keep_every_digit(store: Store, reader: Reader) -> None:
    exact = raw(0, run_id(0)).text[:-1] + b',"exact":12345678901234567890.10}'
    load(store, RawRun(run_id(0), run_id(0), None, "", True, exact), raw(1, run_id(0)))
    place = Place("chat", DAY.day, run_id(0), None)
    payloads = dict(reader.payloads(place))
    assert set(payloads) == {run_id(0), run_id(1)}
    assert '"exact": 12345678901234567890.10' in payloads[run_id(0)]
    assert list(dict(reader.payloads(Place("chat", DAY.day, run_id(0), run_id(1))))) == [run_id(1)]


@pytest.mark.parametrize("cursor", ["", "x", "1/2", f"{run_id(0)}", f"{run_id(0)}/{run_id(0)}/{run_id(0)}"])
def test_a_cursor_of_something_else_is_refused(reader: Reader, cursor: str) -> None:
    with pytest.raises(UsageError, match="not a cursor"):
        reader.runs(DAY, after=cursor)


def test_nothing_is_written_through_a_reader(reader: Reader) -> None:
    with pytest.raises(LseError, match="25006"):
        reader.query("delete from runs", {})


def test_reading_ends_in_time(database_url: str) -> None:
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="took longer than 0 s"):
        Reader(database_url, timeout=0.2).query("select pg_sleep(30)", {})
    assert time.monotonic() - began < 10


def test_a_role_that_only_reads_serves_readers_and_reports(
    store: Store, database_url: str, reading_role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, raw(0, run_id(0), name="zenrows_scraper", status="error"))
    monkeypatch.setenv("LSE_DATABASE_URL", database_url)
    monkeypatch.setenv("LSE_DATABASE_READ_URL", reading_role)
    with Resources(load_settings()) as resources:
        assert numbers(resources.reader.runs(DAY).runs) == [0]
        assert resources.reader.query("select current_user::text as name", {})[0]["name"].startswith("lse_r")
        rows = find_report("zenrows-errors").from_store(resources.reader, Request(DAY.day, DAY.day))
        assert rows == [(DAY.day.isoformat(), 1, 1, "100.0%")]
        assert numbers(resources.reader.search("why", DAY.day, DAY.day).runs) == [0]
        assert numbers(resources.reader.changes().runs) == [0]
    with pytest.raises(ConfigurationError, match="25006"):
        Store(reading_role).record(DAY, runs=1)


def test_without_an_address_for_reading_the_store_itself_is_read(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, raw(0, run_id(0)))
    monkeypatch.setenv("LSE_DATABASE_URL", database_url)
    with Resources(load_settings()) as resources:
        assert numbers(resources.reader.runs(DAY).runs) == [0]


@pytest.mark.parametrize("message", [b"BEGIN", b"select", b"COMMIT"])
def test_a_server_that_falls_silent_at_any_message_ends_a_question(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr(reading, "_GRACE", 0.2)
    with FaultProxy(database_url) as proxy:
        reader = Reader(proxy.url, timeout=0.5)
        proxy.arm(Fault("stall", containing=message, at=2 if message == b"select" else 1))
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="connection to the database was lost"):
            reader.runs(DAY)
        assert (proxy.fired.is_set(), time.monotonic() - began < 5) == (True, True)


def test_silence_ends_a_stream_and_the_slowness_of_who_reads_it_does_not(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, *(raw(n, run_id(0)) for n in range(60)))
    monkeypatch.setattr(reading, "_GRACE", 0.2)
    with FaultProxy(database_url) as proxy:
        reader = Reader(proxy.url, timeout=0.3)
        rows = reader.runs_with_feedback(DAY)
        assert next(rows)
        time.sleep(1)
        assert len(list(rows)) == 59
        proxy.arm(Fault("stall", containing=b"jsonb_agg"))
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="connection to the database was lost"):
            next(reader.runs_with_feedback(DAY))
        assert (proxy.fired.is_set(), time.monotonic() - began < 5) == (True, True)


def test_whoever_stops_reading_waits_for_no_answer(store: Store, database_url: str) -> None:
    runs = tuple(raw(n, run_id(0)) for n in range(3))
    load(store, *runs)
    with psycopg.connect(database_url) as connection:
        connection.execute("update runs set status = 'error'")
    trace = Trace(run_id(0), DAY.start, runs, ())
    with FaultProxy(database_url) as proxy:
        for rows in (Reader(proxy.url).all_runs(DAY), Store(proxy.url).differing_rows(DAY, [trace])):
            proxy.arm(None)
            assert next(rows)
            proxy.arm(Fault("stall"))
            began = time.monotonic()
            rows.close()  # type: ignore[attr-defined]
            assert time.monotonic() - began < 5
