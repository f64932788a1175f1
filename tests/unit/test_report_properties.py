"""Reports on random days: they equal what a reader with a pencil would count."""

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from lse.models import parse_run
from lse.reports import DatedRun, Request, find_report, zenrows_detail

FIRST = date(2025, 9, 13)
zenrows_errors = find_report("zenrows-errors")
REQUEST = Request(FIRST, FIRST + timedelta(days=2))


def an_id(trace: int, number: int) -> str:
    """The root of a trace has number 0 and the trace's own id."""
    return str(UUID(int=(trace << 32) + number + 1))


symbols = st.sampled_from(["btc", " Eth ", "", "sol-x", 5, None, "a\0b"])
inputs = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "crypto_symbol": symbols,
        "input_data": st.fixed_dictionaries({}, optional={"crypto_symbol": symbols, "name": symbols})
        | st.none(),
        "url": st.sampled_from(["https://example.org", None, 5]),
    },
)
documents = st.fixed_dictionaries(
    {
        "trace": st.integers(1, 4),
        "number": st.integers(0, 5),
        "name": st.sampled_from(["zenrows_scraper", "Zenrows_Scraper", "zenrows_scraper2", "other", None]),
        "status": st.sampled_from(["success", "SUCCESS", "error", "Error", "pending", "odd", "", None]),
        "dotted_order": st.sampled_from(["a", "b", "b.c", "é", None]),
        "error": st.sampled_from([None, "", "boom", "a timeout", "x\0y"]),
        "inputs": inputs,
        "extra": st.none()
        | st.fixed_dictionaries({"metadata": st.none() | st.fixed_dictionaries({"symbol": symbols})}),
        "hour": st.integers(0, 47),
    }
)
days = st.lists(documents, max_size=25, unique_by=lambda document: (document["trace"], document["number"]))


def of_day(document: dict[str, Any]) -> date:
    """The traces are spread over three days; a run may start on the day after its trace."""
    return FIRST + timedelta(days=document["trace"] % 3)


def dated(document: dict[str, Any]) -> DatedRun:
    day = of_day(document)
    start = f"{day + timedelta(days=document['hour'] // 24)}T{document['hour'] % 24:02}:00:00"
    known = {key: document[key] for key in ("name", "status", "dotted_order", "error", "inputs", "extra")}
    ids = {"id": an_id(document["trace"], document["number"]), "trace_id": an_id(document["trace"], 0)}
    return DatedRun(day, parse_run(json.dumps(known | ids | {"start_time": start}).encode()))


def failed(document: dict[str, Any]) -> bool:
    return document["name"] == "zenrows_scraper" and str(document["status"]).lower() != "success"


def own_symbol(document: dict[str, Any]) -> str | None:
    given_inputs = document["inputs"] or {}
    data = given_inputs.get("input_data") or {}
    metadata = (document["extra"] or {}).get("metadata") or {}
    places = [given_inputs.get("crypto_symbol"), data.get("crypto_symbol")]
    name = data.get("name")
    if (
        isinstance(name, str)
        and name.strip().isalnum()
        and name.strip().isascii()
        and len(name.strip()) <= 10
    ):
        places.append(name)
    for found in [*places, metadata.get("symbol")]:
        if isinstance(found, str) and found.strip():
            return found.strip().upper().replace("\0", "\ufffd")
    return None


def trace_symbol(day: list[dict[str, Any]], trace: int) -> str:
    runs = [document for document in day if document["trace"] == trace]
    runs.sort(key=lambda d: (d["number"] != 0, d["dotted_order"] or "", an_id(trace, d["number"])))
    return next((symbol for document in runs if (symbol := own_symbol(document))), "Unknown")


@given(days)
def test_the_error_counts_are_those_of_a_pencil(day: list[dict[str, Any]]) -> None:
    expected = ["Date,Total Traces,Zenrows Errors,Error Rate"]
    for number in range(3):
        on = FIRST + timedelta(days=number)
        traces = {document["trace"] for document in day if of_day(document) == on}
        bad = {document["trace"] for document in day if of_day(document) == on and failed(document)}
        rate = round(len(bad) / len(traces) * 100, 1) if traces else 0.0
        expected.append(f"{on},{len(traces)},{len(bad)},{rate}%")
    rows = zenrows_errors.from_runs(map(dated, day), REQUEST)
    assert zenrows_errors.render(rows, REQUEST, "csv") == "\n".join(expected) + "\n"


@given(days)
def test_the_detail_lists_every_failure_under_its_symbol_and_trace(day: list[dict[str, Any]]) -> None:
    found = [
        (
            trace_symbol(day, document["trace"]),
            an_id(document["trace"], 0),
            document["dotted_order"] or "",
            an_id(document["trace"], document["number"]),
        )
        for document in day
        if failed(document)
    ]
    report = json.loads(
        zenrows_detail.render(zenrows_detail.from_runs(map(dated, day), REQUEST), REQUEST, "json")
    )
    listed = [
        (symbol, trace, record["trace_id"], record["crypto_symbol"], record["root_trace_id"])
        for symbol, traces in report["details"].items()
        for trace, records in traces.items()
        for record in records
    ]
    assert listed == [(symbol, trace, run, symbol, trace) for symbol, trace, _, run in sorted(found)]
    assert report["summary"] == {
        "total_errors": len(found),
        "total_traces": len({trace for _, trace, _, _ in found}),
        "crypto_symbols": len({symbol for symbol, *_ in found}),
        "errors_by_crypto": dict(Counter(symbol for symbol, *_ in sorted(found))),
    }


@given(days, st.randoms(use_true_random=False))
def test_the_order_in_which_runs_come_does_not_matter(day: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(day, len(day))
    for report, form in ((zenrows_errors, "csv"), (zenrows_detail, "json"), (zenrows_detail, "text")):
        texts = [
            report.render(report.from_runs(map(dated, runs), REQUEST), REQUEST, form)  # type: ignore[attr-defined]
            for runs in (day, shuffled)
        ]
        assert texts[0] == texts[1]
