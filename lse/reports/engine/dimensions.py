"""What runs can be grouped by."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from lse.errors import UsageError
from lse.models.fingerprint import MESSAGE_LENGTH, error_template, fingerprint
from lse.models.run import metadata_value
from lse.reports import DatedRun
from lse.store.filtering import METADATA


def _text(value: str | None) -> str:
    return value or ""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing to group by: the run's value, or several, and how that is called in the report."""

    name: str
    column: str
    """The value in SQL, over `runs`; with `join`, over what that adds to each run"""
    of: Callable[[DatedRun], Iterable[Any]]
    """The values of a run in hand; more than one puts the run into several groups"""
    label: Callable[[Any], str] = _text
    """The value as it stands in the report; values with the same label are one group"""
    join: str = ""
    key: str | None = None
    """The key of the metadata that this is about"""

    @property
    def parameter(self) -> str:
        """The parameter that holds the key: a name that every key can be written in."""
        return f"key_{self.name.encode().hex()}"


def _one(value: Callable[[DatedRun], Any]) -> Callable[[DatedRun], tuple[Any]]:
    return lambda dated: (value(dated),)


_DAY = _one(lambda dated: dated.day)
_ERROR = _one(lambda dated: (dated.run.error or "")[:MESSAGE_LENGTH])
_EACH_TAG = """
    cross join lateral (
        select distinct unnest(case when cardinality(tags) > 0 then tags else array[''] end) as tag
    ) as tagged"""

DIMENSIONS = {
    dimension.name: dimension
    for dimension in (
        Dimension("day", "run_date", _DAY, date.isoformat),
        Dimension("week", "run_date", _DAY, lambda day: (day - timedelta(days=day.weekday())).isoformat()),
        Dimension("month", "run_date", _DAY, lambda day: day.isoformat()[:7]),
        Dimension("project", "project", _one(lambda dated: dated.project)),
        Dimension("name", "coalesce(name, '')", _one(lambda dated: dated.run.name)),
        Dimension("type", "coalesce(run_type, '')", _one(lambda dated: dated.run.run_type)),
        Dimension("status", "coalesce(status, '')", _one(lambda dated: dated.run.status)),
        Dimension("model", "coalesce(model, '')", _one(lambda dated: dated.run.model)),
        Dimension("tag", "tag", lambda dated: set(dated.run.tags) or {""}, join=_EACH_TAG),
        Dimension("error", "coalesce(error, '')", _ERROR, error_template),
        Dimension("fingerprint", "coalesce(error, '')", _ERROR, fingerprint),
        Dimension("key", "key", _one(lambda dated: dated.feedback and dated.feedback.key)),
    )
}
"""By the name on the command line. A week is called after its Monday (ISO 8601), an error after its message
without the values that differ from one time to the next; `key` is that of feedback."""

_OF_TIME = frozenset({"day", "week", "month"})


def find_dimension(name: str) -> Dimension:
    """The dimension called `name`, such as `day` or `metadata.user`. Raises `UsageError` for another."""
    head, _, key = name.partition("metadata.")
    if not head and key:
        dimension = Dimension(name, "", _one(lambda dated: metadata_value(dated.text, key)), key=key)
        value = METADATA.format(key=f"%({dimension.parameter})s::text")
        return replace(dimension, column=f"coalesce({value}, '')")
    if name not in DIMENSIONS:
        raise UsageError(f"There is no grouping by {name!r}.", hint=_hint(name))
    return DIMENSIONS[name]


def _hint(name: str) -> str:
    if name.removesuffix(".") == "metadata":
        return "Say which key of the metadata, such as --by metadata.user."
    similar = difflib.get_close_matches(name, DIMENSIONS, n=1)
    known = f"One or more, with commas, of: {', '.join(DIMENSIONS)}, metadata.KEY."
    return f"Is it {similar[0]}? {known}" if similar else known


def is_of_time(name: str) -> bool:
    """Whether groups of this dimension come in the order of time."""
    return name in _OF_TIME
