"""The runs store on a real Postgres: loading, converging, isolating bad runs, the ledger and the locks."""

import json
import os
import signal
import threading
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import conninfo, errors

from lse.errors import BusyError, ConfigurationError, LseError, TemporaryError
from lse.models import ProjectDay, RawFeedback, RawRun, Trace, content_hash, read_entries
from lse.store import LedgerEntry, LoadResult, Store
from lse.store.connection import connect, deadline, translated
from lse.store.queries import QUERIES, parse_queries

DAY = ProjectDay("chat", date(2025, 9, 13))
T1 = UUID("0199d0aa-0000-7000-8000-000000000001")
T2 = UUID("0199d0aa-0000-7000-8000-000000000002")


def run_id(number: int) -> UUID:
    return UUID(int=(0x0199D0AA << 96) | (0x7 << 76) | (0x8 << 60) | 0x1000 + number)


def run(number: int = 0, trace_id: UUID = T1, *, text: str | None = None, **changes: Any) -> RawRun:
    """A run of `trace_id`; `text` adds members as written, for what `json` cannot write."""
    document = {
        "id": str(run_id(number)),
        "trace_id": str(trace_id),
        "name": "zenrows_scraper",
        "run_type": "tool",
        "status": "success",
        "start_time": "2025-09-13T10:11:12.500000",
        "end_time": "2025-09-13T10:11:14",
        "dotted_order": f"20250913T101112500000Z{run_id(number)}",
        "inputs": {"crypto_symbol": "btc"},
        **changes,
    }
    written = json.dumps(document)
    if text is not None:
        written = written[:-1] + "," + text + "}"
    ended = document["end_time"] is not None
    return RawRun(run_id(number), trace_id, None, document["dotted_order"], ended, written.encode())


def trace(*runs: RawRun, feedback: Iterable[RawFeedback] = ()) -> Trace:
    started = datetime(2025, 9, 13, 10, 11, 12, 500000, UTC)
    return Trace(runs[0].trace_id, started, runs, tuple(feedback))


def feedback(number: int, target: RawRun, **changes: Any) -> RawFeedback:
    key = UUID(int=number + 1)
    document = {"id": str(key), "run_id": str(target.id), "key": "good", "score": 1, **changes}
    return RawFeedback(key, target.id, json.dumps(document).encode())


def rows(store: Store, columns: str = "*") -> list[dict[str, Any]]:
    return store.query(f"select {columns} from runs order by trace_id, run_id", {})


def test_a_run_stands_in_typed_columns_and_as_a_value(store: Store) -> None:
    raw = run(
        parent_run_id=str(T2),
        session_id=str(T1),
        status="error",
        error="x" * 400,
        tags=["a", 'quote"', "ü"],
        total_tokens=15,
        total_cost=0.1234567890123,
        thread_id="t",
        text='"exact":12345678901234567890.10',
    )
    assert store.load(DAY, [trace(raw)]) == LoadResult(inserted=1)
    (row,) = rows(store)
    assert row.pop("loaded_at").tzinfo is not None
    data = row.pop("data")
    assert data["id"] == str(raw.id)
    assert data["error"] == "x" * 400
    assert {name: str(row[name]) for name in ("total_cost", "latency", "symbol")} == {
        "total_cost": "0.1234567890123",
        "latency": "1.5",
        "symbol": "BTC",
    }
    assert row["tags"] == ["a", 'quote"', "ü"]
    assert row["error"] == "x" * 300
    assert row["content_hash"] == content_hash(raw.text)
    assert (row["run_date"], row["trace_id"], row["run_id"]) == (DAY.day, T1, raw.id)
    assert (row["parent_run_id"], row["session_id"], row["sanitized"]) == (T2, T1, False)
    assert row["start_time"] == datetime(2025, 9, 13, 10, 11, 12, 500000, UTC)
    assert store.query("select data->>'exact' as exact from runs", {}) == [
        {"exact": "12345678901234567890.10"}
    ]


