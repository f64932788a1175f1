"""`--dry-run`: what a fetch would take."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lse.cli.output import print_json, print_line, print_table
from lse.models import ProjectDay
from lse.pipeline import PlannedDay, plan
from lse.resources import Resources

_COLUMNS = ("project day", "runs", "traces", "pages", "counts", "feedback", "time", "first expiry (UTC)", "")


def print_plan(resources: Resources, days: Sequence[ProjectDay], *, trust_settled: bool, json: bool) -> None:
    """Print the plan of `days`; with `trust_settled`, settled days cost nothing, as in a sweep."""
    planned = plan(resources, days)
    wanted = [each for each in planned if not (trust_settled and each.settled)]
    if json:
        documents = [_document(each, skipped=each not in wanted) for each in planned]
        print_json({"days": documents, "total": _total(wanted)})
        return
    rows = [_row(each, skipped=each not in wanted) for each in planned]
    print_table(_COLUMNS, [*rows, _total_row(_total(wanted))])
    print_line("Pages, feedback requests and time are the most that it takes when nothing fails.")


def _row(planned: PlannedDay, *, skipped: bool) -> tuple[str, ...]:
    counts, cost = planned.counts, planned.cost
    figures = (counts.runs, counts.traces) if counts else (None, None)
    requests = (cost.pages, cost.counts, cost.feedback, cost.seconds) if cost and not skipped else (None,) * 4
    note = "settled, skipped" if skipped else "settled" if planned.settled else ""
    cells = (*map(_figure, (*figures, *requests[:3])), _time(requests[3]))
    return (str(planned.day), *cells, _moment(planned.expires_at), note)


def _total(planned: Sequence[PlannedDay]) -> dict[str, Any]:
    counted = [each.counts for each in planned if each.counts]
    costs = [each.cost for each in planned if each.cost]
    return {
        "days": len(planned),
        "runs": sum(counts.runs for counts in counted),
        "traces": sum(counts.traces for counts in counted),
        "pages": sum(cost.pages for cost in costs),
        "counts": sum(cost.counts for cost in costs),
        "feedback": sum(cost.feedback for cost in costs),
        "seconds": round(sum(cost.seconds for cost in costs), 1),
        "first_expiry": min((each.expires_at for each in planned if each.expires_at), default=None),
    }


def _total_row(total: dict[str, Any]) -> tuple[str, ...]:
    figures = (total[name] for name in ("runs", "traces", "pages", "counts", "feedback"))
    label = f"{total['days']} to fetch"
    return (label, *map(_figure, figures), _time(total["seconds"]), _moment(total["first_expiry"]), "")


def _document(planned: PlannedDay, *, skipped: bool) -> dict[str, Any]:
    counts, cost = planned.counts, planned.cost
    return {
        "project": planned.day.project,
        "date": planned.day.day.isoformat(),
        "runs": counts.runs if counts else None,
        "traces": counts.traces if counts else None,
        "pages": cost.pages if cost else None,
        "counts": cost.counts if cost else None,
        "feedback": cost.feedback if cost else None,
        "seconds": round(cost.seconds, 1) if cost else None,
        "settled": planned.settled,
        "skipped": skipped,
        "first_expiry": planned.expires_at,
    }


def _figure(number: int | float | None) -> str:
    return "-" if number is None else f"{number:,}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    )


def _moment(time: datetime | None) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if time else "-"
