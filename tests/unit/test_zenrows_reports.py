"""Both zenrows reports on runs written by hand, with every answer spelled out."""

import json
import time
from collections.abc import Iterable
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from lse.errors import UsageError
from lse.models import parse_run
from lse.reports import (
    DatedRun,
    Request,
    find_report,
    report_names,
    report_summary,
    zenrows_detail,
)

zenrows_errors = find_report("zenrows-errors")

DAY, NEXT = date(2025, 9, 13), date(2025, 9, 14)
T1, T2, T3 = (UUID(f"0199d0aa-0000-7000-8000-00000000000{n}") for n in (1, 2, 3))


def an_id(number: int) -> UUID:
    return UUID(f"0199d0aa-0000-7000-8000-{number:012x}")


def run(number: int, trace: UUID = T1, day: date = DAY, **values: Any) -> DatedRun:
    document = {
        "id": str(an_id(number)),
        "trace_id": str(trace),
        "name": "step",
        "status": "success",
        "start_time": "2025-09-13T10:11:12",
        "dotted_order": f"{number:04}",
    }
    return DatedRun(day, parse_run(json.dumps(document | values).encode()))


def scrape(number: int, trace: UUID = T1, day: date = DAY, **values: Any) -> DatedRun:
    return run(number, trace, day, **{"name": "zenrows_scraper", "status": "error"} | values)


def errors(runs: Iterable[DatedRun], start: date = DAY, end: date = DAY) -> str:
    request = Request(start, end)
    return zenrows_errors.render(zenrows_errors.from_runs(runs, request), request, "csv")


def detail(runs: list[DatedRun], form: str = "text", project: str | None = None) -> str:
    request = Request(DAY, DAY, project)
    return zenrows_detail.render(zenrows_detail.from_runs(runs, request), request, form)


# --- zenrows-errors


def test_a_trace_counts_once_however_many_scrapers_failed_and_how_deep() -> None:
    runs = [
        run(1),
        scrape(10),
        scrape(11, parent_run_id=str(an_id(10))),
        run(2, T2),
        scrape(20, T2, status="success"),
    ]
    assert errors(runs) == "Date,Total Traces,Zenrows Errors,Error Rate\n2025-09-13,2,1,50.0%\n"


@pytest.mark.parametrize("status", ["error", "ERROR", "pending", "PENDING", "cancelled", "", None, 5])
def test_any_status_but_success_is_a_failure(status: Any) -> None:
    assert errors([scrape(1, status=status)]).endswith("\n2025-09-13,1,1,100.0%\n")


@pytest.mark.parametrize("status", ["success", "SUCCESS", "Success"])
def test_success_in_any_case_is_none(status: str) -> None:
    assert errors([scrape(1, status=status)]).endswith("\n2025-09-13,1,0,0.0%\n")


@pytest.mark.parametrize(
    "name",
    [
        "Zenrows_scraper",
        "zenrows_scraper ",
        "my_zenrows_scraper",
        "zenrows",
        "",
        None,
        5,
        "zenrows_scraper\0",
    ],
)
def test_only_the_exact_name_counts(name: Any) -> None:
    assert errors([scrape(1, name=name)]).endswith("\n2025-09-13,1,0,0.0%\n")


def test_a_status_that_is_missing_is_a_failure_also_at_the_root() -> None:
    text = json.dumps(
        {"id": str(T1), "trace_id": str(T1), "start_time": "2025-09-13", "name": "zenrows_scraper"}
    )
    text = text.replace('"2025-09-13"', '"2025-09-13T00:00:00Z"')
    assert errors([DatedRun(DAY, parse_run(text.encode()))]).endswith("\n2025-09-13,1,1,100.0%\n")


def test_each_day_has_a_row_and_a_day_without_data_has_zeros() -> None:
    runs = [run(2, T2, date(2025, 9, 15)), scrape(1)]
    assert errors(runs, DAY, date(2025, 9, 15)) == (
        "Date,Total Traces,Zenrows Errors,Error Rate\n"
        "2025-09-13,1,1,100.0%\n"
        "2025-09-14,0,0,0.0%\n"
        "2025-09-15,1,0,0.0%\n"
    )


def test_a_child_after_midnight_counts_for_the_day_of_its_trace() -> None:
    late = scrape(1, start_time="2025-09-14T00:00:01")
    assert errors([late], DAY, NEXT).endswith("2025-09-13,1,1,100.0%\n2025-09-14,0,0,0.0%\n")


@pytest.mark.parametrize(
    ("traces", "failed", "rate"),
    [
        (2000, 128, "6.4%"),
        (3, 1, "33.3%"),
        (3, 2, "66.7%"),
        (800, 1, "0.1%"),
        (2000, 1, "0.1%"),
        (2001, 1, "0.0%"),
        (400, 1, "0.2%"),
        (1600, 1, "0.1%"),
        (1000, 999, "99.9%"),
        (10_000, 9_999, "100.0%"),
        (8, 1, "12.5%"),
        (0, 0, "0.0%"),
    ],
)
def test_the_rate_is_rounded_as_python_rounds(traces: int, failed: int, rate: str) -> None:
    ids = [UUID(int=number + 1) for number in range(traces)]
    runs = (scrape(1, trace, status="error" if n < failed else "success") for n, trace in enumerate(ids))
    header = "Date,Total Traces,Zenrows Errors,Error Rate"
    assert errors(runs) == f"{header}\n2025-09-13,{traces},{failed},{rate}\n"