def test_loading_again_changes_nothing(store: Store) -> None:
    day = [trace(run(1), run(2)), trace(run(3, T2))]
    assert store.load(DAY, day) == LoadResult(inserted=3)
    before = rows(store)
    assert store.load(DAY, day) == LoadResult(unchanged=3)
    assert rows(store) == before


def test_a_changed_run_replaces_its_row_and_absent_runs_stay(store: Store) -> None:
    store.load(DAY, [trace(run(1), run(2))])
    assert store.load(DAY, [trace(run(2, name="other"), run(3))]) == LoadResult(inserted=1, updated=1)
    assert [row["name"] for row in rows(store, "name")] == ["zenrows_scraper", "other", "zenrows_scraper"]


def test_a_finished_run_is_never_overwritten_by_an_unfinished_one(store: Store) -> None:
    finished, pending = run(1), run(1, status="pending", end_time=None)
    assert store.load(DAY, [trace(pending)]) == LoadResult(inserted=1)
    assert store.load(DAY, [trace(finished)]) == LoadResult(updated=1)
    assert store.load(DAY, [trace(pending)]) == LoadResult(kept=1)
    assert rows(store, "status, content_hash") == [
        {"status": "success", "content_hash": content_hash(finished.text)}
    ]


def test_a_run_that_comes_twice_is_loaded_once_and_the_finished_one_counts(store: Store) -> None:
    finished, pending = run(1), run(1, status="pending", end_time=None)
    assert store.load(DAY, [trace(finished, pending)]) == LoadResult(inserted=1)
    assert store.load(DAY, [trace(finished), trace(pending)], batch_runs=1) == LoadResult(unchanged=1, kept=1)
    assert [row["status"] for row in rows(store, "status")] == ["success"]


def test_batches_do_not_change_the_result(store: Store) -> None:
    done: list[int] = []
    day = [trace(*(run(number) for number in range(7))), trace(run(7, T2))]
    assert store.load(DAY, day, batch_runs=3, progress=done.append) == LoadResult(inserted=8)
    assert done == [3, 3, 2]


def test_nul_characters_are_replaced_in_the_value_and_marked(store: Store) -> None:
    raw = run(1, text=r'"a\u0000":"b\u0000\u0000", "escaped":"\\u0000", "both":"\\\u0000"')
    assert store.load(DAY, [trace(raw)]) == LoadResult(inserted=1)
    (row,) = rows(store, "sanitized, content_hash, data")
    assert row["sanitized"] is True
    assert row["content_hash"] == content_hash(raw.text)
    assert row["data"]["a\ufffd"] == "b\ufffd\ufffd"
    assert row["data"]["escaped"] == r"\u0000"
    assert row["data"]["both"] == "\\\ufffd"


POISON = {
    "number out of range": ('"x":1e999999', "a number with an exponent of four digits or more"),
    "number that explodes": ('"x":[1, 1E+131071]', "a number with an exponent of four digits or more"),
    "tiny number": ('"x":{"y":1e-131071}', "a number with an exponent of four digits or more"),
    "NaN": ('"x":NaN', "refused by Postgres: 22P02 InvalidTextRepresentation"),
    "not JSON": ('"x":', "not a complete JSON text"),
    "another id in the end": (f'"id":"{T2}"', "the ids in the text are not those it is filed under"),
}


@pytest.mark.parametrize("kind", POISON)
def test_one_bad_run_is_quarantined_alone_with_its_bytes(store: Store, kind: str) -> None:
    text, reason = POISON[kind]
    bad = run(50, text=text)
    day = [trace(*(run(number) for number in range(50)), bad, *(run(number) for number in range(51, 100)))]
    assert store.load(DAY, day) == LoadResult(inserted=99, quarantined=1)
    (entry,) = store.quarantined(DAY)
    assert (entry.run_id, entry.trace_id, entry.content_hash) == (bad.id, T1, content_hash(bad.text))
    assert entry.reason == reason
    assert store.query("select raw from quarantine", {}) == [{"raw": bad.text}]
    assert store.load(DAY, day) == LoadResult(unchanged=99, quarantined=1)


