"""Small runs with ids of their own, loaded into a store: what the tests of reading stand on."""

import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from lse.models import ProjectDay, RawFeedback, RawRun, Trace
from lse.store import Store

DAY = ProjectDay("chat", date(2025, 9, 13))


def run_id(number: int) -> UUID:
    """A version 7 id of DAY: 0x01994… milliseconds are in September 2025."""
    return UUID(int=(0x01994145_0000 << 80) | (0x7 << 76) | (0x8 << 60) | 0x1000 + number)


def raw(number: int, trace: UUID, parent: UUID | None = None, **changes: Any) -> RawRun:
    document = {
        "id": str(run_id(number)),
        "trace_id": str(trace),
        "parent_run_id": str(parent) if parent else None,
        "name": f"step {number}",
        "run_type": "chain",
        "status": "success",
        "start_time": f"2025-09-13T10:00:{number:02}",
        "end_time": f"2025-09-13T10:00:{number + 1:02}",
        "dotted_order": "",
        "total_tokens": 7,
        "total_cost": 0.0003,
        "inputs": {"question": "why"},
        **changes,
    }
    return RawRun(run_id(number), trace, parent, "", True, json.dumps(document).encode())


def load(store: Store, *runs: RawRun, day: ProjectDay = DAY, feedback: tuple[RawFeedback, ...] = ()) -> None:
    traces: dict[UUID, list[RawRun]] = {}
    for run in runs:
        traces.setdefault(run.trace_id, []).append(run)
    started = datetime(2025, 9, 13, 10, tzinfo=UTC)
    store.load(day, [Trace(id, started, tuple(members), feedback) for id, members in traces.items()])


def numbers(runs: Any) -> list[int]:
    """Which of the ids of `run_id` the runs have."""
    return [run.run_id.int - run_id(0).int for run in runs]
