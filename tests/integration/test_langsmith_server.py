"""The local LangSmith, asked by the real SDK and by plain requests."""

import gzip
import json
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from langsmith import Client, utils
from langsmith.schemas import Attachment
from langsmith.utils import LangSmithError

from lse.archive import jsontext
from lse.errors import UsageError
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer, LoadCounts

KEY = "sandbox-key"
HEADERS = {"x-api-key": KEY}
DAY = datetime(2026, 1, 5, tzinfo=UTC)
GENUINE = os.environ.get("LSE_GENUINE_DATA")
"""Read here, because no test sees the developer's environment."""
ODD = (
    b'{"big": 123456789012345678901234567890, "minus": -0, "small": 1e-320, "wide": 1e400, '
    b'"nul": "a\\u0000b", "half": "\\ud800", "twice": 1, "twice": 2, "z": 1, "a": {"b": [ 1,2 , 3]}}'
)


@pytest.fixture(autouse=True)
def quiet_sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("LANGSMITH_", "LANGCHAIN_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "none.json"))
    utils.get_env_var.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
    utils.get_env_var.cache_clear()


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with LangSmithServer(api_key=KEY, now=lambda: DAY + timedelta(days=1)) as running:
        yield running


def sdk(server: LangSmithServer, prefix: str = "", **more: Any) -> Client:
    return Client(api_url=server.url + prefix, api_key=KEY, **more)


def post(server: LangSmithServer, path: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(server.url + path, json=body, headers=HEADERS, timeout=10)


def get(server: LangSmithServer, path: str) -> requests.Response:
    return requests.get(server.url + path, headers=HEADERS, timeout=10)


def an_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def stamp(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S%fZ")


def line(number: int, *, trace: int | None = None, at: datetime | None = None, **more: Any) -> bytes:
    """One run of `trace`, whose root has the number of the trace and starts with the day."""
    trace = number if trace is None else trace
    at = at or DAY + timedelta(seconds=number)
    order = f"{stamp(DAY + timedelta(seconds=trace))}{an_id(trace)}"
    run = {
        "id": an_id(number),
        "trace_id": an_id(trace),
        "name": f"run {number}",
        "run_type": "chain",
        "start_time": at.isoformat(),
        "end_time": (at + timedelta(seconds=1)).isoformat(),
        "dotted_order": order if number == trace else f"{order}.{stamp(at)}{an_id(number)}",
    }
    return json.dumps(run | more).encode()


def walk(server: LangSmithServer, **body: Any) -> list[list[str]]:
    """The ids of every v1 page."""
    pages = []
    while True:
        answer = post(server, "/runs/query", body).json()
        pages.append([run["id"] for run in answer["runs"]])
        body["cursor"] = answer["cursors"]["next"]
        if body["cursor"] is None:
            return pages


def project_id(server: LangSmithServer, name: str) -> str:
    found: str = get(server, f"/sessions?name={name}").json()[0]["id"]
    return found


# --- reading with v1


def test_a_page_above_the_cap_is_the_documented_error(server: LangSmithServer) -> None:
    answer = post(server, "/api/v1/runs/query", {"limit": 101})
    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": "Limit exceeds maximum allowed value of 100"},
    )


def test_pages_walk_every_run_once_in_either_order(server: LangSmithServer) -> None:
    server.load([line(n, trace=1 + n % 3, at=DAY + timedelta(seconds=n // 7)) for n in range(1, 251)], "chat")
    newest = walk(server, limit=100)
    oldest = walk(server, limit=50, order="asc")
    assert [len(page) for page in newest] == [100, 100, 50]
    assert [len(page) for page in oldest] == [50, 50, 50, 50, 50, 0]
    assert [run for page in newest for run in page] == [run for page in oldest for run in page][::-1]
    assert sorted(run for page in newest for run in page) == [an_id(n) for n in range(1, 251)]


def test_runs_that_arrive_during_a_walk_move_no_page(server: LangSmithServer) -> None:
    server.load([line(n) for n in range(10, 20)], "chat")
    first = post(server, "/runs/query", {"limit": 5}).json()
    server.load([line(n) for n in (5, 30, 31)], "chat")
    second = post(server, "/runs/query", {"limit": 5, "cursor": first["cursors"]["next"]}).json()
    assert [run["id"] for run in second["runs"]] == [an_id(n) for n in (14, 13, 12, 11, 10)]


def test_select_gives_the_selected_members_and_the_eight_that_are_always_there(
    server: LangSmithServer,
) -> None:
    server.load([line(1, inputs={"q": 1}, future_field=7)], "chat")
    chosen = post(server, "/runs/query", {"select": ["inputs"]}).json()["runs"][0]
    default = post(server, "/runs/query", {}).json()["runs"][0]
    always = {"id", "name", "run_type", "status", "trace_id", "dotted_order", "session_id", "app_path"}
    assert chosen.keys() == always | {"inputs"}
    assert len(default) == 46
    assert default["future_field"] == 7
    assert not default.keys() & {"s3_urls", "inputs_s3_urls", "child_run_ids", "messages", "inserted_at"}
    assert post(server, "/runs/query", {"select": ["colour"]}).status_code == 422


def test_a_single_run_has_the_whole_schema(server: LangSmithServer) -> None:
    server.load([line(1)], "chat")
    run = get(server, f"/runs/{an_id(1)}").json()
    assert len(run) == 55
    assert run["trace_first_received_at"] == "2026-01-05T00:00:01.000000"
    assert (run["trace_tier"], run["ttl_seconds"], run["parent_run_ids"]) == ("shortlived", 1209600, [])
    missing = get(server, f"/runs/{an_id(2)}")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Run not found"})


def test_a_window_of_roots_gives_whole_traces_of_the_day(server: LangSmithServer) -> None:
    late = DAY + timedelta(days=1, seconds=5)
    server.load([line(1), line(2, trace=1, at=late), line(90_000), line(86_399)], "chat")
    found = walk(
        server,
        session=[project_id(server, "chat")],
        start_time=(DAY - timedelta(seconds=60)).isoformat(),
        trace_filter='and(gte(start_time, "2026-01-05T00:00:00Z"), lt(start_time, "2026-01-06T00:00:00Z"))',
        order="asc",
        session_id="a key that the server does not know",
    )
    assert found == [[an_id(1), an_id(86_399), an_id(2)]]


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ({"is_root": True}, [4, 1]),
        ({"trace": an_id(1)}, [3, 2, 1]),
        ({"parent_run": an_id(1)}, [3, 2]),
        ({"run_type": "tool"}, [3]),
        ({"error": True}, [3]),
        ({"id": [an_id(2)], "is_root": True}, [2]),
        ({"start_time": "2026-01-05T00:00:02+00:00", "end_time": "2026-01-05T00:00:03+00:00"}, [3, 2]),
        ({"filter": 'eq(name, "run 4")'}, [4]),
        ({"tree_filter": 'eq(run_type, "tool")'}, [3, 2, 1]),
        ({"query": "lost words"}, [2]),
    ],
)
def test_a_query_finds(server: LangSmithServer, body: dict[str, Any], numbers: list[int]) -> None:
    failed = line(3, trace=1, run_type="tool", error="HTTPError('403')")
    server.load([line(1), line(2, trace=1, inputs={"q": "Lost words"}), failed, line(4)], "chat")
    assert walk(server, **body) == [[an_id(number) for number in numbers]]
    assert post(server, "/runs/stats", body).json()["run_count"] == len(numbers)


def test_a_filter_that_cannot_be_read_is_a_400_and_not_valid(server: LangSmithServer) -> None:
    answer = post(server, "/runs/query", {"filter": 'resembles(name, "x")'})
    assert answer.status_code == 400
    assert "unknown operator resembles" in answer.json()["detail"]
    verdict = post(server, "/runs/query/validate", {"filter": 'resembles(name, "x")'}).json()
    assert verdict["valid"] is False
    assert post(server, "/runs/query/validate", {"filter": 'eq(name, "x")'}).json() == {
        "valid": True,
        "errors": [],
    }


def test_tokens_and_costs_of_model_calls_add_up_in_their_parents(server: LangSmithServer) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "total_cost": 0.0000072}
    calls = [
        line(n, trace=1, run_type="llm", outputs={"content": "", "usage_metadata": usage}) for n in (2, 3)
    ]
    server.load([line(1), *calls], "chat")
    raw = get(server, f"/runs/{an_id(1)}").content
    assert b'"prompt_tokens":20,"completion_tokens":10,"total_tokens":30' in raw
    assert b'"total_cost":0.0000144' in raw
    stats = post(server, "/runs/stats", {}).json()
    assert (stats["total_tokens"], stats["total_cost"]) == (30, 0.0000144)


def test_odd_values_come_back_byte_for_byte_from_both_apis(server: LangSmithServer) -> None:
    outputs = b"[" * 3000 + b"]" * 3000
    raw = line(1)[:-1] + b', "inputs": ' + ODD + b', "outputs": ' + outputs + b"}"
    server.load([raw], "chat")
    whole = dict(jsontext.members(get(server, f"/runs/{an_id(1)}").content))
    runs = dict(jsontext.members(post(server, "/runs/query", {}).content))["runs"]
    listed = dict(jsontext.members(jsontext.elements(runs)[0]))
    modern = get(
        server,
        f"/api/v2/runs/{an_id(1)}?project_id={project_id(server, 'chat')}&selects=INPUTS&selects=OUTPUTS",
    )
    for members in (whole, listed, dict(jsontext.members(modern.content))):
        assert (members["inputs"], members["outputs"]) == (ODD, outputs)


# --- reading with v2


def test_v2_shows_only_ids_of_the_last_day_unless_asked(server: LangSmithServer) -> None:
    server.load([line(1, at=DAY - timedelta(hours=1)), line(2, at=DAY + timedelta(hours=1))], "chat")
    project = project_id(server, "chat")
    recent = post(server, "/api/v2/runs/query", {"project_ids": [project]}).json()
    earlier = post(
        server,
        "/v2/runs/query",
        {
            "project_ids": [project],
            "min_start_time": "2026-01-04T00:00:00Z",
            "max_start_time": "2026-01-05T00:00:00Z",
            "selects": ["ID", "STATUS", "RUN_TYPE", "START_TIME", "PARENT_RUN_IDS", "LATENCY_SECONDS"],
        },
    ).json()
    assert recent == {"items": [{"id": an_id(2)}], "next_cursor": None}
    assert earlier["items"] == [
        {
            "id": an_id(1),
            "status": "SUCCESS",
            "run_type": "CHAIN",
            "start_time": "2026-01-04T23:00:00.000000Z",
            "parent_run_ids": [],
            "latency_seconds": 1.0,
        }
    ]


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"page_size": 1001}, "page_size must be between 1 and 1000"),
        ({"min_start_time": "2024-01-01T00:00:00Z"}, "time range must not exceed 401 days"),
        ({"selects": ["COLOUR"]}, "selects: 'COLOUR' is not a field of a run"),
        ({"cursor": "nonsense"}, "Invalid cursor"),
        ({"project_ids": []}, "Exactly one of project_ids and reference_dataset_id is required"),
    ],
)
def test_v2_refuses_with_problem_details(server: LangSmithServer, more: dict[str, Any], detail: str) -> None:
    answer = post(server, "/api/v2/runs/query", {"project_ids": [an_id(9)]} | more)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": detail}


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_the_sdk_reads_the_same_runs_through_both_apis(server: LangSmithServer, prefix: str) -> None:
    server.load([line(1), *(line(n, trace=1) for n in range(2, 41)), line(41)], "chat")
    client = sdk(server, prefix, auto_batch_tracing=False)
    try:
        old = [str(run.id) for run in client.list_runs(project_name="chat")]
        root = client.read_run(an_id(1), load_child_runs=True)
        project = str(client.read_project(project_name="chat").id)
        api = client._get_langsmith_api_sync()
        found = api.runs.query(project_ids=[project], selects=["ID", "NAME"], page_size=10)
        assert [run.id for run in found] == old
        assert len(root.child_runs or []) == 39
        assert api.runs.retrieve(an_id(1), project_id=project, selects=["NAME"]).name == "run 1"
        assert len(api.traces.list_runs(an_id(1), project_id=project).items or []) == 40
        traces = list(api.traces.query(project_id=project, selects=["NAME", "TOTAL_TOKENS"]))
        assert [trace.root_run and trace.root_run.name for trace in traces] == ["run 41", "run 1"]
        assert client.get_run_stats(project_ids=[project])["run_count"] == 41
    finally:
        client.close()