@pytest.mark.parametrize(
    "text", ['"x":"1e5000 , and [1e5000]"', '"x":"\\"1e5000]"', '"x":1e400', '"x":"91e4567-"']
)
def test_what_only_looks_like_a_huge_number_is_loaded(store: Store, text: str) -> None:
    assert store.load(DAY, [trace(run(1, text=text))]) == LoadResult(inserted=1)


def test_a_lone_surrogate_is_replaced_and_a_pair_is_not(store: Store) -> None:
    raw = run(1, text=r'"half":"a\ud83d", "pair":"\ud83d\ude00", "escaped":"\\ud83d"')
    assert store.load(DAY, [trace(raw)]) == LoadResult(inserted=1)
    (row,) = rows(store, "data, sanitized, content_hash")
    assert (row["data"]["half"], row["data"]["pair"], row["data"]["escaped"]) == ("a\ufffd", "😀", r"\ud83d")
    assert (row["sanitized"], row["content_hash"]) == (True, content_hash(raw.text))


def test_many_bad_runs_among_changed_ones_are_each_found(store: Store) -> None:
    store.load(DAY, [trace(*(run(number) for number in range(20)))])
    changed = [run(number, name="n", text='"x":NaN' if number % 5 == 0 else None) for number in range(20)]
    assert store.load(DAY, [trace(*changed)]) == LoadResult(updated=16, quarantined=4)
    assert len(rows(store, "run_id")) == 20


def test_quarantine_is_left_by_what_is_loaded_or_gone(store: Store) -> None:
    store.load(DAY, [trace(run(1, text='"x":NaN'), run(2, text='"x":NaN'))])
    other = ProjectDay("other", DAY.day)
    store.load(other, [trace(run(9, T2, text='"x":NaN'))])
    assert len(store.quarantined(DAY)) == 2
    store.load(DAY, [trace(run(1))])
    assert store.quarantined(DAY) == []
    assert len(store.quarantined(other)) == 1


@pytest.mark.parametrize("key", ["id", "trace_id"])
@pytest.mark.parametrize("value", ['"another"', "null", None])
def test_the_checks_refuse_a_value_whose_identity_is_not_the_rows(
    database_url: str, store: Store, key: str, value: str | None
) -> None:
    store.load(DAY, [trace(run(1))])
    change = f"data - '{key}'" if value is None else f"jsonb_set(data, '{{{key}}}', '{value}')"
    with psycopg.connect(database_url) as connection, pytest.raises(errors.CheckViolation):
        connection.execute(f"update runs set data = {change}".encode())


def test_each_month_has_a_partition_made_when_needed(store: Store, database_url: str) -> None:
    for day in (date(2025, 9, 30), date(2025, 10, 1), date(2025, 12, 31), date(2025, 10, 31)):
        store.load(ProjectDay("chat", day), [trace(run(day.month + day.day))])
    found = store.query(
        "select tableoid::regclass::text as part, count(*) from runs group by 1 order by 1", {}
    )
    assert found == [
        {"part": "runs_2025_09", "count": 1},
        {"part": "runs_2025_10", "count": 2},
        {"part": "runs_2025_12", "count": 1},
    ]
    (options,) = store.query("select reloptions from pg_class where relname = 'runs_2025_09'", {})
    assert options == {"reloptions": ["toast_tuple_target=512"]}


def test_payloads_are_never_compressed_with_pglz(store: Store) -> None:
    store.load(DAY, [trace(run(1, inputs={"text": "abc " * 5_000}))])
    assert store.query("select pg_column_compression(data) as how from runs", {})[0]["how"] != "pglz"


def test_two_loads_that_open_a_month_at_once_both_succeed(store: Store) -> None:
    results: list[LoadResult] = []
    days = [ProjectDay(f"p{number}", DAY.day) for number in range(4)]

    def load(number: int) -> None:
        results.append(store.load(days[number], [trace(run(number, UUID(int=number + 1)))]))

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [LoadResult(inserted=1)] * 4


