"""Reports worked out with nothing but `docs/archive-format.md` and arithmetic: no part of lse is imported.

Slow and plain on purpose: it answers what the engine must answer, by another way.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

Run = dict[str, Any]
getcontext().prec = 200


def runs(data: Path, start: date, end: date, project: str | None) -> Iterator[Run]:
    """Every run of the days, with its `day`, its `project` and the feedback on it."""
    for file in sorted(data.glob("*/*/[0-9]*_*.json")):
        name = json.loads((file.parent / "_fetch.json").read_text())["project"]
        day = date.fromisoformat(file.parent.name)
        if not start <= day <= end or project not in (None, name):
            continue
        trace = json.loads(file.read_text(), parse_float=Decimal)
        for run in trace["runs"]:
            said = [record for record in trace["feedback"] if record["run_id"] == run["id"]]
            yield {**run, "day": day, "project": name, "said": said}


def text(run: Run, field: str) -> str:
    value = (run.get(field) or "").replace("\0", "\ufffd")
    return value.lower() if field in ("status", "run_type") else value


def failed(run: Run) -> bool:
    return text(run, "status") != "success"


def metadata(run: Run, key: str) -> str:
    value = ((run.get("extra") or {}).get("metadata") or {}).get(key)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


VALUES: dict[str, Callable[[Run], list[str]]] = {
    "day": lambda run: [str(run["day"])],
    "week": lambda run: [str(run["day"] - timedelta(days=run["day"].isoweekday() - 1))],
    "month": lambda run: [run["day"].strftime("%Y-%m")],
    "project": lambda run: [run["project"]],
    "name": lambda run: [text(run, "name")],
    "type": lambda run: [text(run, "run_type")],
    "status": lambda run: [text(run, "status")],
    "model": lambda run: [metadata(run, "ls_model_name")],
    "metadata.user": lambda run: [metadata(run, "user")],
    "tag": lambda run: sorted(set(run.get("tags") or [""])),
}


def groups(found: list[Run], by: list[str]) -> dict[tuple[str, ...], list[Run]]:
    """The runs by what `by` names; a run with two tags is in two groups."""
    grouped: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in found:
        keys: list[tuple[str, ...]] = [()]
        for name in by:
            keys = [(*key, value) for key in keys for value in VALUES[name](run)]
        for key in keys:
            grouped[key].append(run)
    return grouped


def seconds(run: Run) -> float | None:
    times = [datetime.fromisoformat(run[name]) for name in ("start_time", "end_time") if run.get(name)]
    return (times[1] - times[0]).total_seconds() if len(times) == 2 else None


def percentile(found: list[Run], percent: int) -> str:
    took = sorted(value for run in found if (value := seconds(run)) is not None)
    return str(round(took[math.ceil(len(took) * percent / 100) - 1], 3)) if took else ""


def exact(number: Decimal) -> str:
    """All digits, no zeros behind the last."""
    shown = f"{number:f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown) if number else "0"


def total(found: list[Run], field: str) -> str:
    return exact(sum((Decimal(run[field]) for run in found if run.get(field) is not None), Decimal(0)))


def traces(found: list[Run]) -> int:
    return len({(run["project"], run["day"], run["trace_id"]) for run in found})


def error_percent(found: list[Run], subject: Callable[[Run], bool]) -> str:
    return str(round(traces([r for r in found if failed(r) and subject(r)]) / traces(found) * 100, 1))