# --- writing


@pytest.mark.parametrize("flags", [{}, {"zstd_compression_enabled": False}])
def test_the_sdk_writes_runs_with_attachments_and_feedback(flags: dict[str, bool]) -> None:
    with LangSmithServer(api_key=KEY, flags=flags) as server:
        client = sdk(server)
        try:
            client.create_run(
                "question",
                {"q": "Größe?"},
                "chain",
                id=an_id(1),
                trace_id=an_id(1),
                dotted_order=f"{stamp(DAY)}{an_id(1)}",
                start_time=DAY,
                project_name="written",
                attachments={"page": Attachment("text/plain", b"\r\n--hello\x00")},
            )
            client.flush()
            assert client.read_run(an_id(1)).status == "pending"
            client.update_run(
                an_id(1),
                trace_id=an_id(1),
                dotted_order=f"{stamp(DAY)}{an_id(1)}",
                end_time=DAY + timedelta(seconds=2),
                outputs={"a": 1},
            )
            client.flush()
            session = client.read_project(project_name="written").id
            client.create_feedback(
                trace_id=an_id(1), key="user_score", score=0.5, comment="fine", session_id=session
            )
            client.flush()
            run = client.read_run(an_id(1))
            notes = list(client.list_feedback(run_ids=[an_id(1)]))
        finally:
            client.close()
        assert (run.status, run.outputs, run.end_time) == (
            "success",
            {"a": 1},
            DAY + timedelta(seconds=2),
        )
        assert run.attachments["page"]["reader"].read() == b"\r\n--hello\x00"
        assert [(note.key, note.score, note.comment) for note in notes] == [("user_score", 0.5, "fine")]
        assert (run.feedback_stats or {})["user_score"]["avg"] == 0.5
        assert get(server, f"/runs/{an_id(1)}").json()["trace_tier"] == "longlived"


