"""Old months leave the store: only what is proved to be archived, and what is loaded again comes back."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from lse.archive.assemble import make_trace
from lse.archive.identity import identify_feedback, identify_run
from lse.archive.trace_file import write_trace
from lse.models import ProjectDay
from lse.pipeline import load, pack, report, verify
from lse.pipeline.retaining import first_kept, retain
from lse.reports import Request
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import retention

OLD = ProjectDay("chat", date(2025, 7, 30))
OLD_TOO = ProjectDay("other", date(2025, 7, 31))
RECENT = ProjectDay("chat", datetime.now(UTC).date())


@pytest.fixture
def resources(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resources]:
    monkeypatch.setenv("LSE_DATABASE_URL", database_url)
    with Resources(load_settings(data_dir=tmp_path / "data", archive_dir=tmp_path / "zips")) as opened:
        yield opened


def archive(resources: Resources, day: ProjectDay, number: int = 1, seconds: int = 1) -> None:
    """Write two runs of `day` with one feedback, pack, load, and verify them."""
    write(resources, day, number, seconds=seconds)
    for step in (pack, load, verify):
        assert step(resources, day).exit_code == 0


def write(resources: Resources, day: ProjectDay, number: int, name: str = "step", seconds: int = 1) -> None:
    root, child = UUID(int=number << 64 | day.day.toordinal()), UUID(int=number << 64 | 1 << 40)
    order = f"{day.day:%Y%m%d}T100000000000Z{root}"
    texts = [
        {"id": str(id), "trace_id": str(root), "parent_run_id": parent, "name": name, "status": "success"}
        | {
            "start_time": f"{day.day}T10:00:00",
            "end_time": f"{day.day}T10:00:0{seconds}",
            "dotted_order": place,
        }
        for id, parent, place in (
            (root, None, order),
            (child, str(root), f"{order}.{day.day:%Y%m%d}T100000000001Z{child}"),
        )
    ]
    record = {"id": str(UUID(int=number)), "run_id": str(root), "key": "good", "score": 1}
    folder = resources.folder(day)
    folder.mkdir(parents=True, exist_ok=True)
    trace = make_trace(
        root,
        [identify_run(json.dumps(text).encode()) for text in texts],
        [identify_feedback(json.dumps(record).encode())],
    )
    write_trace(folder, trace)


def tables(resources: Resources) -> set[str]:
    with psycopg.connect(resources.database_url) as connection:
        found = connection.execute("select relname from pg_class where relname ~ '^runs_\\d{4}_\\d{2}$'")
        return {name for (name,) in found}


def count(resources: Resources, table: str) -> int:
    return int(resources.store.query(f"select count(*) as n from {table}", {})[0]["n"])


def states(
    resources: Resources, fate: retention.Fate, *, act: bool = True, keep: int = 2
) -> list[tuple[str, str]]:
    return [(month.month, month.state) for month in retain(resources, keep, fate, act=act)]


def test_only_months_before_those_to_keep_are_meant(resources: Resources) -> None:
    archive(resources, OLD)
    archive(resources, RECENT)
    assert states(resources, "drop", act=False) == [("2025-07", "ready")]
    assert states(resources, "drop", act=False, keep=1_000) == []


def test_the_current_month_is_kept_beside_those_asked_for() -> None:
    assert first_kept(date(2025, 10, 31), 1) == date(2025, 9, 1)
    assert first_kept(date(2025, 3, 1), 4) == date(2024, 11, 1)


def test_a_dry_run_changes_nothing(resources: Resources) -> None:
    archive(resources, OLD)
    (month,) = retain(resources, 2, "drop", act=False)
    assert (month.runs, month.size > 0, month.exit_code) == (2, True, 0)
    assert count(resources, "runs") == 2


def test_a_dropped_month_is_gone_keeps_its_daily_figures_and_can_be_loaded_again(
    resources: Resources,
) -> None:
    archive(resources, OLD, seconds=9)
    archive(resources, OLD_TOO, 2)
    archive(resources, RECENT, 3)
    assert states(resources, "drop") == [("2025-07", "dropped")]
    assert tables(resources) == {f"runs_{RECENT.day:%Y_%m}"}
    assert (count(resources, "runs"), count(resources, "feedback")) == (2, 1)
    assert {row["run_date"] for row in resources.store.query("select run_date from daily_rollups", {})} == {
        OLD.day,
        OLD_TOO.day,
        RECENT.day,
    }
    slowest = str(report(resources, "slowest", Request(OLD.day, RECENT.day, top=2)))
    assert [line.split(",")[:2] for line in slowest.splitlines()[1:]] == [
        ["1.0", f"{RECENT.day}T10:00:00Z"]
    ] * 2
    assert verify(resources, OLD).exit_code == 0  # nothing is missed in the store
    assert states(resources, "drop") == []

    assert load(resources, OLD).figures["inserted"] == 2
    assert verify(resources, OLD).exit_code == 0
    assert (count(resources, "runs"), count(resources, "feedback")) == (4, 2)


def test_a_detached_month_stays_as_a_table_and_is_attached_by_a_later_load(resources: Resources) -> None:
    archive(resources, OLD)
    archive(resources, OLD_TOO, 2)
    assert states(resources, "detach") == [("2025-07", "detached")]
    assert (count(resources, "runs"), count(resources, "runs_2025_07")) == (0, 4)
    assert states(resources, "detach") == []

    assert load(resources, OLD).figures["unchanged"] == 2
    assert count(resources, "runs") == 4
    assert resources.store.quarantined(OLD) == []


def test_a_detached_month_can_be_dropped_later(resources: Resources) -> None:
    archive(resources, OLD)
    retain(resources, 2, "detach", act=True)
    assert states(resources, "drop") == [("2025-07", "dropped")]
    assert tables(resources) == set()
    assert count(resources, "feedback") == 0


def test_a_month_with_a_day_that_was_never_verified_stays(resources: Resources) -> None:
    archive(resources, OLD)
    write(resources, OLD_TOO, 2)
    load(resources, OLD_TOO)
    (month,) = retain(resources, 2, "drop", act=True)
    assert (month.state, month.exit_code) == ("kept", 4)
    assert month.obstacles == (
        "other/2025-07-31: nothing of it is in the archive;"
        " lse archive verify --project other --date 2025-07-31",
    )
    assert count(resources, "runs") == 4


def test_a_day_that_was_loaded_after_it_was_verified_stays(resources: Resources) -> None:
    archive(resources, OLD)
    resources.store.record(OLD, verified_at=datetime(2025, 8, 1, tzinfo=UTC))
    (month,) = retain(resources, 2, "drop", act=True)
    assert "loaded after its copies were last compared" in month.obstacles[0]


def test_rows_that_the_ledger_does_not_know_stay(resources: Resources) -> None:
    archive(resources, OLD)
    with psycopg.connect(resources.database_url) as connection:
        connection.execute("delete from project_days")
    (month,) = retain(resources, 2, "drop", act=True)
    assert "nothing of it is in the archive" in month.obstacles[0]
    assert count(resources, "runs") == 2


@pytest.mark.parametrize("fate", ["detach", "drop"])
def test_a_month_whose_archive_is_gone_by_now_stays(resources: Resources, fate: retention.Fate) -> None:
    archive(resources, OLD)
    shutil.rmtree(resources.settings.archive_dir)
    shutil.rmtree(resources.settings.data_dir)
    assert states(resources, fate, act=False) == [("2025-07", "ready")]
    (month,) = retain(resources, 2, fate, act=True)
    assert month.state == "kept"
    assert count(resources, "runs") == 2


def test_a_month_whose_archive_differs_by_now_stays(resources: Resources) -> None:
    archive(resources, OLD)
    resources.zip_path(OLD).unlink()
    write(resources, OLD, 1, name="changed")
    (month,) = retain(resources, 2, "drop", act=True)
    assert month.state == "kept"
    assert count(resources, "runs") == 2


def test_a_detach_that_broke_off_is_finished(resources: Resources) -> None:
    archive(resources, OLD)
    url = resources.database_url
    with psycopg.connect(url) as reading:
        reading.execute("select count(*) from runs")  # a detach waits for this transaction
        with psycopg.connect(url, autocommit=True) as impatient:
            impatient.execute("set statement_timeout = 500")
            with pytest.raises(psycopg.errors.QueryCanceled):
                impatient.execute("alter table runs detach partition runs_2025_07 concurrently")
    (month,) = retention.months_before(url, date(2025, 8, 1))
    assert month.pending
    retention.take_out(url, month, "drop")
    assert tables(resources) == set()
