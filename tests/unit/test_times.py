"""Points in time, days one after the other, and what servers say of when to come back."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from lse.models.day import each_day
from lse.models.retry_after import retry_after_seconds
from lse.models.times import as_utc

NOON = datetime(2025, 9, 13, 12, tzinfo=UTC)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.fixture(autouse=True)
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time zone must not matter."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_time_without_a_zone_is_utc() -> None:
    assert as_utc(NOON.replace(tzinfo=None)) == NOON
    assert as_utc(datetime(2025, 9, 13, 14, tzinfo=timezone(timedelta(hours=2)))).isoformat() == (
        "2025-09-13T12:00:00+00:00"
    )
    with pytest.raises(OverflowError):
        as_utc(datetime.min.replace(tzinfo=timezone(timedelta(hours=2))))


def test_days_are_given_with_both_ends() -> None:
    last, first = date(2024, 3, 1), date(2024, 2, 28)
    assert each_day(first, last) == [first, date(2024, 2, 29), last]
    assert each_day(first, first) == [first]
    assert each_day(last, first) == []
    assert each_day(date.max, date.max) == [date.max]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("9" * 400, float("inf")),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", None),
    ],
)
def test_a_wait_is_seconds_or_a_date_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": text}) == seconds
    assert retry_after_seconds(CaseInsensitiveDict({"Retry-After": text})) == seconds


def test_no_header_asks_for_no_wait() -> None:
    assert retry_after_seconds({}) is None


def test_a_date_without_a_zone_is_utc() -> None:
    """The oldest of HTTP's three forms (RFC 9110, 5.6.7) names none."""
    later = datetime.now(UTC) + timedelta(seconds=90)
    for text in (later.strftime("%a %b %d %H:%M:%S %Y"), later.strftime("%a, %d %b %Y %H:%M:%S -0000")):
        wait = retry_after_seconds({"retry-after": text})
        assert wait is not None
        assert 80 <= wait <= 90


@given(st.integers(5, 10**8), OFFSETS)
def test_a_date_of_any_zone_is_that_many_seconds_away(seconds: int, zone: timezone) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(zone)
    wait = retry_after_seconds({"retry-after": format_datetime(moment)})
    assert wait is not None
    assert seconds - 5 <= wait <= seconds


PARTS = ["Sun,", "06", "Nov", "1994", "08:49:37", "GMT", "-9999", "9" * 20, "0", "-", "(", ",", "a", "24:00"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PARTS), max_size=8).map(" ".join)))
def test_whatever_a_server_says_is_a_wait_or_nothing(text: str) -> None:
    wait = retry_after_seconds({"retry-after": text})
    assert wait is None or wait >= 0
