"""Realistic runs from a seed: the same seed, the same bytes."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from lse.models import RawRun, Trace

_WORDS = (
    "the of and to in is for that with on as are this by from at be or an it which can was will more "
    "price token market network chain contract holder supply volume exchange project team website liquidity "
    "audit wallet "
    "address risk score search result page source summary question answer context model prompt completion"
).split()
_NAMES = ("research", "plan", "retrieve", "ChatOpenAI", "zenrows_scraper", "summarise", "parse")
_TYPES = ("chain", "chain", "retriever", "llm", "tool", "llm", "parser")


def traces(runs: int, day: date, seed: int = 1) -> Iterator[Trace]:
    """Traces of `day` with `runs` runs in all; each run is 2 to 16 kB of JSON, most of it prose."""
    rng = random.Random(seed)
    left = runs
    while left > 0:
        size = min(left, rng.randint(5, 20))
        yield _trace(rng, day, size)
        left -= size


def renewed(trace: Trace, day: date, seed: int) -> Trace:
    """The same trace with ids of its own on `day`, much faster than another one from scratch."""
    rng = random.Random(seed)
    ids = {str(run.id): str(_uuid(rng)) for run in trace.runs}
    times = {f"{trace.started:%Y-%m-%d}": f"{day:%Y-%m-%d}", f"{trace.started:%Y%m%d}T": f"{day:%Y%m%d}T"}

    def put(text: str) -> str:
        for old, fresh in (ids | times).items():
            text = text.replace(old, fresh)
        return text

    runs = [
        RawRun(
            id=UUID(ids[str(run.id)]),
            trace_id=UUID(ids[str(run.trace_id)]),
            parent_id=UUID(ids[str(run.parent_id)]) if run.parent_id else None,
            dotted_order=put(run.dotted_order),
            ended=run.ended,
            text=put(run.text.decode()).encode(),
        )
        for run in trace.runs
    ]
    started = datetime.combine(day, trace.started.timetz())
    return Trace(runs[0].trace_id, started, tuple(runs), ())


def _trace(rng: random.Random, day: date, size: int) -> Trace:
    trace_id = _uuid(rng)
    started = datetime.combine(day, time.min, UTC) + timedelta(seconds=rng.random() * 80_000)
    shared = _prose(rng, rng.randint(500, 4_000))
    parents: list[tuple[UUID, str]] = []
    runs = []
    for index in range(size):
        run_id = trace_id if index == 0 else _uuid(rng)
        start = started + timedelta(milliseconds=150 * index)
        parent = rng.choice(parents) if parents else None
        stamp = f"{start:%Y%m%dT%H%M%S%f}Z{run_id}"
        order = f"{parent[1]}.{stamp}" if parent else stamp
        text = _run_text(rng, run_id, trace_id, parent[0] if parent else None, order, start, shared)
        runs.append(RawRun(run_id, trace_id, parent[0] if parent else None, order, True, text))
        parents.append((run_id, order))
    return Trace(trace_id, started, tuple(sorted(runs, key=lambda run: run.order)), ())


def _run_text(
    rng: random.Random,
    run_id: UUID,
    trace_id: UUID,
    parent: UUID | None,
    order: str,
    start: datetime,
    shared: str,
) -> bytes:
    kind = rng.randrange(len(_NAMES))
    failed = rng.random() < 0.03
    tokens = rng.randint(100, 5_000)
    document: dict[str, Any] = {
        "id": str(run_id),
        "name": _NAMES[kind],
        "run_type": _TYPES[kind],
        "start_time": f"{start:%Y-%m-%dT%H:%M:%S.%f}",
        "end_time": f"{start + timedelta(seconds=rng.random() * 9):%Y-%m-%dT%H:%M:%S.%f}",
        "status": "error" if failed else "success",
        "error": f"TimeoutError('{_prose(rng, 300)}')" if failed else None,
        "extra": {
            "metadata": {"revision": "4f2a", "user": rng.randint(1, 500)},
            "runtime": {"sdk": "langsmith-py"},
        },
        "inputs": {"question": _prose(rng, 80), "context": shared, "input_data": {"crypto_symbol": "BTC"}},
        "outputs": {"answer": _prose(rng, rng.choice((300, 1_500, 4_000, 9_000)))},
        "parent_run_id": str(parent) if parent else None,
        "trace_id": str(trace_id),
        "dotted_order": order,
        "session_id": "8d1f7c0e-53a5-4c56-9d0b-6d2f1b0f5a11",
        "tags": ["production", "seq:step:1"],
        "prompt_tokens": tokens,
        "completion_tokens": tokens // 4,
        "total_tokens": tokens + tokens // 4,
        "total_cost": round(tokens * 0.0000015, 7),
        "feedback_stats": None,
        "app_path": f"/o/3c1e/projects/p/8d1f/r/{run_id}?trace_id={trace_id}",
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _prose(rng: random.Random, length: int) -> str:
    return " ".join(rng.choices(_WORDS, k=length // 6 + 1))


def _uuid(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)
