"""Which days a sweep without dates takes, from what the ledger says."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lse.models import ProjectDay
from lse.pipeline import due_days, rotation
from lse.resources import Resources
from lse.settings import load_settings

TODAY = date(2026, 1, 20)
NOW = datetime(2026, 1, 20, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 19, tzinfo=UTC)
DONE = {
    "fetched_at": datetime(2026, 1, 18, tzinfo=UTC),
    "complete": True,
    "runs": 5,
    "verified_at": LATER,
    "differences": 0,
}


class At(Resources):
    """Resources of one hour after midnight on `TODAY`."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture
def resources(database_url: str, tmp_path: Path) -> At:
    return At(load_settings(database_url=database_url, data_dir=tmp_path / "d", state_dir=tmp_path / "s"))


def record(resources: Resources, day: int, **facts: Any) -> None:
    assert resources.ledger is not None
    resources.ledger.record(ProjectDay("chat", date(2026, 1, day)), **facts)


def reasons(resources: Resources, **options: Any) -> dict[int, str]:
    return {each.day.day.day: each.reason for each in due_days(resources, ["chat"], TODAY, **options)}


def test_of_an_unknown_project_the_days_that_just_settled_or_have_not_are_due(resources: At) -> None:
    assert reasons(resources) == {16: "missing", 17: "recent", 18: "recent", 19: "recent"}


def test_a_day_that_is_proved_done_is_not_due(resources: At) -> None:
    for day in (14, 15, 16):
        record(resources, day, **DONE | {"fetched_at": NOW, "verified_at": NOW})

    assert reasons(resources) == {17: "recent", 18: "recent", 19: "recent"}


def test_after_an_outage_every_day_since_the_last_archived_one_is_due_the_oldest_first(resources: At) -> None:
    record(resources, 10, **DONE)

    assert list(reasons(resources).items())[:6] == [(day, "missing") for day in range(11, 17)]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"complete": False}, "partial"),
        ({"failed_step": "upload", "failure": "no"}, "failed"),
        ({"fetched_at": datetime(2026, 1, 12, tzinfo=UTC)}, "open"),
        ({"differences": 2}, "differs"),
        ({"verified_at": None}, "unproved"),
        ({"verified_at": datetime(2026, 1, 17, tzinfo=UTC)}, "unproved"),
        ({"runs": 0, "verified_at": None}, None),
    ],
)
def test_a_day_is_due_for_what_the_ledger_lacks(
    resources: At, facts: dict[str, Any], reason: str | None
) -> None:
    record(resources, 10, **DONE | facts)

    assert reasons(resources).get(10) == reason


def test_a_step_that_failed_before_anything_was_archived_is_due(resources: At) -> None:
    record(resources, 5, failed_step="fetch", failure="LangSmith cannot be reached.")

    assert reasons(resources)[5] == "failed"


def test_days_that_were_imported_and_never_fetched_are_not_fetched_now(resources: At) -> None:
    record(resources, 10, packed_at=LATER, loaded_at=LATER)

    assert 10 not in reasons(resources)


def test_days_back_limits_how_old_a_gap_may_be(resources: At) -> None:
    record(resources, 2, **DONE | {"complete": False})

    assert min(reasons(resources, days_back=5)) == 15


def test_who_skips_verify_is_not_owed_a_comparison(resources: At) -> None:
    record(resources, 10, **DONE | {"verified_at": None})

    assert 10 not in reasons(resources, compared=False)


def test_as_many_rotations_as_there_are_parts_see_each_archived_day_once(resources: At) -> None:
    for day in range(1, 15):
        record(resources, day, **DONE)
    record(resources, 15, failed_step="fetch", failure="nothing is archived")

    parts = [rotation(resources, None, part, 4) for part in (1, 2, 3, 4)]

    seen = sorted(day for part in parts for day in part)
    assert seen == [ProjectDay("chat", date(2026, 1, 1) + timedelta(days=n)) for n in range(14)]
    assert {len(part) for part in parts} == {3, 4}