def test_a_patch_may_come_before_its_post_and_times_may_be_milliseconds(server: LangSmithServer) -> None:
    order = f"{stamp(DAY)}{an_id(1)}"
    patch = {"end_time": 1767571202500, "outputs": {"a": 1}, "dotted_order": order, "trace_id": an_id(1)}
    start = {"id": an_id(1), "name": "x", "run_type": "llm", "start_time": 1767571200000, "inputs": {}}
    assert post(server, "/runs/batch", {"patch": [patch]}).status_code == 202
    assert get(server, f"/runs/{an_id(1)}").status_code == 404
    body = gzip.compress(json.dumps({"post": [start | {"dotted_order": order}]}).encode())
    answer = requests.post(
        f"{server.url}/runs/batch", data=body, headers=HEADERS | {"Content-Encoding": "gzip"}, timeout=10
    )
    assert answer.status_code == 202
    run = get(server, f"/runs/{an_id(1)}").json()
    assert (run["start_time"], run["end_time"]) == (
        "2026-01-05T00:00:00.000000",
        "2026-01-05T00:00:02.500000",
    )
    assert (run["status"], run["outputs"], run["trace_id"]) == ("success", {"a": 1}, an_id(1))
    assert get(server, "/sessions").json()[0]["name"] == "default"


