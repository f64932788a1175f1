"""What a server says of when to come back: the header `Retry-After` (RFC 9110, 10.2.3)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lse.models.times import as_utc


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The wait that `Retry-After` asks for, given as seconds or as a date; None when unreadable or absent.

    `headers` are by their names in lower case, or take them in any.
    """
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = as_utc(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
