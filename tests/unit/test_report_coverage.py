"""What a report says of its days: complete, partial or missing, and since when they are verified."""

from datetime import UTC, date, datetime

from lse.reports import Coverage, DayState, coverage_of

D1, D2, D3 = (date(2025, 9, number) for number in (13, 14, 15))
NOON, LATER = datetime(2025, 9, 16, 12, tzinfo=UTC), datetime(2025, 9, 17, 1, tzinfo=UTC)


def test_a_day_of_one_project_is_complete_partial_or_missing() -> None:
    states = [DayState("chat", D1, True, NOON), DayState("chat", D2, False)]
    found = coverage_of([D1, D2, D3], {"chat": D1}, states, "chat")
    assert found == Coverage((D1,), (D2,), (D3,), 1, NOON)
    assert not found.whole
    assert str(found) == (
        "1 of 3 days complete, 1 partial, 1 missing; 1 verified, at 2025-09-16 12:00 or later"
    )
    assert found.document == {
        "days": 3,
        "complete": 1,
        "partial": ["2025-09-14"],
        "missing": ["2025-09-15"],
        "verified": 1,
        "verified_at": "2025-09-16T12:00:00+00:00",
    }


def test_of_several_projects_each_that_had_begun_must_be_complete() -> None:
    states = [
        *(DayState("chat", D1, True, LATER), DayState("chat", D2, True, LATER)),
        *(DayState("chat", D3, True, NOON), DayState("late", D3, True, LATER)),
    ]
    begun = {"chat": D1, "late": D2}
    assert coverage_of([D1, D2, D3], begun, states, None) == Coverage((D1, D3), (D2,), (), 2, NOON)


def test_days_of_which_nothing_is_known_are_missing() -> None:
    found = coverage_of([D1, D2], {}, [], None)
    assert found == Coverage((), (), (D1, D2), 0, None)
    assert str(found) == "0 of 2 days complete, 2 missing; none verified"


def test_a_day_before_its_project_began_is_missing_when_the_project_is_named() -> None:
    states = [DayState("chat", D2, True)]
    assert coverage_of([D1, D2], {"chat": D2}, states, "chat") == Coverage((D2,), (), (D1,), 0, None)
    assert coverage_of([D1, D2], {"chat": D2}, states, "chat").whole is False