# --- zenrows-detail

HTTP_ERROR = (
    "HTTPError('422 Client Error: Unprocessable Entity for url: https://api.example.org/v1/?apikey=KEY')"
    "Traceback (most recent call last):\n  File x"
)
RUNS = [
    run(1, inputs={"crypto_symbol": " btc "}),
    scrape(12, error="Connection\n refused", inputs={"url": "https://example.org/b"}),
    scrape(
        11,
        error=HTTP_ERROR,
        inputs={"input": "https://example.org/a"},
        start_time="2025-09-13T12:00:00+02:00",
    ),
    run(2, T2),
    scrape(20, T2, status="pending", name="zenrows_scraper", start_time="2025-09-14T00:00:01.5"),
]


def test_the_text_form_spelled_out() -> None:
    assert detail(RUNS) == (
        "Zenrows Error Detail Report\n"
        "========================================\n"
        "\n"
        "BTC:\n"
        "  0199d0aa-0000-7000-8000-000000000001:\n"
        "    Error: 422 Client Error: Unprocessable Entity - api.example.org\n"
        "      Time: 2025-09-13 10:00:00 UTC\n"
        "      URL: https://example.org/a\n"
        "    Error: Connection refused\n"
        "      Time: 2025-09-13 10:11:12 UTC\n"
        "      URL: https://example.org/b\n"
        "\n"
        "Unknown:\n"
        "  0199d0aa-0000-7000-8000-000000000002:\n"
        "    Error: Unknown error\n"
        "      Time: 2025-09-14 00:00:01 UTC\n"
        "      URL: None\n"
    )


def test_the_json_form_spelled_out() -> None:
    assert (
        detail([*RUNS[:2], *RUNS[3:]], "json", project="chat")
        == """{
  "report_type": "zenrows_detail",
  "report_date": "2025-09-13",
  "project": "chat",
  "summary": {
    "total_errors": 2,
    "total_traces": 2,
    "crypto_symbols": 2,
    "errors_by_crypto": {
      "BTC": 1,
      "Unknown": 1
    }
  },
  "details": {
    "BTC": {
      "0199d0aa-0000-7000-8000-000000000001": [
        {
          "trace_id": "0199d0aa-0000-7000-8000-00000000000c",
          "root_trace_id": "0199d0aa-0000-7000-8000-000000000001",
          "crypto_symbol": "BTC",
          "error_message": "Connection\\n refused",
          "start_time": "2025-09-13T10:11:12+00:00",
          "target_url": "https://example.org/b",
          "name": "zenrows_scraper"
        }
      ]
    },
    "Unknown": {
      "0199d0aa-0000-7000-8000-000000000002": [
        {
          "trace_id": "0199d0aa-0000-7000-8000-000000000014",
          "root_trace_id": "0199d0aa-0000-7000-8000-000000000002",
          "crypto_symbol": "Unknown",
          "error_message": null,
          "start_time": "2025-09-14T00:00:01.500000+00:00",
          "target_url": null,
          "name": "zenrows_scraper"
        }
      ]
    }
  }
}
"""
    )


def test_the_csv_form_spelled_out() -> None:
    assert detail([RUNS[0], scrape(12, error="=1+1", inputs={"url": "+x"})], "csv") == (
        "Symbol,Trace,Run,Time,URL,Error\n"
        "BTC,0199d0aa-0000-7000-8000-000000000001,0199d0aa-0000-7000-8000-00000000000c,"
        "2025-09-13T10:11:12+00:00,'+x,'=1+1\n"
    )


def test_nothing_failed_is_said_in_every_form() -> None:
    assert detail([run(1)]) == "No zenrows errors found for 2025-09-13.\n"
    assert detail([], "csv") == "Symbol,Trace,Run,Time,URL,Error\n"
    assert json.loads(detail([], "json")) == {
        "report_type": "zenrows_detail",
        "report_date": "2025-09-13",
        "project": "all",
        "summary": {"total_errors": 0, "total_traces": 0, "crypto_symbols": 0, "errors_by_crypto": {}},
        "details": {},
    }


def symbols(*runs: DatedRun) -> list[str]:
    return [failure.symbol for failure in zenrows_detail.from_runs(runs, Request(DAY, DAY))]


