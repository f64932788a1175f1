"""Times as LangSmith reads and writes them: naive text means UTC, JavaScript sends epoch milliseconds."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STAMP = re.compile(r"(\d{8}T\d{6})(\d{6})Z")


def moment(value: object) -> datetime | None:
    """The aware UTC time of `value`: ISO text (naive is UTC) or epoch milliseconds; None for all else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        return EPOCH + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        return None


def stamped(dotted_order: str) -> datetime | None:
    """The time in the last part, `20260105T164601068924Z<uuid>`, of a `dotted_order`; None without one."""
    if found := _STAMP.match(dotted_order.rsplit(".", 1)[-1]):
        seconds = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        return seconds.replace(microsecond=int(found[2]))
    return None


def micros(at: datetime) -> int:
    """Whole microseconds since 1970."""
    return (at - EPOCH) // _MICROSECOND


def naive(at: datetime) -> str:
    """The form of the v1 API: UTC without a zone, always with microseconds."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def zulu(at: datetime) -> str:
    """The form of the v2 API: UTC with `Z`, always with microseconds."""
    return naive(at) + "Z"


def stamp(at: datetime) -> str:
    """The form inside a `dotted_order`."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
