"""Points in time, which are aware and UTC wherever `lse` keeps them."""

from datetime import UTC, datetime


def as_utc(time: datetime) -> datetime:
    """`time` in UTC; one without a zone is UTC already, as LangSmith's v1 and HTTP's dates mean it.

    Raises `OverflowError` for a time of another zone that lies outside of the calendar in UTC.
    """
    if time.tzinfo is None:
        return datetime.combine(time, time.time(), UTC)  # a sixth of the time that `replace` takes (measured)
    return time if time.tzinfo is UTC else time.astimezone(UTC)
