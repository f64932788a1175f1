"""A day is fetched in whole pages: how many requests that takes, by LangSmith's count of pages."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lse.langsmith.http import _UNEVEN, RateLimit
from lse.langsmith.limits import Rate
from lse.models import ProjectDay
from lse.pipeline import fetch
from lse.resources import Resources
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.sources import _walk
from lse.sources._read_apis import V1, V2

DAY = ProjectDay("chat", date(2026, 1, 5))
TRACES, OF_EACH = 200, 10
RUNS = TRACES * OF_EACH
PAGE = {"v1": 2, "v2": 20}
"""A fiftieth of the real pages, for a fiftieth of 100,000 runs: as many requests as the real day needs."""
BUDGET = {"v1": 1_050, "v2": 110}


@pytest.fixture(params=["v1", "v2"])
def day_of_runs(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Resources, LangSmithServer]]:
    monkeypatch.setattr(_walk, "_WORTH_LANES", RUNS)
    monkeypatch.setattr(type(V1), "page_size", PAGE["v1"])
    monkeypatch.setattr(type(V2), "page_size", PAGE["v2"])
    with LangSmithServer() as server:
        server.load(lines(), DAY.project)
        settings = load_settings(
            langsmith_endpoint=server.url,
            langsmith_api_key="any",
            langsmith_api=request.param,
            langsmith_rate_limit=False,
            data_dir=tmp_path / "data",
            state_dir=tmp_path / "state",
        )
        with Resources(settings) as resources:
            vars(resources).update(ledger=None)
            yield resources, server


def lines() -> Iterator[bytes]:
    """Ten runs a trace, the traces spread over the day."""
    for trace in range(TRACES):
        root = f"{trace:08x}-0000-4000-8000-000000000000"
        began = DAY.start + timedelta(days=1) / TRACES * trace
        for number in range(OF_EACH):
            run = f"{trace:08x}-0000-4000-8000-{number:012x}"
            at = began + timedelta(milliseconds=number)
            order = f"{began:%Y%m%dT%H%M%S%f}Z{root}"
            values = {
                "id": run,
                "trace_id": root,
                "parent_run_id": root if number else None,
                "name": "run",
                "run_type": "chain",
                "status": "success",
                "start_time": at.isoformat(),
                "end_time": at.isoformat(),
                "dotted_order": f"{order}.{at:%Y%m%dT%H%M%S%f}Z{run}" if number else order,
            }
            yield json.dumps(values).encode()


def test_a_hundred_thousand_runs_need_at_most_1050_requests_through_v1_and_110_through_v2(
    day_of_runs: tuple[Resources, LangSmithServer],
) -> None:
    resources, server = day_of_runs
    result = fetch(resources, DAY)
    assert (result.exit_code, result.figures["runs"], result.figures["traces"]) == (0, RUNS, TRACES)
    asked = Counter(entry.operation for entry in server.log)
    api = resources.settings.langsmith_api
    pages = asked["query_runs"] + asked["v2_query_runs"]
    assert RUNS // PAGE[api] <= pages <= BUDGET[api]
    assert sum(asked.values()) - pages <= 6, "one look-up of the project, and counts before and after"


def test_calls_keep_clear_of_the_rate_by_the_time_they_may_differ_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, sent = datetime(2026, 1, 5, tzinfo=UTC).timestamp(), []
    monkeypatch.setattr("lse.langsmith.http.time.monotonic", lambda: now)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("lse.langsmith.http.time.sleep", sleep)
    limit = RateLimit(Rate(10, 10))
    for _ in range(25):
        limit.wait()
        sent.append(now)
    begin = sent[0]
    assert [round(at - begin, 3) for at in sent] == [0] * 10 + [10 + _UNEVEN] * 10 + [20 + 2 * _UNEVEN] * 5
