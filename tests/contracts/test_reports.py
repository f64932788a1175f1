"""What every file of `lse/reports` promises."""

import io
import json
import re
import subprocess
import sys
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from uuid import UUID

import openpyxl
import pyarrow.parquet as pq
import pytest

from lse.formats import BINARY, Document
from lse.models import parse_run
from lse.pipeline import report
from lse.reports import (
    DatedRun,
    Report,
    Request,
    find_report,
    report_formats,
    report_names,
    report_options,
    report_summary,
)
from lse.resources import Resources
from lse.settings import load_settings

REQUEST = Request(date(2025, 9, 13), date(2025, 9, 15))
FORMS = [(name, form) for name in report_names() for form in find_report(name).FORMATS]


def some_runs() -> list[DatedRun]:
    """Runs of every kind that reports may meet, hostile texts among them."""
    found = []
    for number, (name, status) in enumerate(
        (name, status)
        for name in ("zenrows_scraper", "step", None)
        for status in ("success", "error", "pending", None)
    ):
        document = {
            "id": str(UUID(int=100 + number)),
            "trace_id": str(UUID(int=100 + number // 2 * 2)),
            "name": name,
            "status": status,
            "start_time": f"2025-09-{13 + number % 3}T23:59:59.999999",
            "error": ["=1+1", "<script>alert(1)</script>", "\x1b[31m\0", "x" * 1000][number % 4],
            "inputs": [{"crypto_symbol": "=cmd"}, {"url": "http://[x"}, [], None][number % 4],
        }
        found.append(DatedRun(date(2025, 9, 13 + number % 3), parse_run(json.dumps(document).encode())))
    return found


class Page(HTMLParser):
    """Accepts what a page may hold: elements that end, no script, event or form, nothing from elsewhere."""

    ELEMENTS = frozenset(
        "html head meta title style body h1 p dl dt dd figure figcaption svg path circle rect text"
        " div table thead tbody tr th td".split()
    )
    open: tuple[str, ...] = ()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ELEMENTS
        assert not any(name.startswith("on") or name in ("src", "href", "style") for name, _ in attrs)
        assert tag not in self.open, "no element lies in one of its kind"
        self.open += (tag,) if tag != "meta" else ()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == (tag,)
        self.open = self.open[:-1]


def readable_workbook(document: bytes) -> None:
    sheets = openpyxl.load_workbook(io.BytesIO(document)).worksheets
    cells = [cell for sheet in sheets for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert cells
    assert all((cell.data_type == "s") == isinstance(cell.value, str) for cell in cells)
    assert {cell.data_type for cell in cells} <= {"s", "n"}
    assert all(cell.quotePrefix for cell in cells if cell.data_type == "s")


def readable_parquet(document: bytes) -> None:
    table = pq.read_table(io.BytesIO(document))
    assert table.column_names
    assert json.loads(table.schema.metadata[b"about"])["start"] == REQUEST.start.isoformat()


READ_BACK = {"parquet": readable_parquet, "xlsx": readable_workbook}


def well_formed(document: Document, form: str) -> None:
    if isinstance(document, bytes):
        assert form in BINARY
        return READ_BACK[form](document)
    text = document
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text) or form == "csv"
    text.encode("utf-8")
    if form == "json":
        json.loads(text)
    if form == "markdown":
        assert not re.search(r"(?<!\\)[<>*`]", text)
    if form == "html":
        page = Page()
        page.feed(text)
        assert page.open == ()
    if form == "csv":
        assert not re.search(r"(^|,)\"?[=+@\x1b]", text, re.MULTILINE)


@pytest.mark.parametrize("name", report_names())
def test_a_report_is_described_and_named_for_the_command_line(name: str) -> None:
    module = find_report(name)
    assert module.__doc__
    assert report_summary(name).endswith(".")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)


@pytest.mark.parametrize("name", report_names())
def test_what_a_report_heeds_is_known_without_importing_it(name: str) -> None:
    report = find_report(name)
    assert report_options(name) == frozenset(getattr(report, "takes", ()))
    assert report_formats(name) == report.FORMATS


@pytest.mark.parametrize("name", report_names())
def test_a_report_offers_the_three_functions_and_its_formats(name: str) -> None:
    module: Report = find_report(name)
    assert isinstance(module.FORMATS, tuple)
    assert module.FORMATS
    assert "csv" in module.FORMATS, "the report flow publishes CSV"
    assert "select" in module.QUERY, "the doctor looks at its plan"
    assert all(callable(function) for function in (module.from_store, module.from_runs, module.render))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_report_is_rendered_from_nothing_and_from_odd_runs(name: str, form: str) -> None:
    module = find_report(name)
    for runs in ([], some_runs()):
        well_formed(module.render(module.from_runs(iter(runs), REQUEST), REQUEST, form), form)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_an_empty_store_and_an_empty_folder_give_the_same_bytes(
    name: str, form: str, database_url: str
) -> None:
    with Resources(load_settings(database_url=database_url)) as resources:
        for request in (REQUEST, Request(REQUEST.start, REQUEST.start, "chat")):
            from_store = report(resources, name, request, form=form)
            assert from_store == report(resources, name, request, origin="files", form=form)
            well_formed(from_store, form)


def test_bytes_do_not_depend_on_the_process() -> None:
    """Neither on terminal, width, colour, locale and time zone, nor on the seed of hashes."""
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_reports import *
from lse.formats import encoded
for name, form in FORMS:
    report = find_report(name)
    sys.stdout.buffer.write(encoded(report.render(report.from_runs(some_runs(), REQUEST), REQUEST, form)))
"""
    surroundings: list[dict[str, str]] = [
        {},
        {"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "1"},
        {
            "COLUMNS": "400",
            "FORCE_COLOR": "1",
            "LC_ALL": "tr_TR.UTF-8",
            "TZ": "PST8PDT",
            "PYTHONHASHSEED": "2",
        },
    ]
    texts = {
        subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True).stdout
        for env in surroundings
    }
    assert len(texts) == 1