def test_single_posts_and_patches_work_and_a_second_post_changes_nothing(server: LangSmithServer) -> None:
    first = {"id": an_id(1), "name": "a", "run_type": "tool", "start_time": "2026-01-05T00:00:00+00:00"}
    assert post(server, "/runs", first | {"session_name": "one"}).status_code == 202
    assert post(server, "/runs", first | {"name": "b", "session_name": "two"}).status_code == 202
    answer = requests.patch(
        f"{server.url}/api/v1/runs/{an_id(1)}", json={"error": "boom"}, headers=HEADERS, timeout=10
    )
    assert answer.status_code == 202
    run = get(server, f"/runs/{an_id(1)}").json()
    assert (run["name"], run["status"], run["error"]) == ("a", "error", "boom")
    assert run["session_id"] == project_id(server, "one")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 422),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n", 422),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="post.1"\r\n\r\n{"id"\r\n--x--\r\n',
            422,
        ),
    ],
)
def test_a_damaged_upload_is_refused(server: LangSmithServer, kind: str, body: bytes, status: int) -> None:
    headers = HEADERS | {"Content-Type": kind}
    answer = requests.post(f"{server.url}/runs/multipart", data=body, headers=headers, timeout=10)
    assert answer.status_code == status
    headers |= {"Content-Encoding": "zstd"}
    assert requests.post(
        f"{server.url}/runs/multipart", data=body, headers=headers, timeout=10
    ).status_code in (
        400,
        415,
    )