def test_a_run_that_moved_to_another_project_is_found_there(store: Store) -> None:
    store.load(DAY, [trace(run(1))])
    renamed = ProjectDay("renamed", DAY.day)
    assert store.load(renamed, [trace(run(1))]) == LoadResult(updated=1)
    assert [list(store.run_hashes(day)) for day in (DAY, renamed)] == [
        [],
        [(T1, run_id(1), content_hash(run(1).text))],
    ]


def test_hashes_come_in_the_order_of_the_ids(store: Store) -> None:
    runs = [run(3, T2), run(2, T1), run(1, T2)]
    store.load(DAY, [trace(item) for item in runs])
    assert list(store.run_hashes(DAY)) == [
        (T1, run_id(2), content_hash(runs[1].text)),
        (T2, run_id(1), content_hash(runs[2].text)),
        (T2, run_id(3), content_hash(runs[0].text)),
    ]


def test_feedback_is_loaded_and_the_last_reading_counts(store: Store) -> None:
    target = run(1)
    first = feedback(1, target, comment="nul \u0000", value={"a": [1]}, created_at="2025-09-14T00:00:00")
    assert store.load(DAY, [trace(target, feedback=[first])]) == LoadResult(inserted=1, feedback=1)
    assert list(read_entries(store.feedback_entries(DAY))) == [(first.id, content_hash(first.text))]
    (row,) = store.query("select key, score, comment, value, created_at, sanitized from feedback", {})
    assert row == {
        "key": "good",
        "score": 1,
        "comment": "nul \ufffd",
        "value": {"a": [1]},
        "created_at": datetime(2025, 9, 14, tzinfo=UTC),
        "sanitized": True,
    }
    again = feedback(1, target, score=False, comment=None)
    store.load(DAY, [trace(target, feedback=[again])])
    assert store.query("select score, comment from feedback", {}) == [{"score": 0, "comment": None}]


def test_bad_feedback_is_quarantined_and_says_that_it_is_feedback(store: Store) -> None:
    target = run(1)
    bad, poison = feedback(1, target, score="a lot"), feedback(2, target, run_id=str(T2))
    good = feedback(3, target)
    result = store.load(DAY, [trace(target, feedback=[bad, poison, good])])
    assert result == LoadResult(inserted=1, quarantined=2, feedback=1)
    assert sorted(entry.reason for entry in store.quarantined(DAY)) == [
        f"feedback {bad.id}: not a feedback record that can be typed",
        f"feedback {poison.id}: refused by Postgres: 23514 CheckViolation feedback_run_id_is_its_own",
    ]


def test_a_load_that_breaks_off_leaves_nothing(store: Store) -> None:
    def traces() -> Iterable[Trace]:
        yield trace(run(1))
        raise LseError("the archive cannot be read")

    with pytest.raises(LseError, match="the archive cannot be read"):
        store.load(DAY, traces(), batch_runs=1)
    assert rows(store) == []
    assert store.ledger(DAY) is None


