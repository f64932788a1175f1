"""What a load keeps of the rows it replaces, and what follows from the rows: rollups, views, the cursor."""

from datetime import date
from decimal import Decimal
from struct import pack
from typing import Any

import psycopg
import pytest
from test_store import DAY, T1, T2, feedback, rows, run, run_id, trace

from docs._columns import VIEWS
from lse.models import ProjectDay, content_hash
from lse.store import LoadResult, Store

NEXT = ProjectDay("chat", date(2025, 9, 14))
OCTOBER = ProjectDay("chat", date(2025, 10, 1))


def versions(store: Store, columns: str = "run_id") -> list[dict[str, Any]]:
    asked = f"select {columns}, data->>'name' as name from run_versions order by superseded_at, data->>'name'"
    return store.query(asked, {})


def rollups(store: Store, columns: str) -> list[dict[str, Any]]:
    return store.query(f"select {columns} from daily_rollups order by project, run_date, name, status", {})


def test_the_version_that_a_load_replaces_is_kept(store: Store) -> None:
    first, second = run(1, name="first"), run(1, name="second")
    store.load(DAY, [trace(first)])
    assert store.load(DAY, [trace(second)]) == LoadResult(updated=1)
    store.load(DAY, [trace(run(1, name="third"))])
    found = versions(store, "run_date, trace_id, run_id, content_hash, project, status")
    assert [row["name"] for row in found] == ["first", "second"]
    assert found[0] == {
        "run_date": DAY.day,
        "trace_id": T1,
        "run_id": run_id(1),
        "content_hash": content_hash(first.text),
        "project": "chat",
        "status": "success",
        "name": "first",
    }


def test_what_changes_nothing_leaves_no_version(store: Store) -> None:
    finished = run(1)
    for again in (finished, finished, run(1, status="pending", end_time=None)):
        store.load(DAY, [trace(again)])
    store.load(DAY, [trace(finished)], overwrite=True)
    assert versions(store) == []


def test_a_version_that_comes_back_is_no_earlier_version_any_more(store: Store) -> None:
    for name in ("a", "b", "a"):
        store.load(DAY, [trace(run(1, name=name))])
    assert [row["name"] for row in versions(store)] == ["b"]
    assert [row["name"] for row in rows(store, "name")] == ["a"]


def test_versions_inside_one_input_are_kept_as_well(store: Store) -> None:
    twice = [trace(run(1, name="early")), trace(run(1, name="late"))]
    assert store.load(DAY, twice, batch_runs=1) == LoadResult(inserted=1, updated=1)
    assert [row["name"] for row in versions(store)] == ["early"]


@pytest.mark.parametrize("right", [NEXT, OCTOBER])
def test_a_run_whose_trace_belongs_to_another_day_stands_once(store: Store, right: ProjectDay) -> None:
    store.load(DAY, [trace(run(1, name="before"), run(2)), trace(run(3, T2))])
    assert store.load(right, [trace(run(1, name="after"), run(2))]) == LoadResult(inserted=2)
    assert rows(store, "run_date, run_id, name") == [
        {"run_date": right.day, "run_id": run_id(1), "name": "after"},
        {"run_date": right.day, "run_id": run_id(2), "name": "zenrows_scraper"},
        {"run_date": DAY.day, "run_id": run_id(3), "name": "zenrows_scraper"},
    ]
    assert {row["run_date"] for row in versions(store, "run_date")} == {DAY.day}
    assert rollups(store, "run_date, runs") == [
        {"run_date": DAY.day, "runs": 1},
        {"run_date": right.day, "runs": 1},
        {"run_date": right.day, "runs": 1},
    ]


def test_a_finished_run_is_not_moved_by_an_unfinished_one(store: Store) -> None:
    store.load(DAY, [trace(run(1))])
    assert store.load(NEXT, [trace(run(1, status="pending", end_time=None))]) == LoadResult(kept=1)
    assert rows(store, "run_date") == [{"run_date": DAY.day}]


def test_rollups_count_and_add_up_exactly(store: Store) -> None:
    costs = {"total_cost": 0.1, "prompt_tokens": 7, "total_tokens": 10}
    model = {"extra": {"metadata": {"ls_model_name": "gpt-4o"}}, "name": "llm"}
    day = [
        trace(run(2, **model, **costs), run(3, **model, **costs, end_time=None)),
        trace(run(4, T2, **model, **costs)),
        trace(run(5, T2, status="error", name=None)),
    ]
    store.load(DAY, day)
    nothing = dict.fromkeys(("roots", "completion_tokens", "prompt_cost", "completion_cost"), 0)
    common = {"project": "chat", "run_date": DAY.day, "run_type": "tool", **nothing}
    without_name = {"name": "", "status": "error", "model": "", "runs": 1, "traces": 1, "ended": 1}
    took = pack(">q", 1_500_000)
    llm = {"name": "llm", "status": "success", "model": "gpt-4o", "runs": 3, "traces": 2, "ended": 2}
    sums = {"prompt_tokens": 21, "total_tokens": 30, "total_cost": Decimal("0.3"), "latency": 3}
    no_sums = {"prompt_tokens": 0, "total_tokens": 0, "total_cost": 0, "latency": Decimal("1.5")}
    assert rollups(store, "*") == [
        common | without_name | no_sums | {"latencies": took},
        common | llm | sums | {"latencies": 2 * took},
    ]


def test_rollups_follow_changes_and_moves_between_projects(store: Store) -> None:
    other = ProjectDay("other", DAY.day)
    store.load(DAY, [trace(run(1), run(2))])
    store.load(other, [trace(run(1, status="error"))])
    assert rollups(store, "project, status, runs") == [
        {"project": "chat", "status": "success", "runs": 1},
        {"project": "other", "status": "error", "runs": 1},
    ]