# --- projects, feedback, files, datasets


def test_projects_are_listed_created_and_changed(server: LangSmithServer) -> None:
    client = sdk(server, auto_batch_tracing=False)
    try:
        made = client.create_project("plans", description="first")
        client.update_project(made.id, description="second")
        found = client.read_project(project_name="plans")
        assert (found.id, found.description, found.reference_dataset_id) == (made.id, "second", None)
        assert [project.name for project in client.list_projects()] == ["plans"]
        with pytest.raises(LangSmithError):
            client.create_project("plans")
        assert client.create_project("plans", upsert=True).id == made.id
        assert get(server, "/sessions?limit=101").status_code == 422
        assert get(server, "/api/v2/sessions?page_size=1").json()["items"][0]["type"] == "PROJECT"
        client.delete_project(project_name="plans")
        assert get(server, "/sessions").json() == []
    finally:
        client.close()


def test_feedback_is_paged_filtered_changed_and_deleted(server: LangSmithServer) -> None:
    server.load([line(1), line(2)], "chat")
    for number in range(5):
        run, created = an_id(1 + number % 2), (DAY + timedelta(minutes=number)).isoformat()
        body = {"id": an_id(100 + number), "run_id": run, "key": f"k{number % 2}", "score": number}
        assert post(server, "/feedback", body | {"created_at": created}).status_code == 200

    def ids(query: str) -> list[str]:
        return [item["id"] for item in get(server, f"/feedback?{query}").json()]

    assert ids("limit=2&offset=1") == [an_id(103), an_id(102)]
    assert ids(f"run={an_id(1)}") == [an_id(104), an_id(102), an_id(100)]
    assert ids(f"run={an_id(1)}&run={an_id(2)}&key=k1") == [an_id(103), an_id(101)]
    assert ids("min_created_at=2026-01-05T00:01:00&max_created_at=2026-01-05T00:02:00Z") == [
        an_id(102),
        an_id(101),
    ]
    assert len(ids(f"session={project_id(server, 'chat')}")) == 5
    assert ids(f"session={an_id(7)}") == []
    client = sdk(server, auto_batch_tracing=False)
    try:
        client.update_feedback(an_id(100), score=0.5, comment="better")
        assert client.read_feedback(an_id(100)).comment == "better"
        client.delete_feedback(an_id(101))
    finally:
        client.close()
    assert len(ids("")) == 4
    stats = get(server, f"/runs/{an_id(1)}").json()["feedback_stats"]
    assert stats["k0"]["n"] == 3
    assert stats["k0"]["avg"] == pytest.approx(6.5 / 3)


def test_long_payloads_are_served_by_an_address_that_expires() -> None:
    now = [DAY]
    with LangSmithServer(api_key=KEY, offload_bytes=1000, url_seconds=60, now=lambda: now[0]) as server:
        server.load([line(1, inputs={"q": "x" * 2000}, outputs={"a": 1})], "chat")
        run = get(server, f"/runs/{an_id(1)}").json()
        address = run["inputs_s3_urls"]["ROOT"]["presigned_url"]
        assert (run["inputs"], run["outputs"], run["outputs_s3_urls"]) == (None, {"a": 1}, None)
        assert requests.get(address, timeout=10).json() == {"q": "x" * 2000}
        assert requests.get(address[:-1] + "_", timeout=10).status_code == 403
        now[0] += timedelta(seconds=60)
        assert requests.get(address, timeout=10).status_code == 403


