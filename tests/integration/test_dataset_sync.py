"""Datasets in LangSmith: a sync converges whatever goes wrong on the way, and a second one writes nothing."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client
from surroundings import bare_environment

from lse.datasets import Example
from lse.datasets._examples import example_id, read_examples
from lse.datasets._hashing import canonical
from lse.errors import AccessError, TemporaryError
from lse.langsmith.http import Patience
from lse.pipeline.evaluating import Plan, upload_dataset
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings

KEY = "sandbox-key"
QUICK = Patience(
    connect=2, read=2, body=4, total=5, unreachable=0.5, longest_wait=0.02, first_wait=0.002, rest=0
)
WRITES = r"(create|update|delete)_(dataset|example)s?"


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with LangSmithServer(api_key=KEY) as running:
        yield running


@pytest.fixture
def resources(server: LangSmithServer, tmp_path: Path) -> Iterator[Resources]:
    settings = load_settings(
        langsmith_endpoint=server.url,
        langsmith_api_key=KEY,
        langsmith_rate_limit=False,
        langsmith_workspace_id="00000000-0000-4000-8000-000000000001",
        archive_dir=tmp_path / "archives",
    )
    with Resources(settings) as opened:
        yield opened


def file(folder: Path, examples: dict[str, Any]) -> Path:
    path = folder / "questions.jsonl"
    path.write_bytes(
        b"".join(
            canonical(
                {"inputs": {"question": key}, "outputs": {"answer": value}, "metadata": {"trace_id": key}}
            )
            + b"\n"
            for key, value in examples.items()
        )
    )
    return path


def many(count: int) -> dict[str, Any]:
    return {f"trace {n}": n for n in range(count)}


def upload(resources: Resources, path: Path, **options: Any) -> Plan:
    return upload_dataset(resources, path, "questions", patience=QUICK, **options)


def counts(plan: Plan) -> tuple[int, int, int, int]:
    return len(plan.add), len(plan.replace), len(plan.remove), plan.unchanged


def held(server: LangSmithServer) -> dict[str, Example]:
    """What the SDK reads back, by key; every example must be there once."""
    client = Client(api_url=server.url, api_key=KEY, auto_batch_tracing=False)
    try:
        found = list(client.list_examples(dataset_name="questions"))
    finally:
        client.close()
    by_key = {one.metadata["trace_id"]: one for one in found if one.metadata}
    assert len(by_key) == len(found)
    assert {one.id for one in found} == {example_id("questions", key) for key in by_key}
    return {
        key: Example(
            one.inputs or {},
            one.outputs or {},
            {k: v for k, v in (one.metadata or {}).items() if k != "dataset_split"},
        )
        for key, one in by_key.items()
    }


def test_the_same_dataset_is_read_back_and_a_second_sync_writes_nothing(
    server: LangSmithServer, resources: Resources, tmp_path: Path
) -> None:
    path = file(tmp_path, many(250))
    assert counts(upload(resources, path)) == (250, 0, 0, 0)
    assert held(server) == read_examples(path)

    server.faults.add(Rule(operation=WRITES, times=None, do={"status": 500}))
    assert counts(upload(resources, path)) == (0, 0, 0, 250)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    server: LangSmithServer, resources: Resources, tmp_path: Path
) -> None:
    plan = upload(resources, file(tmp_path, many(3)), dry_run=True)
    assert (counts(plan), plan.dataset_id) == ((3, 0, 0, 0), None)
    assert server.state.datasets.all() == []


def test_what_differs_is_replaced_and_what_is_gone_is_removed_only_when_asked(
    server: LangSmithServer, resources: Resources, tmp_path: Path
) -> None:
    upload(resources, file(tmp_path, {"a": 1, "b": 2, "c": 3}))
    path = file(tmp_path, {"a": 1, "b": 20, "d": 4})

    plan = upload(resources, path)
    assert (counts(plan), plan.kept_changed, plan.kept_extra) == ((1, 0, 0, 1), 1, 1)
    assert {key: one.outputs["answer"] for key, one in held(server).items()} == {
        "a": 1,
        "b": 2,
        "c": 3,
        "d": 4,
    }

    assert counts(upload(resources, path, overwrite=True, prune=True)) == (0, 1, 1, 2)
    assert held(server) == read_examples(path)
    assert counts(upload(resources, path, overwrite=True, prune=True)) == (0, 0, 0, 3)


def test_a_rolling_window_alone_changes_no_example(resources: Resources, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    for window in ("2025-09-01/2025-09-30", "2025-09-02/2025-10-01"):
        path.write_text(json.dumps({"inputs": {"q": 1}, "metadata": {"trace_id": "t", "window": window}}))
        plan = upload(resources, path, overwrite=True)
    assert counts(plan) == (0, 0, 0, 1)


def test_splits_are_those_of_langsmith(server: LangSmithServer, resources: Resources, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    metadata = {"trace_id": "t", "dataset_split": ["test"]}
    path.write_text(json.dumps({"inputs": {"q": 1}, "outputs": {}, "metadata": metadata}))
    upload(resources, path)
    client = Client(api_url=server.url, api_key=KEY, auto_batch_tracing=False)
    [one] = client.list_examples(dataset_name="questions")
    client.close()
    assert one.metadata == metadata
    assert counts(upload(resources, path)) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 503},
        {"handle_then_status": 502},
        {"handle_then_reset": True},
        {"handle_then_reset": "close"},
        {"reset_before": True},
        {"reset_middle": True},
        {"truncate": 20},
        {"badjson": True},
        {"html": True},
        {"body": "{}"},
    ],
    ids=lambda fault: next(iter(fault)) + str(fault.get("status", "")),
)
@pytest.mark.parametrize("operation", [WRITES, "list_(examples|datasets)"])
def test_faults_and_lost_answers_make_no_duplicate_and_lose_nothing(
    server: LangSmithServer, resources: Resources, tmp_path: Path, fault: dict[str, Any], operation: str
) -> None:
    server.faults.add(Rule(operation=operation, times=4, probability=0.6, do=fault))
    upload(resources, file(tmp_path, many(230)))
    changed = file(tmp_path, {**many(120), "trace 7": "seven"})
    server.faults.add(Rule(operation=operation, times=4, probability=0.6, do=fault))
    upload(resources, changed, overwrite=True, prune=True)
    server.faults.clear()
    assert held(server) == read_examples(changed)
    assert counts(upload(resources, changed)) == (0, 0, 0, 120)


def test_a_batch_that_is_too_large_is_sent_in_halves(
    server: LangSmithServer, resources: Resources, tmp_path: Path
) -> None:
    large = {"match": {"body": "trace 13.*trace 14"}, "do": {"status": 413}}
    server.faults.add(Rule(operation="create_examples", times=None, **large))  # type: ignore[arg-type]
    path = file(tmp_path, many(30))
    upload_dataset(resources, path, "questions", patience=Patience(total=0.05, first_wait=0.001, rest=0))
    assert held(server) == read_examples(path)


def test_a_sync_that_cannot_go_on_is_finished_by_the_next(
    server: LangSmithServer, resources: Resources, tmp_path: Path
) -> None:
    path = file(tmp_path, many(250))
    server.faults.add(Rule(operation="create_examples", skip=1, times=None, do={"status": 503}))
    with pytest.raises(TemporaryError):
        upload_dataset(resources, path, "questions", patience=Patience(total=0.2, first_wait=0.01, rest=0))
    server.faults.clear()
    assert counts(upload(resources, path)) == (150, 0, 0, 100)
    assert held(server) == read_examples(path)


def test_a_refused_key_is_an_error_of_access(resources: Resources, tmp_path: Path) -> None:
    wrong = resources.settings.model_copy(
        update={"langsmith_api_key": type(resources.settings.langsmith_api_key)("no")}
    )
    with Resources(wrong) as opened, pytest.raises(AccessError):
        upload(opened, file(tmp_path, many(1)))


def test_the_workspace_of_the_settings_is_named_in_each_request(
    server: LangSmithServer, resources: Resources, tmp_path: Path
) -> None:
    named = {"header": "(?i)x-tenant-id: 00000000-0000-4000-8000-000000000001"}
    server.faults.add(Rule(operation="create_examples", match=named, do={"status": 403}))
    with pytest.raises(AccessError):
        upload(resources, file(tmp_path, many(1)))


@pytest.mark.parametrize("handled", [True, False])
def test_a_sync_that_was_killed_is_finished_by_the_next(
    server: LangSmithServer, resources: Resources, tmp_path: Path, handled: bool
) -> None:
    path = file(tmp_path, many(250))
    fault: dict[str, Any] = {"delay": 30} if not handled else {"drip": 30}
    server.faults.add(Rule(operation="create_examples", skip=1, do=fault))
    command = [str(Path(sys.executable).with_name("lse")), "eval", "upload", "--dataset", str(path)]
    environment = bare_environment(tmp_path) | {
        "LANGSMITH_ENDPOINT": server.url,
        "LANGSMITH_API_KEY": KEY,
        "LSE_LANGSMITH_RATE_LIMIT": "false",
    }
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    _until(lambda: server.faults.describe()["rules"][0]["fired"] == 1)
    if handled:
        _until(lambda: len(server.state.datasets.all()[0].examples) == 200)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    server.faults.clear()
    upload(resources, path)
    assert held(server) == read_examples(path)


def _until(true: Any) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
