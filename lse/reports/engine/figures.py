"""What is counted of runs: figures that can be put together, however the runs were divided before."""

import operator
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from itertools import chain, repeat
from typing import Any

from lse.models import Run
from lse.reports import DatedRun

EXACT = Context(prec=50_000, traps=[Inexact])
"""Sums of numbers as large and as long as Postgres' numeric takes; rounding would raise."""

_FEW = 16
"""Parts with fewer values than this on average are sorted into one, which is faster then (measured)."""

_SORTABLE = 3_000
"""So many values are sorted sooner than their range is halved once more (measured)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what a run gives to it, the same as SQL, and how two of them make one."""

    of: Callable[[DatedRun, bool], Any]
    """What a run gives; the flag says whether it counts as failed"""
    over_runs: str
    """The aggregate over `runs`; `{failed}` stands for the condition of a failed run"""
    over_rollups: str | None = None
    """What a row of `daily_rollups`, or of `daily_feedback`, gives to it; None where these cannot tell"""
    over_ids: str | None = None
    """Over `runs`, for groups of which several will be put together although they share what is counted"""
    plus: Callable[[Any, Any], Any] = operator.iadd


Figures = Mapping[str, Any]
"""Figures by name."""


def nearest_rank(parts: Sequence[Sequence[int]], percent: int) -> int | None:
    """The smallest value that at least `percent` % of all values do not exceed; None without values.

    Each part is sorted. The value lies between the least and the greatest of the parts' own; this range is
    halved, counting in each part, until the few values in it can be sorted: milliseconds for a million.
    """
    filled = [part for part in parts if part]
    if not filled:
        return None
    rank = _rank(sum(map(len, filled)), percent)
    own = [part[_rank(len(part), percent) - 1] for part in filled]
    low, high = min(own), max(own)
    below, upto = sum(map(bisect_left, filled, repeat(low))), sum(map(bisect_right, filled, repeat(high)))
    while low < high and upto - below > _SORTABLE:
        middle = (low + high) // 2
        counted = sum(map(bisect_right, filled, repeat(middle)))
        if counted >= rank:
            high, upto = middle, counted
        else:
            low, below = middle + 1, counted
    if low == high:
        return low
    left = [part[bisect_left(part, low) : bisect_right(part, high)] for part in filled]
    return sorted(chain.from_iterable(left))[rank - below - 1]


def _rank(values: int, percent: int) -> int:
    return -(-values * percent // 100)  # rounded up


def compact(parts: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """The same values in fewer parts, where most parts are small."""
    values = sum(map(len, parts))
    return [sorted(chain.from_iterable(parts))] if values < len(parts) * _FEW else parts


def microseconds(run: Run) -> int | None:
    """How long a run took; None while it has no end."""
    if run.end_time is None:
        return None
    took = run.end_time - run.start_time
    return (took.days * 86_400 + took.seconds) * 1_000_000 + took.microseconds


def unpacked(value: Any) -> Any:
    """A figure of the store as its kind here: packed numbers as sorted parts, a list as a set."""
    if not isinstance(value, bytes):
        return set(value) if isinstance(value, list) else value
    numbers = array("q", value)
    if sys.byteorder == "little":
        numbers.byteswap()
    return [numbers]


def _latency(dated: DatedRun, _: bool) -> list[Sequence[int]]:
    took = microseconds(dated.run)
    return [] if took is None else [(took,)]


def _trace(dated: DatedRun) -> set[Any]:
    return {(dated.project, dated.day, dated.run.trace_id)}


def _sum(column: str, plus: Callable[[Any, Any], Any] = operator.iadd) -> Figure:
    return Figure(
        of=lambda dated, _: getattr(dated.run, column) or 0,
        over_runs=f"coalesce(sum({column}), 0)",
        over_rollups=column,
        plus=plus,
    )


def _add(one: Decimal, other: Decimal) -> Decimal:
    return EXACT.add(one, other)


def _given(dated: DatedRun) -> Decimal | None:
    return dated.feedback.score if dated.feedback else None


def _either(one: Any, other: Any) -> Any:
    """Of two sets both, of two numbers the sum: groups that share no trace are counted, not listed."""
    if not isinstance(one, set):
        return one + other
    one |= other
    return one


_TRACE = "concat_ws('/', run_date, trace_id, project)"
_PENDING = "coalesce(status, '') in ('', 'pending')"

FIGURES: Mapping[str, Figure] = {
    "runs": Figure(lambda *_: 1, "count(*)", "runs"),
    "errors": Figure(
        lambda _, failed: int(failed),
        "count(*) filter (where {failed})",
        "case when {failed} then runs else 0 end",
    ),
    "pending": Figure(
        lambda dated, failed: int(failed and dated.run.status in (None, "pending")),
        f"count(*) filter (where {{failed}} and {_PENDING})",
        f"case when {{failed}} and {_PENDING} then runs else 0 end",
    ),
    "traces": Figure(
        lambda dated, _: _trace(dated),
        "count(distinct trace_id)",
        over_ids=f"array_agg({_TRACE})",
        plus=_either,
    ),
    "failed_traces": Figure(
        lambda dated, failed: _trace(dated) if failed else set(),
        "count(distinct trace_id) filter (where {failed})",
        over_ids=f"array_agg({_TRACE}) filter (where {{failed}})",
        plus=_either,
    ),
    "latencies": Figure(
        _latency,
        "string_agg(int8send((extract(epoch from end_time - start_time) * 1000000)::bigint), ''::bytea"
        " order by end_time - start_time)",
        "latencies",
    ),
    "first_seen": Figure(lambda dated, _: dated.run.start_time, "min(start_time)", plus=min),
    "last_seen": Figure(lambda dated, _: dated.run.start_time, "max(start_time)", plus=max),
    "prompt_tokens": _sum("prompt_tokens"),
    "completion_tokens": _sum("completion_tokens"),
    "total_tokens": _sum("total_tokens"),
    "prompt_cost": _sum("prompt_cost", _add),
    "completion_cost": _sum("completion_cost", _add),
    "total_cost": _sum("total_cost", _add),
    "feedback": Figure(lambda *_: 1, "count(*)", "feedback"),
    "scored": Figure(lambda dated, _: int(_given(dated) is not None), "count(score)", "scored"),
    "score": Figure(
        lambda dated, _: _given(dated) or Decimal(0), "coalesce(sum(score), 0)", "score", plus=_add
    ),
}
TRACES = frozenset({"traces", "failed_traces"})
"""The figures that a table of their own holds: a trace has runs of several names and counts once."""