def test_addresses_can_be_relative() -> None:
    with LangSmithServer(offload_bytes=5, absolute_urls=False) as server:
        server.load([line(1, inputs={"question": 1})], "chat")
        address = get(server, f"/runs/{an_id(1)}").json()["inputs_s3_urls"]["ROOT"]["presigned_url"]
        assert urlsplit(address).netloc == ""
        assert get(server, address).json() == {"question": 1}


@pytest.mark.parametrize("flags", [{}, {"dataset_examples_multipart_enabled": False}])
def test_the_sdk_keeps_datasets_and_examples(flags: dict[str, bool]) -> None:
    with LangSmithServer(api_key=KEY, flags=flags) as server:
        client = sdk(server, auto_batch_tracing=False)
        try:
            dataset = client.create_dataset("questions", description="d")
            client.create_examples(
                dataset_id=dataset.id,
                examples=[
                    {"id": an_id(n), "inputs": {"n": n}, "outputs": {"m": n}, "split": "test"} for n in (1, 2)
                ],
            )
            found = list(client.list_examples(dataset_name="questions"))
            assert [(str(item.id), item.inputs, item.outputs) for item in found] == [
                (an_id(1), {"n": 1}, {"m": 1}),
                (an_id(2), {"n": 2}, {"m": 2}),
            ]
            assert found[0].metadata == {"dataset_split": ["test"]}
            with pytest.raises(LangSmithError):
                client.create_dataset("questions")
            client.delete_example(an_id(1))
            assert client.read_dataset(dataset_name="questions").example_count == 1
        finally:
            client.close()


# --- keys, limits, retention, faults


def test_a_wrong_key_reads_and_writes_nothing(server: LangSmithServer) -> None:
    wrong = {"x-api-key": "other"}
    read = requests.post(f"{server.url}/runs/query", json={}, headers=wrong, timeout=10)
    write = requests.post(f"{server.url}/runs", json={}, headers=wrong, timeout=10)
    modern = requests.get(f"{server.url}/api/v2/sessions", timeout=10)
    assert (read.status_code, read.json()) == (401, {"detail": "Invalid token"})
    assert (write.status_code, modern.status_code) == (403, 401)
    assert requests.get(f"{server.url}/info", timeout=10).status_code == 200


def test_rate_limits_depend_on_the_window_and_say_when_to_come_back() -> None:
    with LangSmithServer(rate_limits=True, now=lambda: DAY + timedelta(days=1)) as server:
        short = [post(server, "/runs/query", {"start_time": DAY.isoformat()}) for _ in range(11)]
        long = [post(server, "/runs/query", {}) for _ in range(4)]
        modern = [post(server, "/api/v2/runs/query", {"project_ids": ["x"]}) for _ in range(11)]
    assert [answer.status_code for answer in short] == [200] * 10 + [429]
    assert [answer.status_code for answer in long] == [200] * 3 + [429]
    assert {answer.status_code for answer in modern} == {200}
    assert 1 <= int(short[-1].headers["Retry-After"]) <= 10


def test_old_traces_vanish_whole_and_feedback_keeps_them() -> None:
    now = [DAY]
    with LangSmithServer(ttl=timedelta(days=14), now=lambda: now[0]) as server:
        server.load([line(1), line(2, trace=1), line(3)], "chat")
        post(server, "/feedback", {"run_id": an_id(3), "key": "k", "score": 1})
        now[0] = DAY + timedelta(days=14, seconds=2)
        assert walk(server) == [[an_id(3)]]
        now[0] = DAY + timedelta(days=401)
        assert walk(server) == [[]]
        assert get(server, "/feedback").json() == []


