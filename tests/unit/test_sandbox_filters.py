"""The filter language of the local LangSmith."""

import json
from typing import Any

import pytest

from lse.sandbox.langsmith.filters import Filter, FilterError, parse
from lse.sandbox.langsmith.runs import Run

ROOT = "aaaaaaaa-0000-4000-8000-000000000000"


class Knowledge:
    def feedback_on(self, run_id: str) -> list[dict[str, Any]]:
        return [
            {"key": "user_score", "score": 0.25, "feedback_source": {"type": "api"}},
            {"key": "correctness", "score": 1, "feedback_source": {"type": "model"}},
        ]

    def tokens(self, run: Run) -> int:
        return 120


def a_run(**values: Any) -> Run:
    sent = {
        "id": ROOT,
        "name": "research_agent",
        "run_type": "chain",
        "start_time": "2026-01-05T10:00:00",
        "end_time": "2026-01-05T10:00:05.500000",
        "dotted_order": f"20260105T100000000000Z{ROOT}",
        "inputs": {"question": "What about BTC?", "nested": {"symbol": "BTC"}},
        "outputs": {"answer": "Größe 10%"},
        "tags": ["production", "nightly"],
        "extra": {"metadata": {"thread_id": "t-1", "user": "ada", "attempt": 2}},
    } | values
    members = {key: json.dumps(value).encode() for key, value in sent.items()}
    return Run.read(members, "cccccccc-0000-4000-8000-000000000000", parsed=sent)


def matches(text: str, **values: Any) -> bool:
    return parse(text).matches(a_run(**values), Knowledge())


@pytest.mark.parametrize(
    "text",
    [
        'eq(name, "research_agent")',
        "eq(name, 'research_agent')",
        'neq(name, "other")',
        "eq(is_root, true)",
        f'eq(id, "{ROOT}")',
        f'eq(trace_id, "{ROOT}")',
        'eq(status, "success")',
        'in(run_type, ["llm", "chain"])',
        'like(name, "research%")',
        'like(name, "_esearch_agent")',
        'gt(latency, "5s")',
        "gt(latency, 5)",
        'lt(latency, "6000ms")',
        'gte(start_time, "2026-01-05T10:00:00Z")',
        'gte(start_time, "2026-01-05T10:00:00")',
        'lte(start_time, "2026-01-05T12:00:00+02:00")',
        'lt(end_time, "2026-01-05T10:00:05.500001Z")',
        "eq(error, null)",
        "not(exists(error))",
        "exists(end_time)",
        'has(tags, "nightly")',
        'eq(tags, "production")',
        'has(metadata, \'{"user": "ada", "attempt": 2}\')',
        'exists(metadata, "user")',
        'eq(thread_id, "t-1")',
        "gte(total_tokens, 120)",
        'eq(metadata_key, "attempt")',
        'and(eq(metadata_key, "user"), eq(metadata_value, "ada"))',
        'and(eq(input_key, "nested.symbol"), eq(input_value, "BTC"))',
        'and(eq(feedback_key, "user_score"), lt(feedback_score, 0.5))',
        'eq(feedback_source, "model")',
        'search("about btc")',
        'search("größe")',
        "eq(execution_order, 1)",
        ' and( eq( is_root , true ) ,or(eq(name,"x"),has(tags,"nightly")) ) ',
    ],
)
def test_a_filter_accepts_what_it_describes(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        'eq(name, "Research_Agent")',
        'neq(run_type, "chain")',
        "eq(is_root, false)",
        'like(name, "agent")',
        'gt(latency, "1m")',
        'gt(start_time, "2026-01-05T10:00:00Z")',
        'lt(start_time, "2026-01-05T10:00:00Z")',
        "exists(error)",
        'has(tags, "night")',
        'has(metadata, \'{"user": "bob"}\')',
        'exists(metadata, "absent")',
        'and(eq(metadata_key, "user"), eq(metadata_value, "t-1"))',
        'and(eq(feedback_key, "user_score"), gt(feedback_score, 0.5))',
        'search("nowhere to be found")',
        'not(eq(name, "research_agent"))',
        'and(eq(is_root, true), eq(name, "x"))',
        'or(eq(is_root, false), eq(name, "x"))',
        'gt(total_tokens, "many")',
    ],
)
def test_a_filter_refuses_everything_else(text: str) -> None:
    assert not matches(text)


def test_a_child_is_no_root_and_a_failed_run_has_an_error() -> None:
    child = "bbbbbbbb-0000-4000-8000-000000000000"
    values = {
        "id": child,
        "dotted_order": f"20260105T100000000000Z{ROOT}.20260105T100001000000Z{child}",
        "error": "HTTPError('403')",
    }
    assert matches("and(eq(is_root, false), exists(error))", **values)
    assert matches(f'and(eq(trace_id, "{ROOT}"), eq(parent_run_id, "{ROOT}"))', **values)
    assert matches('and(eq(status, "error"), search(error, "403"))', **values)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('resembles(name, "x")', "unknown operator resembles"),
        ('eq(colour, "red")', "unknown field colour"),
        ('eq(name, "x"', ") is missing"),
        ('eq(name "x")', "expected a comma"),
        ('eq(name, "x") eq(name, "y")', "text after the end"),
        ("eq(name)", "eq takes a field and a value"),
        ("and()", "and joins comparisons"),
        ('and("x")', "and joins comparisons"),
        ('in(name, "x")', "in takes a field and a list"),
        ('gt(start_time, "yesterday")', "compared with a time"),
        ('gt(latency, "soon")', "duration"),
        ('has(metadata, "k")', "JSON object"),
        ("{}", "character 1"),
        ('"text"', "begins with an operator"),
        ("", "ends too early"),
        ("not(" * 200 + 'eq(name, "x")' + ")" * 200, "too deep"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(FilterError, match=complaint.replace("(", r"\(").replace(")", r"\)")):
        parse(text)


def test_the_window_of_a_filter_is_what_must_hold_for_the_start() -> None:
    def window(text: str) -> tuple[int | None, int | None]:
        found: Filter = parse(text)
        return found.window

    day = 'and(gte(start_time, "1970-01-01T00:00:01Z"), lt(start_time, "1970-01-01T00:00:02Z"))'
    assert window(day) == (1_000_000, 2_000_000)
    assert window(f'and(eq(name, "x"), {day})') == (1_000_000, 2_000_000)
    assert window('and(gt(start_time, "1970-01-01T00:00:01Z"), lte(start_time, "1970-01-01T00:00:02Z"))') == (
        1_000_001,
        2_000_001,
    )
    assert window(f'or(eq(name, "x"), {day})') == (None, None)
    assert window(f"not({day})") == (None, None)


def test_escapes_in_texts_are_read() -> None:
    assert matches(r'eq(name, "say \"hi\"\\now")', name='say "hi"\\now')
    assert matches(r"eq(name, 'it\'s')", name="it's")
