"""Every failed `zenrows_scraper` run, grouped by symbol and trace.

The symbol of a trace is that of its root run, else of its first run in dotted order that has one, else
`Unknown`.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from lse.formats import Document, Table, visible
from lse.formats import render as write_table
from lse.models import Run, parse_run
from lse.reports import DatedRun, Request, about
from lse.store.reading import Reader

FORMATS = ("text", "json", "csv", "markdown", "html", "parquet", "xlsx")

QUERY = """
    -- Failed scraper runs are few, so the partial index finds them and only their payload is read.
    select failed.data::text as data, (
        select other.symbol from runs other
        where other.run_date = failed.run_date and other.trace_id = failed.trace_id
          and other.symbol is not null
        order by other.run_id <> other.trace_id,
            case when jsonb_typeof(other.data->'dotted_order') = 'string'
                then other.data->>'dotted_order' else '' end collate "C",
            other.run_id
        limit 1
    ) as symbol
    from runs failed
    where run_date between %(start)s and %(end)s
      and (%(project)s::text is null or project = %(project)s)
      and name = 'zenrows_scraper' and status is distinct from 'success'
"""

_COLUMNS = ("Symbol", "Trace", "Run", "Time", "URL", "Error")
_UNKNOWN = "Unknown"
_HTTP_ERROR = re.compile(r"HTTPError\(['\"]")
_TRACEBACK = re.compile(r"['\"]\)Traceback")
_TELLING_LINE = re.compile(r"Error:|Exception:|Timeout")
_LONGEST = 150


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed scraper run."""

    symbol: str
    trace_id: UUID
    run_id: UUID
    name: str
    error: str | None
    started: datetime
    url: str | None
    dotted_order: str


def from_store(reader: Reader, request: Request) -> list[Failure]:
    """The failures of the requested days, ordered by symbol, trace and dotted order."""
    rows = reader.query(QUERY, request.parameters)
    return _ordered(_failure(parse_run(row["data"].encode()), row["symbol"]) for row in rows)


def from_runs(runs: Iterable[DatedRun], request: Request) -> list[Failure]:  # noqa: ARG001 - runs are those asked for
    """The same failures, from every run of the requested days."""
    failed: list[Run] = []
    symbols: dict[UUID, tuple[tuple[bool, str, str], str]] = {}
    for dated in runs:
        run = dated.run
        if run.name == "zenrows_scraper" and run.status != "success":
            failed.append(run)
        if run.symbol is not None:
            candidate = ((run.run_id != run.trace_id, run.dotted_order, str(run.run_id)), run.symbol)
            symbols[run.trace_id] = min(candidate, symbols.get(run.trace_id, candidate))
    return _ordered(_failure(run, symbols.get(run.trace_id, (None, None))[1]) for run in failed)


def render(failures: Sequence[Failure], request: Request, form: str) -> Document:
    """The failures as indented text, as one JSON document, or as a table with a row each."""
    if form == "text":
        return _text(failures, request)
    if form == "json":
        return _json(failures, request)
    return write_table(Table(_COLUMNS, list(map(_row, failures)), about(request)), form)


def clean_message(error: str | None) -> str:
    """An error as one short line: what failed and where, without its traceback."""
    if not error:
        return "Unknown error"
    # Two searches: one pattern for both ends took minutes for 30 kB that a stranger may write (measured).
    if (begin := _HTTP_ERROR.search(error)) and (end := _TRACEBACK.search(error, begin.end())):
        what, _, url = error[begin.end() : end.start()].partition(" for url: ")
        host = _host(url)
        return f"{what} - {host}" if host else what
    if "Error:" in error and "Traceback" in error:
        return next(line.strip() for line in error.splitlines() if _TELLING_LINE.search(line))
    if "timeout" in error.lower():
        return "Request timeout"
    return error if len(error) <= _LONGEST else f"{error[: _LONGEST - 3]}..."


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _failure(run: Run, symbol: str | None) -> Failure:
    return Failure(
        symbol=_text_of_store(symbol) or _UNKNOWN,
        trace_id=run.trace_id,
        run_id=run.run_id,
        name=run.name or "",
        error=_text_of_store(run.error),
        started=run.start_time.astimezone(UTC),
        url=_text_of_store(run.url),
        dotted_order=run.dotted_order,
    )


def _text_of_store(text: str | None) -> str | None:
    """Text as the store keeps it: Postgres holds no NUL, U+FFFD stands for it."""
    return text.replace("\0", "\ufffd") if text is not None else None


def _ordered(failures: Iterable[Failure]) -> list[Failure]:
    return sorted(failures, key=lambda f: (f.symbol, str(f.trace_id), f.dotted_order, str(f.run_id)))


def _grouped(failures: Sequence[Failure]) -> dict[str, dict[str, list[Failure]]]:
    groups: dict[str, dict[str, list[Failure]]] = defaultdict(lambda: defaultdict(list))
    for failure in failures:
        groups[failure.symbol][str(failure.trace_id)].append(failure)
    return groups


def _text(failures: Sequence[Failure], request: Request) -> str:
    if not failures:
        return f"No zenrows errors found for {request}.\n"
    lines = ["Zenrows Error Detail Report", "=" * 40, ""]
    for symbol, traces in _grouped(failures).items():
        lines.append(f"{_inline(symbol)}:")
        for trace_id, members in traces.items():
            lines.append(f"  {trace_id}:")
            for failure in members:
                lines.append(f"    Error: {_inline(clean_message(failure.error))}")
                lines.append(f"      Time: {failure.started:%Y-%m-%d %H:%M:%S} UTC")
                lines.append(f"      URL: {_inline(str(failure.url))}")
        lines.append("")
    return visible("\n".join(lines))


def _inline(text: str) -> str:
    """`text` on one line, so that it cannot pass for a line of the report."""
    return " ".join(text.split())


def _row(failure: Failure) -> tuple[str, ...]:
    message = _inline(clean_message(failure.error))
    ids = (str(failure.trace_id), str(failure.run_id))
    return (failure.symbol, *ids, failure.started.isoformat(), failure.url or "", message)


def _json(failures: Sequence[Failure], request: Request) -> str:
    grouped = _grouped(failures)
    by_symbol = Counter(failure.symbol for failure in failures)
    document = {
        "report_type": "zenrows_detail",
        "report_date": str(request),
        "project": request.project or "all",
        "summary": {
            "total_errors": len(failures),
            "total_traces": len({failure.trace_id for failure in failures}),
            "crypto_symbols": len(by_symbol),
            "errors_by_crypto": dict(by_symbol),
        },
        "details": {
            symbol: {trace_id: list(map(_record, members)) for trace_id, members in traces.items()}
            for symbol, traces in grouped.items()
        },
    }
    return json.dumps(document, indent=2) + "\n"


def _record(failure: Failure) -> dict[str, Any]:
    return {
        "trace_id": str(failure.run_id),
        "root_trace_id": str(failure.trace_id),
        "crypto_symbol": failure.symbol,
        "error_message": failure.error,
        "start_time": failure.started.isoformat(),
        "target_url": failure.url,
        "name": failure.name,
    }