def test_faults_of_paging_can_be_switched_on(server: LangSmithServer) -> None:
    server.load([line(n) for n in range(1, 31)], "chat")
    first = post(server, "/runs/query", {"limit": 10}).json()
    following = {"limit": 10, "cursor": first["cursors"]["next"]}

    def struck(action: str, value: Any = True) -> requests.Response:
        server.faults.add(Rule(do={action: value}, operation="query_runs"))
        return post(server, "/runs/query", following)

    assert struck("repeated_cursor").json()["cursors"]["next"] == following["cursor"]
    empty = struck("empty_page_with_cursor").json()
    assert (empty["runs"], empty["cursors"]["next"]) == ([], following["cursor"])
    assert struck("full_page_without_cursor").json()["cursors"]["next"] is None
    assert struck("shift", 1).json()["runs"][0]["id"] == an_id(19)
    assert struck("shift", -1).json()["runs"][0]["id"] == an_id(21)
    assert struck("cap", 5).json() == {"detail": "Limit exceeds maximum allowed value of 5"}
    assert struck("v1_gone", 410).status_code == 410
    assert post(server, "/runs/query", following).json()["runs"][0]["id"] == an_id(20)


# --- loading


def test_what_a_line_lacks_is_derived_and_put_behind_what_is_there(server: LangSmithServer) -> None:
    child = (
        b'{"name":"b","id":"%s","start_time":"2026-01-05T00:00:01","dotted_order":"%s.%s","error":"boom"}'
        % (
            an_id(2).encode(),
            f"{stamp(DAY)}{an_id(1)}".encode(),
            f"{stamp(DAY)}{an_id(2)}".encode(),
        )
    )
    root = b'{"id":"%s","name":"a","start_time":"2026-01-05T00:00:00"}' % an_id(1).encode()
    counts = server.load([root, b"", child], "chat")
    raw = get(server, f"/runs/{an_id(2)}").content
    run = json.loads(raw)
    assert counts == LoadCounts(lines=2, runs=2, traces=1)
    assert raw.startswith(child[:-1] + b',"inputs":null,')
    assert (run["parent_run_id"], run["parent_run_ids"], run["trace_id"]) == (an_id(1), [an_id(1)], an_id(1))
    assert (run["status"], run["session_id"]) == ("error", project_id(server, "chat"))
    top = get(server, f"/runs/{an_id(1)}").json()
    assert (top["status"], top["dotted_order"]) == ("pending", f"{stamp(DAY)}{an_id(1)}")


def test_lines_come_in_over_http_and_a_bad_one_is_named_and_nothing_stays(server: LangSmithServer) -> None:
    good = requests.post(
        f"{server.url}/_sandbox/load?project=chat", data=line(1) + b"\n" + line(2) + b"\n", timeout=10
    )
    bad = requests.post(
        f"{server.url}/_sandbox/load?project=other", data=line(3) + b'\n{"id": \n' + line(4), timeout=10
    )
    assert good.json() == {"project": "chat", "lines": 2, "runs": 2, "traces": 2}
    assert (bad.status_code, bad.json()) == (400, {"detail": "line 2: not JSON"})
    with pytest.raises(UsageError, match="line 1: the run has no start_time"):
        server.load([b'{"id": "x"}'], "other")
    assert [project["name"] for project in get(server, "/sessions").json()] == ["chat"]
    assert walk(server) == [[an_id(2), an_id(1)]]


def test_loading_a_changed_run_replaces_it(server: LangSmithServer) -> None:
    server.load([line(1, end_time=None), line(2)], "chat")
    server.load([line(1)], "chat")
    found = post(server, "/runs/query", {"order": "asc"}).json()["runs"]
    assert [(run["id"], run["status"]) for run in found] == [(an_id(1), "success"), (an_id(2), "success")]


def genuine(name: str) -> Path:
    if not GENUINE or not (Path(GENUINE) / name).is_file():
        pytest.skip("LSE_GENUINE_DATA names no folder with genuine data")
    return Path(GENUINE) / name


