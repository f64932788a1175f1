"""The sample application writes the same traces every time, through the real SDK."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import requests

from lse.sandbox.langsmith import LangSmithServer
from lse.sandbox.sample import SampleSummary, write_sample

END = date(2026, 1, 7)
KEY = "sandbox-key"


def pages(server: LangSmithServer) -> Iterator[bytes]:
    body: dict[str, Any] = {"limit": 100}
    while True:
        answer = requests.post(f"{server.url}/runs/query", json=body, headers={"x-api-key": KEY}, timeout=10)
        yield answer.content
        body["cursor"] = answer.json()["cursors"]["next"]
        if body["cursor"] is None:
            return


def written(seed: int = 7) -> tuple[SampleSummary, list[bytes], bytes]:
    with LangSmithServer(api_key=KEY) as server:
        summary = write_sample(server.url, KEY, seed=seed, end=END)
        feedback = requests.get(f"{server.url}/feedback", headers={"x-api-key": KEY}, timeout=10).content
        return summary, list(pages(server)), feedback


@pytest.fixture(scope="module")
def sample() -> tuple[SampleSummary, list[bytes], bytes]:
    return written()


def test_the_same_seed_writes_the_same_bytes(sample: tuple[SampleSummary, list[bytes], bytes]) -> None:
    began = time.monotonic()
    assert written() == sample
    assert time.monotonic() - began < 15


def test_another_seed_writes_other_runs(sample: tuple[SampleSummary, list[bytes], bytes]) -> None:
    assert written(seed=8)[1] != sample[1]


def test_the_summary_counts_what_the_server_holds(sample: tuple[SampleSummary, list[bytes], bytes]) -> None:
    summary, texts, feedback = sample
    runs = [run for text in texts for run in json.loads(text)["runs"]]
    roots = [run for run in runs if run["parent_run_id"] is None]
    failed = [run for run in runs if run["name"] == "zenrows_scraper" and run["status"] == "error"]
    days = [(day.project, day.day.isoformat()) for day in summary.days]
    assert days == [
        (project, f"2026-01-0{number}")
        for project in ("chat-research", "token-review")
        for number in (5, 6, 7)
    ]
    assert [day.traces for day in summary.days] == [12] * 6
    assert Counter(run["start_time"][:10] for run in roots) == {f"2026-01-0{n}": 24 for n in (5, 6, 7)}
    assert len(runs) == summary.total("runs")
    assert len(failed) == summary.total("zenrows_failures") > 6
    assert len({run["trace_id"] for run in failed}) == summary.total("zenrows_failed_traces")
    assert sum(run["status"] == "error" for run in roots) == summary.total("failed_traces") > 0
    assert [run["name"] for run in runs if run["status"] == "pending"] == ["await_review"]
    assert len(json.loads(feedback)) == summary.total("feedback") > 0


def test_one_trace_runs_past_midnight(sample: tuple[SampleSummary, list[bytes], bytes]) -> None:
    runs = [run for text in sample[1] for run in json.loads(text)["runs"]]
    days: dict[str, set[str]] = {}
    for run in runs:
        days.setdefault(run["trace_id"], set()).add(run["start_time"][:10])
    assert [sorted(found) for found in days.values() if len(found) > 1] == [["2026-01-05", "2026-01-06"]]


def test_runs_look_like_those_of_a_research_agent(sample: tuple[SampleSummary, list[bytes], bytes]) -> None:
    runs = [run for text in sample[1] for run in json.loads(text)["runs"]]
    assert {run["run_type"] for run in runs} == {"chain", "retriever", "tool", "llm"}
    error = next(run["error"] for run in runs if run["name"] == "zenrows_scraper" and run["error"])
    assert error.startswith("HTTPError('4") or error.startswith("HTTPError('5")
    assert " for url: https://" in error
    assert "Traceback" in error
    roots = [run for run in runs if run["parent_run_id"] is None]
    assert all(
        run["total_tokens"] > 0 and run["total_cost"] > 0 for run in roots if run["status"] == "success"
    )
    places = {
        "crypto_symbol": any("crypto_symbol" in run["inputs"] for run in roots),
        "input_data.crypto_symbol": any(
            "crypto_symbol" in run["inputs"].get("input_data", {}) for run in roots
        ),
        "input_data.name": any("name" in run["inputs"].get("input_data", {}) for run in roots),
        "metadata.symbol": any("symbol" in run["extra"]["metadata"] for run in roots),
    }
    assert all(places.values()), places


def test_attachments_can_be_downloaded() -> None:
    with LangSmithServer(api_key=KEY) as server:
        summary = write_sample(server.url, KEY, end=END, days=1, traces_per_day=2, projects=("one",))
        body = {"filter": 'eq(name, "save_page")', "select": ["s3_urls"]}
        headers = {"x-api-key": KEY}
        runs = requests.post(f"{server.url}/runs/query", json=body, headers=headers, timeout=10).json()[
            "runs"
        ]
        files = {name: item for run in runs for name, item in run["s3_urls"].items()}
        picture = requests.get(files["attachment.screenshot"]["presigned_url"], timeout=10)
        assert 2 * len(runs) == summary.total("attachments") > 0
        assert picture.content.startswith(b"\x89PNG")
        assert picture.headers["Content-Type"] == "image/png"


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_PROJECT", "mine")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    before = dict(os.environ)
    with LangSmithServer(api_key=KEY) as server:
        write_sample(server.url, KEY, end=END, days=1, traces_per_day=1, projects=("one",))
        names = requests.get(f"{server.url}/sessions", headers={"x-api-key": KEY}, timeout=10).json()
    assert [project["name"] for project in names] == ["one"]
    assert dict(os.environ) == before
