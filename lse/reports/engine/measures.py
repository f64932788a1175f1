"""The columns that a grouped report can have: what is worked out of figures."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from lse.formats import Cell
from lse.reports import Request
from lse.reports.engine.figures import EXACT, Figures, compact, nearest_rank


@dataclass(frozen=True, slots=True)
class Measure:
    """A column: the figures it needs, and its value by them."""

    needs: tuple[str, ...]
    value: Callable[[Figures, Request], Cell]


def percent_of(part: int, whole: int) -> float:
    """`part` of `whole` in percent with one decimal, as Python rounds; 0.0 of nothing."""
    return round(part / whole * 100, 1) if whole else 0.0


def plain_time(time: datetime | None) -> str | None:
    """A UTC time in ISO 8601, with `Z`."""
    return time.replace(tzinfo=None).isoformat() + "Z" if time is not None else None


def plain_number(number: Decimal | int) -> Decimal:
    """The same number without zeros behind its last digit; 0 without a sign."""
    return EXACT.normalize(Decimal(number)) if number else Decimal(0)


def _count(name: str) -> Measure:
    return Measure((name,), lambda figures, _: size(figures[name]))


def size(figure: object) -> int:
    """A count, whether it is a number already or the things counted."""
    return len(figure) if isinstance(figure, set) else int(figure or 0)  # type: ignore[call-overload]


def _cost(name: str) -> Measure:
    return Measure((name,), lambda figures, _: plain_number(figures[name] or 0))


def _percentile(percent: int) -> Measure:
    def value(figures: Figures, _: Request) -> float | None:
        took = nearest_rank(compact(figures["latencies"] or []), percent)
        return round(took / 1e6, 3) if took is not None else None

    return Measure(("latencies",), value)


def _error_percent(figures: Figures, _: Request) -> float:
    return percent_of(size(figures["failed_traces"]), size(figures["traces"]))


def _is_new(figures: Figures, request: Request) -> str | None:
    """Whether the first time in the window is at or after `new_since`; None when no day lies before that."""
    since = request.new_since or request.end
    if since <= request.start or figures["first_seen"] is None:
        return None
    return "yes" if figures["first_seen"].date() >= since else "no"


def _average(figures: Figures, _: Request) -> Decimal | None:
    if not figures["scored"]:
        return None
    exact = Decimal(figures["score"]) / figures["scored"]
    return plain_number(exact.quantize(Decimal("0.000001"), ROUND_HALF_EVEN))


def _time(name: str) -> Measure:
    return Measure((name,), lambda figures, _: plain_time(figures[name]))


MEASURES = {
    "runs": _count("runs"),
    "traces": _count("traces"),
    "errors": _count("errors"),
    "failed_traces": _count("failed_traces"),
    "error_percent": Measure(("failed_traces", "traces"), _error_percent),
    "error_rate": Measure(("failed_traces", "traces"), lambda *of: f"{_error_percent(*of)}%"),
    "pending": _count("pending"),
    **{f"p{percent}_seconds": _percentile(percent) for percent in (50, 90, 95, 99)},
    **{name: _count(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
    **{name: _cost(name) for name in ("prompt_cost", "completion_cost", "total_cost")},
    "feedback": _count("feedback"),
    "scored": _count("scored"),
    "average_score": Measure(("score", "scored"), _average),
    "first_seen": _time("first_seen"),
    "last_seen": _time("last_seen"),
    "new": Measure(("first_seen",), _is_new),
}
"""By the name in the report's head. A run is an error when it did not succeed, so a pending one is, too;
`error_percent` is of traces; seconds are nearest-rank percentiles of the runs that have ended, to the
millisecond; costs are US dollars and exact; an average is rounded to six decimals; times are UTC."""