def test_a_genuine_trace_comes_back_byte_for_byte(server: LangSmithServer) -> None:
    lines = genuine("chat_langchain_trace_runs.jsonl").read_bytes().splitlines()
    assert server.load(lines, "genuine") == LoadCounts(lines=81, runs=81, traces=1)
    answer = dict(jsontext.members(post(server, "/runs/query", {}).content))
    served = [dict(jsontext.members(run)) for run in jsontext.elements(answer["runs"])]
    by_id = {json.loads(run["id"]): run for run in served}
    for text in lines:
        sent = dict(jsontext.members(text))
        run = by_id[json.loads(sent["id"])]
        assert {key: run[key] for key in sent} == sent
    assert sum(json.loads(run["parent_run_id"]) is None for run in served) == 1


def test_genuine_sdk_batches_are_taken_in(server: LangSmithServer) -> None:
    lines = genuine("sdk_ingest_batches.jsonl").read_bytes().splitlines()
    counts = server.load(lines, "batches")
    assert (counts.lines, counts.runs) == (24, 24)
    expected: dict[str, dict[str, bytes]] = {}
    for text in lines:
        batch = dict(jsontext.members(text))["batch"]
        for part in jsontext.elements(batch) if batch.startswith(b"[") else [batch]:
            for _, changes in jsontext.members(part):
                for change in map(jsontext.members, jsontext.elements(changes)):
                    run = dict(change)
                    run_id = json.loads(run.get("id") or run["dotted_order"])[-36:]
                    sent = {key: text for key, text in run.items() if text != b"null"}
                    expected[run_id] = expected.get(run_id, {}) | sent
    statuses = []
    for run_id, sent in expected.items():
        served = dict(jsontext.members(get(server, f"/runs/{run_id}").content))
        statuses.append(json.loads(served["status"]))
        for key in ("inputs", "outputs", "extra", "events", "serialized", "tags", "name", "dotted_order"):
            assert served[key] == sent.get(key, b"null")
        assert datetime.fromisoformat(json.loads(served["start_time"])).year == 2024
    assert (statuses.count("success"), statuses.count("pending")) == (22, 2)


def test_usage_is_found_where_sdks_put_it(server: LangSmithServer) -> None:
    places = [
        {"outputs": {"usage_metadata": {"input_tokens": 1, "output_tokens": 2}}},
        {"extra": {"metadata": {"usage_metadata": {"input_tokens": 1, "output_tokens": 2}}}},
        {"outputs": {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}},
        {"outputs": {"llm_output": {"token_usage": {"prompt_tokens": 1, "completion_tokens": 2}}}},
        {
            "outputs": {
                "generations": [
                    [{"message": {"kwargs": {"usage_metadata": {"input_tokens": 1, "output_tokens": 2}}}}]
                ]
            }
        },
        {"total_tokens": 3, "prompt_tokens": 1, "completion_tokens": 2},
    ]
    server.load([line(n, run_type="llm", **place) for n, place in enumerate(places, 1)], "chat")
    runs = post(
        server, "/runs/query", {"select": ["total_tokens", "prompt_tokens", "completion_tokens"]}
    ).json()
    found = [(r["prompt_tokens"], r["completion_tokens"], r["total_tokens"]) for r in runs["runs"]]
    assert found == [(1, 2, 3)] * 6


def test_v2_adds_the_usage_of_the_subtree_only_when_asked(server: LangSmithServer) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_cost": 0.25}
    token = {"name": "new_token", "time": "2026-01-05T00:00:02.500000+00:00"}
    call = line(2, trace=1, run_type="llm", outputs={"usage_metadata": usage}, events=[token])
    server.load([line(1), call], "chat")
    body = {
        "project_ids": [project_id(server, "chat")],
        "is_root": True,
        "selects": ["TOTAL_TOKENS", "TOTAL_COST", "FIRST_TOKEN_TIME"],
    }
    own = post(server, "/api/v2/runs/query", body).json()["items"]
    whole = post(server, "/api/v2/runs/query", body | {"include_subtree_usage": True}).json()["items"]
    assert own == [{"total_tokens": 0, "total_cost": None, "first_token_time": None}]
    assert whole == [
        {"total_tokens": 15, "total_cost": 0.25, "first_token_time": "2026-01-05T00:00:02.500000Z"}
    ]