def daily_feedback(store: Store) -> list[tuple[Any, ...]]:
    found = store.query("select * from daily_feedback order by project, run_date, key", {})
    return [tuple(row.values()) for row in found]


def test_daily_figures_of_feedback_are_exact_and_follow_changes_and_moves(store: Store) -> None:
    said = [
        feedback(1, run(1), key="stars", score=0.1),
        feedback(2, run(1), key="stars", score=0.2),
        feedback(3, run(1), key="stars", score=None),
        feedback(4, run(1), key=None),
    ]
    store.load(DAY, [trace(run(1), run(2), feedback=tuple(said))])
    counted = [
        ("chat", DAY.day, "", 1, 1, Decimal(1)),
        ("chat", DAY.day, "stars", 3, 2, Decimal("0.3")),
    ]
    assert daily_feedback(store) == counted
    store.load(DAY, [trace(run(1), feedback=(feedback(3, run(1), key="stars", score=-1),))])
    assert daily_feedback(store)[1] == ("chat", DAY.day, "stars", 3, 3, Decimal("-0.7"))
    store.load(ProjectDay("other", DAY.day), [trace(run(1), feedback=(said[3],))])
    assert [row[:4] for row in daily_feedback(store)] == [
        ("chat", DAY.day, "stars", 3),
        ("other", DAY.day, "", 1),
    ]
    store.load(NEXT, [trace(run(1), run(2))])
    assert [row[:4] for row in daily_feedback(store)] == [
        ("chat", NEXT.day, "", 1),
        ("chat", NEXT.day, "stars", 3),
    ]


def test_a_dry_run_tells_what_a_load_would_do_and_writes_nothing(store: Store, database_url: str) -> None:
    store.load(DAY, [trace(run(1), run(2))])
    before, entry = rows(store), store.ledger(DAY)
    day = [
        trace(run(1, name="changed"), run(2), run(3), run(4, text='"x":NaN'), feedback=[feedback(1, run(1))])
    ]
    would = store.load(DAY, day, dry_run=True)
    assert would == LoadResult(inserted=1, updated=1, unchanged=1, quarantined=1, feedback=1)
    assert (rows(store), store.ledger(DAY)) == (before, entry)
    assert (versions(store), store.quarantined(DAY)) == ([], [])
    assert store.load(OCTOBER, [trace(run(9))], dry_run=True) == LoadResult(inserted=1)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regclass('runs_2025_10')").fetchone() == (None,)
    assert store.load(DAY, day) == would


def test_overwriting_writes_unchanged_rows_anew_and_no_unfinished_over_a_finished_one(
    store: Store, database_url: str
) -> None:
    unfinished = run(2, status="pending", end_time=None)
    store.load(DAY, [trace(run(1), run(2))])
    with psycopg.connect(database_url) as connection:
        connection.execute("update runs set name = 'edited by hand'")
    result = store.load(DAY, [trace(run(1), unfinished)], overwrite=True)
    assert result == LoadResult(updated=1, kept=1)
    assert rows(store, "name, status") == [
        {"name": "zenrows_scraper", "status": "success"},
        {"name": "edited by hand", "status": "success"},
    ]


def test_every_write_moves_a_run_to_the_end_of_the_cursor_over_changes(store: Store) -> None:
    asked = "select run_id from runs order by changed_xid, run_id"
    store.load(DAY, [trace(run(1))])
    store.load(DAY, [trace(run(2))])
    store.load(DAY, [trace(run(1), run(2))])
    assert [row["run_id"] for row in store.query(asked, {})] == [run_id(1), run_id(2)]
    store.load(DAY, [trace(run(1, name="changed"))])
    assert [row["run_id"] for row in store.query(asked, {})] == [run_id(2), run_id(1)]


def test_a_late_commit_is_not_missed_by_the_cursor(store: Store, database_url: str) -> None:
    """A row of a transaction that began first shows only later; the cursor waits for it."""
    below = "select run_id from runs where changed_xid < pg_snapshot_xmin(pg_current_snapshot())"
    store.load(DAY, [trace(run(0))])
    with psycopg.connect(database_url) as early:
        early.execute("select pg_current_xact_id()")
        store.load(DAY, [trace(run(1))])
        assert [row["run_id"] for row in store.query(below, {})] == [run_id(0)]
    assert [row["run_id"] for row in store.query(below + " order by run_id", {})] == [run_id(0), run_id(1)]


def test_the_views_have_the_columns_that_the_data_dictionary_names(store: Store) -> None:
    asked = """select table_name, array_agg(column_name::text order by ordinal_position) as columns
               from information_schema.columns where table_name like 'lse\\_%%' group by 1"""
    found = {row["table_name"]: row["columns"] for row in store.query(asked, {})}
    assert found == {name: list(columns) for name, (_, columns) in VIEWS.items()}


def test_a_trace_is_one_row_of_its_view(store: Store) -> None:
    root = run(1, T1, total_tokens=5)
    asroot = type(root)(T1, T1, None, "", True, root.text.replace(str(run_id(1)).encode(), str(T1).encode()))
    store.load(DAY, [trace(asroot, run(2, status="error", total_tokens=3))])
    asked = "select trace_id, name, status, latency, runs, failed_runs, total_tokens from lse_traces"
    assert store.query(asked, {}) == [
        {
            "trace_id": T1,
            "name": "zenrows_scraper",
            "status": "success",
            "latency": 1.5,
            "runs": 2,
            "failed_runs": 1,
            "total_tokens": 5,
        }
    ]
    assert store.query("select project, loaded_runs from lse_days", {}) == [
        {"project": "chat", "loaded_runs": 2}
    ]