def test_a_load_that_is_killed_leaves_nothing_and_holds_up_nobody(store: Store) -> None:
    def traces() -> Iterable[Trace]:
        yield trace(run(1), run(2))
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        store.load(DAY, traces(), batch_runs=1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert (rows(store), store.ledger(DAY)) == ([], None)
    assert store.load(DAY, [trace(run(1), run(2))]) == LoadResult(inserted=2)


def test_the_ledger_keeps_what_each_step_wrote(store: Store) -> None:
    fetched = datetime(2025, 9, 14, 1, tzinfo=UTC)
    store.record(DAY, fetched_at=fetched, complete=True, runs=2, failed_step="pack", failure="disk full")
    store.record(DAY, failed_step=None, failure=None, zip_size=10)
    assert store.ledger(DAY) == LedgerEntry(
        project="chat", run_date=DAY.day, fetched_at=fetched, complete=True, runs=2, zip_size=10
    )
    store.load(DAY, [trace(run(1), run(2, text='"x":NaN'))])
    entry = store.ledger(DAY)
    assert entry is not None
    assert (entry.loaded_runs, entry.quarantined, entry.zip_size, entry.day) == (1, 1, 10, DAY)
    assert entry.loaded_at is not None


def test_the_ledger_is_listed_by_project_and_day(store: Store) -> None:
    for project, number in (("b", 1), ("a", 2), ("a", 1), ("a", 3)):
        store.record(ProjectDay(project, date(2025, 9, number)), runs=number)
    assert [str(entry.day) for entry in store.ledgers()] == [
        "a/2025-09-01",
        "a/2025-09-02",
        "a/2025-09-03",
        "b/2025-09-01",
    ]
    assert [str(entry.day) for entry in store.ledgers("a", date(2025, 9, 2), date(2025, 9, 2))] == [
        "a/2025-09-02"
    ]
    assert [str(entry.day) for entry in store.ledgers(end=date(2025, 9, 1))] == [
        "a/2025-09-01",
        "b/2025-09-01",
    ]
    assert store.projects() == ["a", "b"]


def test_the_ledger_has_no_other_columns(store: Store) -> None:
    with pytest.raises(TypeError, match="no column uploaded"):
        store.record(DAY, uploaded=True)


def test_a_day_is_held_by_one_at_a_time(store: Store) -> None:
    with store.lock(DAY):
        with pytest.raises(BusyError, match="chat/2025-09-13 is being worked on"), store.lock(DAY):
            pass
        with store.lock(ProjectDay("chat", date(2025, 9, 14))):
            store.load(DAY, [trace(run(1))])
    with store.lock(DAY):
        pass


def test_a_lock_lost_on_the_way_is_said(store: Store, database_url: str) -> None:
    cut = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
    with pytest.raises(TemporaryError), store.lock(DAY), psycopg.connect(database_url) as connection:
        connection.execute(cut.encode())


def test_queries_of_reports_cannot_write(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="25006"):
        store.query("delete from runs", {})


def test_missing_tables_are_named_with_what_to_do(empty_database_url: str) -> None:
    store = Store(empty_database_url)
    for ask in (store.check, store.ledgers, lambda: store.load(DAY, [trace(run(1))])):
        with pytest.raises(ConfigurationError) as missing:
            ask()
        assert missing.value.hint == "Run `lse db upgrade`."


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"dbname": "no_such_database"}, ConfigurationError),
        ({"user": "no_such_user", "password": "hunter2"}, ConfigurationError),
        ({"host": "127.0.0.1", "port": 1, "password": "hunter2"}, TemporaryError),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_error_without_the_password(
    database_url: str, changes: dict[str, Any], kind: type[LseError]
) -> None:
    store = Store(conninfo.make_conninfo(database_url, **changes))
    with pytest.raises(kind) as refused:
        store.check()
    assert "hunter2" not in f"{refused.value} {refused.value.hint} {store!r} {refused.value.__cause__}"


def test_an_address_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Store("postgresql://user:hunter2@host:port:5/x?nonsense=1").check()
    assert "hunter2" not in str(refused.value)


def test_errors_of_postgres_quote_no_data(database_url: str) -> None:
    with pytest.raises(LseError) as refused, translated(), psycopg.connect(database_url) as connection:
        connection.execute("select 'secret text'::uuid")
    assert str(refused.value) == "The database refused a statement (22P02 InvalidTextRepresentation)."
    assert refused.value.__suppress_context__


def test_a_wait_without_an_answer_ends(database_url: str) -> None:
    with (
        pytest.raises(TemporaryError, match="was lost"),
        translated(),
        connect(database_url) as connection,
        deadline(connection, 0.2),
    ):
        connection.execute("select pg_sleep(60)")


def test_every_statement_has_a_name_and_a_reason() -> None:
    assert all(body.startswith(b"-- ") for body in QUERIES.values())
    assert parse_queries("-- name: a\n-- why\nselect 1\n\n-- name: b\n-- why\nselect 2\n") == {
        "a": b"-- why\nselect 1",
        "b": b"-- why\nselect 2",
    }