@pytest.mark.parametrize(
    ("values", "symbol"),
    [
        ({"inputs": {"crypto_symbol": "btc"}}, "BTC"),
        ({"inputs": {"crypto_symbol": " ", "input_data": {"crypto_symbol": "\teth "}}}, "ETH"),
        ({"inputs": {"input_data": {"name": "sol"}}}, "SOL"),
        ({"inputs": {"input_data": {"name": " Sol1234567 "}}}, "SOL1234567"),
        ({"inputs": {"input_data": {"name": "elevenchars"}}}, "Unknown"),
        ({"inputs": {"input_data": {"name": "a b"}}}, "Unknown"),
        ({"inputs": {"input_data": "sol"}, "extra": {"metadata": {"symbol": "ada"}}}, "ADA"),
        ({"inputs": {"crypto_symbol": 5}, "extra": {"metadata": {"symbol": "dot"}}}, "DOT"),
        ({"inputs": ["btc"], "extra": None}, "Unknown"),
        ({"inputs": None, "extra": {"metadata": None}}, "Unknown"),
        ({"error": "BTC failed on bitcoin"}, "Unknown"),
    ],
)
def test_the_symbol_is_the_first_found_of_four_places_and_never_guessed(
    values: dict[str, Any], symbol: str
) -> None:
    assert symbols(run(1, **values), scrape(11)) == [symbol]


def test_the_roots_symbol_counts_before_an_earlier_one_and_the_first_in_dotted_order_before_the_others() -> (
    None
):
    root = run(1, dotted_order="zzz", inputs={"crypto_symbol": "btc"})
    first, second = (
        run(8, inputs={"crypto_symbol": "eth"}),
        run(7, dotted_order="0009", inputs={"crypto_symbol": "sol"}),
    )
    assert symbols(second, first, root, scrape(11)) == ["BTC"]
    assert symbols(second, first, run(1), scrape(11)) == ["ETH"]
    assert symbols(second, run(1), scrape(11, inputs={"crypto_symbol": "ada"})) == ["SOL"]


def test_failures_stand_by_symbol_then_trace_then_dotted_order() -> None:
    runs = [
        scrape(32, T3, dotted_order="b"), scrape(31, T3, dotted_order="a"), scrape(21, T2), scrape(11),
        run(1, inputs={"crypto_symbol": "z"}), run(2, T2, inputs={"crypto_symbol": "a"}),
        run(3, T3, inputs={"crypto_symbol": "a"}),
    ]  # fmt: skip
    found = zenrows_detail.from_runs(runs, Request(DAY, DAY))
    assert [failure.run_id for failure in found] == [an_id(n) for n in (21, 31, 32, 11)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, "Unknown error"),
        ("", "Unknown error"),
        ("plain", "plain"),
        ("x" * 150, "x" * 150),
        ("x" * 151, "x" * 147 + "..."),
        (HTTP_ERROR, "422 Client Error: Unprocessable Entity - api.example.org"),
        ("HTTPError('500 Server Error')Traceback x", "500 Server Error"),
        ('HTTPError("404 for url: https://example.org")Traceback', "404 - example.org"),
        ("HTTPError('403 for url: http://[x')Traceback", "403"),
        ("HTTPError('403 for url: nowhere')Traceback", "403"),
        ("ValueError: bad\nTraceback (most recent call last):\nKeyError: 1", "ValueError: bad"),
        ("Traceback (most recent call last):\n  x\n  KeyError: 1", "KeyError: 1"),
        ("ReadTimeout", "Request timeout"),
        ("504 Gateway TIMEOUT", "Request timeout"),
    ],
)
def test_messages_are_cleaned(error: str | None, message: str) -> None:
    assert zenrows_detail.clean_message(error) == message


@pytest.mark.parametrize("error", ["HTTPError('" * 30_000, "HTTPError('" * 1_000 + " for url: " * 30_000])
def test_a_message_made_to_be_slow_is_not(error: str) -> None:
    begin = time.perf_counter()
    assert zenrows_detail.clean_message(error).endswith("...")
    assert time.perf_counter() - begin < 1


def test_no_payload_can_forge_a_line_or_steer_a_terminal() -> None:
    text = detail(
        [
            run(1, inputs={"crypto_symbol": "BTC:\n  x"}),
            scrape(11, error="a\x1b[31mb\u2028\u202ec", inputs={"url": "http://x\n\nETH:\r  y\x07"}),
        ]
    )
    assert text.splitlines()[3:] == [
        "BTC: X:",
        f"  {T1}:",
        "    Error: a[31mb c",
        "      Time: 2025-09-13 10:11:12 UTC",
        "      URL: http://x ETH: y",
    ]


# --- all reports


def test_a_report_is_found_by_its_file_name() -> None:
    assert report_names() == [
        *("cost", "error-detail", "error-groups", "errors", "feedback", "latency", "slowest", "tokens"),
        *("volume", "zenrows-detail", "zenrows-errors"),
    ]
    assert find_report("zenrows-detail") is zenrows_detail
    assert report_summary("zenrows-errors") == "How many traces had a failed `zenrows_scraper` run, per day."


@pytest.mark.parametrize("name", ["nothing", "", "../formats/csv", "zenrows_errors", "__init__"])
def test_an_unknown_report_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_report(name)
    assert caught.value.hint == f"Reports: {', '.join(report_names())}."


def test_a_request_names_its_days() -> None:
    assert Request(DAY, DAY).days == [DAY]
    assert Request(DAY, NEXT).days == [DAY, NEXT]
    assert (str(Request(DAY, DAY)), str(Request(DAY, NEXT))) == ("2025-09-13", "2025-09-13 to 2025-09-14")
