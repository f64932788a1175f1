"""Reading one run in either of LangSmith's shapes."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.models import Run, UnreadableRun, parse_run

RUN = "0199d0aa-0000-7000-8000-000000000002"
TRACE = "0199d0aa-0000-7000-8000-000000000001"
SESSION = "0199d0aa-0000-7000-8000-00000000000a"

V1 = {
    "id": RUN,
    "trace_id": TRACE,
    "parent_run_id": TRACE,
    "parent_run_ids": [TRACE],
    "session_id": SESSION,
    "name": "zenrows_scraper",
    "run_type": "tool",
    "status": "error",
    "start_time": "2025-09-13T10:11:12.123456",
    "end_time": "2025-09-13T10:11:13",
    "dotted_order": f"20250913T101111000000Z{TRACE}.20250913T101112123456Z{RUN}",
    "error": "HTTPError('422')",
    "tags": ["a", "b"],
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_cost": 0.001572,
    "completion_cost": "0.10",
    "total_cost": None,
    "thread_id": "t1",
    "inputs": {"input": "https://example.org"},
    "extra": {"metadata": {"symbol": " btc "}},
}
V2 = {
    "id": RUN,
    "trace_id": TRACE,
    "parent_run_ids": [SESSION, TRACE],
    "project_id": SESSION,
    "name": "zenrows_scraper",
    "run_type": "TOOL",
    "status": "ERROR",
    "start_time": "2025-09-13T10:11:12.123456Z",
    "end_time": "2025-09-13T12:11:13+02:00",
    "dotted_order": f"20250913T101111000000Z{TRACE}.20250913T101112123456Z{RUN}",
    "error": "HTTPError('422')",
    "tags": ["a", "b"],
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_cost": 0.001572,
    "completion_cost": 0.10,
    "thread_id": "t1",
    "inputs": {"input": "https://example.org"},
    "metadata": {"symbol": " btc "},
}
EXPECTED = Run(
    run_id=UUID(RUN),
    trace_id=UUID(TRACE),
    parent_run_id=UUID(TRACE),
    session_id=UUID(SESSION),
    name="zenrows_scraper",
    run_type="tool",
    status="error",
    start_time=datetime(2025, 9, 13, 10, 11, 12, 123456, UTC),
    end_time=datetime(2025, 9, 13, 10, 11, 13, 0, UTC),
    dotted_order=f"20250913T101111000000Z{TRACE}.20250913T101112123456Z{RUN}",
    error="HTTPError('422')",
    tags=("a", "b"),
    prompt_tokens=10,
    completion_tokens=5,
    total_tokens=15,
    prompt_cost=Decimal("0.001572"),
    completion_cost=Decimal("0.10"),
    total_cost=None,
    thread_id="t1",
    symbol="BTC",
    url="https://example.org",
)


def read(**changes: Any) -> Run:
    return parse_run(json.dumps({**V1, **changes}).encode())


def read_text(extra: str) -> Run:
    """A run whose JSON text also holds `extra`, as written."""
    start = f'"id":"{RUN}","trace_id":"{TRACE}","start_time":"2025-09-13T10:11:12"'
    return parse_run(("{" + start + "," + extra + "}").encode())


@pytest.mark.parametrize("served", [V1, V2], ids=["v1", "v2"])
def test_both_shapes_give_the_same_run(served: dict[str, Any]) -> None:
    assert parse_run(json.dumps(served).encode()) == EXPECTED


def test_a_run_with_only_what_is_required_has_nothing_else() -> None:
    run = read_text('"x":1')
    assert (run.parent_run_id, run.session_id, run.name, run.status, run.end_time) == (None,) * 5
    assert (run.error, run.symbol, run.url, run.total_cost, run.total_tokens) == (None,) * 5
    assert (run.tags, run.dotted_order, run.finished) == ((), "", False)


@pytest.mark.parametrize(
    ("odd", "field", "expected"),
    [
        ({"tags": "not a list"}, "tags", ()),
        ({"tags": None}, "tags", ()),
        ({"inputs": ["a", "list"]}, "url", None),
        ({"inputs": None, "extra": None}, "symbol", None),
        ({"extra": []}, "symbol", None),
        ({"status": None}, "status", None),
        ({"status": 7}, "status", None),
        ({"name": None}, "name", None),
        ({"end_time": "yesterday"}, "end_time", None),
        ({"end_time": "0001-01-01T00:00:00+14:00"}, "end_time", None),
        ({"total_tokens": 10**30}, "total_tokens", None),
        ({"total_tokens": "many"}, "total_tokens", None),
        ({"total_tokens": 12.0}, "total_tokens", 12),
        ({"total_cost": "NaN"}, "total_cost", None),
        ({"total_cost": {}}, "total_cost", None),
        ({"parent_run_id": "x"}, "parent_run_id", UUID(TRACE)),
        ({"parent_run_id": None, "parent_run_ids": []}, "parent_run_id", None),
        ({"session_id": "../../etc"}, "session_id", None),
        ({"error": ""}, "error", ""),
    ],
)
def test_an_odd_optional_value_counts_as_missing(odd: dict[str, Any], field: str, expected: Any) -> None:
    run = read(**odd)
    assert getattr(run, field) == expected
    assert (run.run_id, run.prompt_cost) == (UUID(RUN), Decimal("0.001572"))


def test_an_error_that_is_no_text_reads_as_postgres_prints_it() -> None:
    run = read_text('"error":{"long":[1e2,1.50,null,true],"a":"\\u00e9\\n"}')
    assert run.error == '{"a": "é\\n", "long": [100, 1.50, null, true]}'


def test_costs_are_exact() -> None:
    assert read_text('"total_cost":0.1234567890123456789012345').total_cost == Decimal(
        "0.1234567890123456789012345"
    )


def test_text_that_postgres_cannot_hold_is_replaced() -> None:
    run = read_text('"name":"a\\u0000b","tags":["\\u0000"],"error":"\\\\u0000"')
    assert (run.name, run.tags, run.error) == ("a\ufffdb", ("\ufffd",), "\\u0000")
    assert read_text('"name":"a\\ud800b"').name == "a\ufffdb"


@pytest.mark.parametrize(
    "odd", ['"x":NaN', '"x":-Infinity', '"x":"\\ud800"', '"x":' + "9" * 5_000, '"x":1e400']
)
def test_what_strict_parsers_refuse_is_still_read(odd: str) -> None:
    assert read_text(odd).run_id == UUID(RUN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a complete JSON text"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"id":"secret"}', "id is missing or odd"),
        (json.dumps({**V1, "trace_id": "secret"}).encode(), "trace_id is missing or odd"),
        (json.dumps({**V1, "start_time": None}).encode(), "start_time is missing or odd"),
        (
            json.dumps({**V1, "start_time": "0001-01-01T00:00:00+14:00"}).encode(),
            "start_time is outside the calendar",
        ),
        (json.dumps(V1).encode()[:-40], "not a complete JSON text"),
        (json.dumps(V1).encode().replace(b"zenrows", b"\xff"), "not a complete JSON text"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_run_is_refused_without_quoting_it(text: bytes, reason: str) -> None:
    with pytest.raises(UnreadableRun) as refusal:
        parse_run(text)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("end_time", "status", "finished"),
    [
        ("2025-09-13T10:11:13", "pending", True),
        (None, "pending", False),
        (None, None, False),
        (None, "success", True),
    ],
)
def test_a_run_is_finished_with_an_end_time_or_a_status_other_than_pending(
    end_time: str | None, status: str | None, finished: bool
) -> None:
    assert read(end_time=end_time, status=status).finished is finished


@pytest.mark.parametrize(
    ("inputs", "metadata", "symbol"),
    [
        ({"crypto_symbol": "eth", "input_data": {"crypto_symbol": "btc"}}, "sol", "ETH"),
        ({"crypto_symbol": "  ", "input_data": {"crypto_symbol": " btc"}}, "sol", "BTC"),
        ({"crypto_symbol": 5, "input_data": {"name": " Doge1 "}}, "sol", "DOGE1"),
        ({"input_data": {"name": "ABCDEFGHIJ"}}, "sol", "ABCDEFGHIJ"),
        ({"input_data": {"name": "ABCDEFGHIJK"}}, "sol", "SOL"),
        ({"input_data": {"name": "two words"}}, "sol", "SOL"),
        ({"input_data": {"name": "ſ"}}, "sol", "SOL"),
        ({"input_data": "btc"}, None, None),
        ({"name": "btc"}, "", None),
        ({}, 7, None),
    ],
)
def test_the_symbol_is_the_first_of_its_places(
    inputs: dict[str, Any], metadata: Any, symbol: str | None
) -> None:
    assert read(inputs=inputs, extra={"metadata": {"symbol": metadata}}).symbol == symbol


@pytest.mark.parametrize(
    ("inputs", "url"),
    [
        ({"input": "https://a", "url": "https://b"}, "https://a"),
        ({"input": {"no": "text"}, "url": "https://b", "target_url": "https://c"}, "https://b"),
        ({"target_url": "https://c"}, "https://c"),
        ({"input": None}, None),
    ],
)
def test_the_url_is_the_first_text_of_its_places(inputs: dict[str, Any], url: str | None) -> None:
    assert read(inputs=inputs).url == url


def place(symbol: str, number: int) -> dict[str, Any]:
    """Inputs and metadata with `symbol` in one of the four places."""
    places = (
        {"inputs": {"crypto_symbol": symbol}},
        {"inputs": {"input_data": {"crypto_symbol": symbol}}},
        {"inputs": {"input_data": {"name": symbol}}},
        {"extra": {"metadata": {"symbol": symbol}}},
    )
    return {"inputs": {}, "extra": {}, **places[number]}


@given(
    st.text(st.sampled_from("abcXYZ019"), min_size=1, max_size=10),
    st.sampled_from(["", " ", "\t\n"]),
    st.integers(0, 3),
)
def test_a_symbol_is_trimmed_and_upper_case_wherever_it_stands(symbol: str, space: str, number: int) -> None:
    assert read(**place(space + symbol + space, number)).symbol == symbol.upper()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(sorted(set(V1) | set(V2) - {"id", "trace_id", "start_time"})), json_values
    )
)
def test_no_optional_value_makes_a_run_unreadable(changes: dict[str, Any]) -> None:
    required = {name: V1[name] for name in ("id", "trace_id", "start_time")}
    assert read(**{**changes, **required}).run_id == UUID(RUN)
