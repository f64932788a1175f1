"""Formats: CSV that no spreadsheet takes for formulas, JSON, and text that terminals show as it is."""

import csv
import io
import json
import re
import sys
from datetime import date, timedelta
from decimal import Decimal

import openpyxl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.errors import ConfigurationError, UsageError
from lse.formats import Cell, Table, encoded, find_format, inert_cell, render, visible
from lse.formats import csv as csv_format
from lse.formats import json as json_format
from lse.formats import xlsx as xlsx_format

HOSTILE = [
    *("=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\n=1", "\r=1", "\x0b=1", "\xa0=1", "\u2003@x"),
    *("\tx", "\rx", "\nx", "\0x", "\x01=1", "\x1b[31m", "\x7fx", "\x85x", "\x9bx", '=HYPERLINK("http://x")'),
]


@pytest.mark.parametrize("cell", HOSTILE, ids=ascii)
def test_what_a_spreadsheet_could_run_gets_an_apostrophe(cell: str) -> None:
    assert inert_cell(cell) == f"'{cell}"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("", ""),
        (-5, "-5"),
        (-0.5, "-0.5"),
        (1_000, "1000"),
        (True, "True"),
        ("6.4%", "6.4%"),
        ("2025-09-13", "2025-09-13"),
        ("a=b", "a=b"),
        ("x\ty", "x\ty"),
        ("'=1", "'=1"),
        ("BTC", "BTC"),
    ],
)
def test_numbers_and_harmless_texts_stay_as_they_are(cell: str | float | None, text: str) -> None:
    assert inert_cell(cell) == text


def test_csv_spelled_out() -> None:
    table = Table(("A", "B,C"), [("x", 1), ('q"uote', None), ("two\nlines", -1.5), ("=1", "-1"), ("é", "")])
    assert csv_format.render(table) == ('A,"B,C"\nx,1\n"q""uote",\n"two\nlines",-1.5\n\'=1,\'-1\né,\n')


def test_a_text_is_kept_in_utf_8_and_bytes_as_they_are() -> None:
    assert encoded("é") == b"\xc3\xa9"
    assert encoded(b"PK\x03") == b"PK\x03"


def test_an_empty_table_is_a_header_line() -> None:
    assert csv_format.render(Table(("A", "B"), [])) == "A,B\n"


@given(st.lists(st.tuples(st.text(), st.integers() | st.none())))
def test_any_csv_reads_back_and_holds_no_formula(rows: list[tuple[str, int | None]]) -> None:
    text = csv_format.render(Table(("A", "B"), rows))
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [["A", "B"], *([inert_cell(a), inert_cell(b)] for a, b in rows)]
    assert text.endswith("\n")
    for cell, _ in read[1:]:
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
        assert cell.isprintable() or cell[0].isprintable() or cell[0].isspace() or cell[0] > "\x9f"


def test_json_spelled_out() -> None:
    assert json_format.render(Table(("A", "B"), [("é", 1), (None, "x")])) == (
        '[\n  {\n    "A": "\\u00e9",\n    "B": 1\n  },\n  {\n    "A": null,\n    "B": "x"\n  }\n]\n'
    )
    assert json_format.render(Table(("A",), [])) == "[]\n"


@given(st.text())
def test_any_json_reads_back(text: str) -> None:
    assert json.loads(json_format.render(Table(("A",), [(text,)]))) == [{"A": text}]


def test_terminals_get_no_characters_that_move_colour_or_turn_the_text() -> None:
    assert visible("a\x1b[31mb\x07\x00c\x9bd\u202ee\u2066f\u200fg\r\nh\ti\x7f") == "a[31mbcdefg\nh\ti"
    assert visible("Grüße 🦜 聊天") == "Grüße 🦜 聊天"


TABLE = Table(
    ("name", "cost"),
    [("=a|b", Decimal("0.10")), ("wide 漢\n<b>", None), ("\x1b[31mred", Decimal("1E-8"))],
)


def test_markdown_spelled_out() -> None:
    assert render(TABLE, "markdown") == (
        "| name | cost |\n| --- | ---: |\n"
        "| =a\\|b | 0.10 |\n| wide 漢 \\<b\\> |  |\n| \\[31mred | 0.00000001 |\n"
    )


def test_markdown_leaves_alone_what_means_nothing_in_a_cell() -> None:
    table = Table(
        ("day", "name"), [("2025-09-13", "token-review"), ("at 10.5 (a+b)!", "see www.example.org")]
    )
    assert render(table, "markdown").splitlines()[2:] == [
        "| 2025-09-13 | token-review |",
        "| at 10.5 (a+b)! | see www\\.example.org |",
    ]


def test_text_spelled_out() -> None:
    assert render(TABLE, "text") == (
        "name               cost\n=a|b               0.10\nwide 漢 <b>\n[31mred      0.00000001\n"
    )


def test_json_keeps_every_digit_and_says_what_the_table_is_about() -> None:
    assert json.loads(render(TABLE, "json"))[2] == {"name": "\x1b[31mred", "cost": "0.00000001"}
    about = Table(TABLE.columns, TABLE.rows, {"report": "cost"})
    assert json.loads(render(about, "json")).keys() == {"report", "rows"}


TYPED = Table(
    ("day", "name", "runs", "total_cost", "p50_seconds", "nothing", "first_seen"),
    [
        ("2025-09-13", "=1+1", 7, Decimal("1E+2"), 0.5, None, "2025-09-13T01:02:03.000004Z"),
        ("2025-09-14", "<script>\x1b\0", 1, Decimal("1E-20"), None, None, None),
    ],
    {
        "report": "cost",
        "by": ["day", "name"],
        "coverage": {"days": 2, "complete": 1, "missing": ["2025-09-14"]},
    },
)


def test_parquet_has_types_and_every_digit() -> None:
    table = pq.read_table(io.BytesIO(render(TYPED, "parquet")))
    assert list(map(str, table.schema.types)) == [
        *("date32[day]", "string", "int64", "decimal128(23, 20)", "double", "null"),
        "timestamp[us, tz=UTC]",
    ]
    assert table["day"].to_pylist() == [date(2025, 9, 13), date(2025, 9, 14)]
    assert table["name"].to_pylist() == ["=1+1", "<script>\x1b\0"]
    assert table["total_cost"].to_pylist() == [Decimal(100), Decimal("1E-20")]
    assert json.loads(table.schema.metadata[b"about"]) == TYPED.about


def test_parquet_has_longer_numbers_than_its_decimals_as_text() -> None:
    digits = "1" * 77
    table = pq.read_table(io.BytesIO(render(Table(("cost",), [(Decimal(digits),), (None,)]), "parquet")))
    assert table["cost"].to_pylist() == [digits, None]


def test_a_workbook_has_numbers_and_inert_texts() -> None:
    report, about = openpyxl.load_workbook(io.BytesIO(render(TYPED, "xlsx"))).worksheets
    cells = [[(cell.value, cell.data_type) for cell in row] for row in report.iter_rows(min_row=2)]
    assert cells[0][1:6] == [("=1+1", "s"), (7, "n"), (100, "n"), (0.5, "n"), (None, "n")]
    assert cells[1][1] == ("<script>", "s")
    assert list(about.values)[-1] == ("coverage", "days 2; complete 1; missing 2025-09-14")


def test_equal_tables_give_equal_workbooks_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    early = render(TYPED, "xlsx")
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    assert render(TYPED, "xlsx") == early


@given(st.text())
def test_any_text_becomes_a_workbook_that_reads_back(text: str) -> None:
    book = openpyxl.load_workbook(io.BytesIO(render(Table(("A",), [(text,)]), "xlsx")))
    assert book.active["A2"].data_type in ("s", "n")  # "n" is that of an empty cell


def test_a_sheet_that_would_be_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_format, "_MOST_ROWS", 2)
    with pytest.raises(UsageError, match="no 2 rows"):
        render(TYPED, "xlsx")


@pytest.mark.parametrize(("form", "library"), [("parquet", "pyarrow"), ("xlsx", "openpyxl")])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    form: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"lse.formats.{form}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigurationError, match=library) as raised:
        find_format(form)
    assert raised.value.hint == f"Type: pip install 'lse[{form}]'"


def page(columns: tuple[str, ...], rows: list[tuple[Cell, ...]], *by: str) -> str:
    return str(render(Table(columns, rows, {"report": "<b>", "by": list(by)}), "html"))


def test_a_page_escapes_everything_and_allows_nothing_from_elsewhere() -> None:
    html = page(("name", "runs"), [("<script>'\"&\x1b\u202e", 1)], "name")
    assert "<title>&lt;b&gt;</title>" in html
    assert '<td class="k">&lt;script&gt;&#x27;&quot;&amp;</td><td class="n">1</td>' in html
    assert "default-src 'none'; style-src 'sha256-" in html
    assert "<script" not in html
    assert "//" not in html


def test_over_time_a_page_draws_lines_with_gaps_where_nothing_is_known() -> None:
    rows: list[tuple[Cell, ...]] = [("2025-09-13", 4, 1.0), ("2025-09-14", 0, None), ("2025-09-15", 2, 2.0)]
    html = page(("day", "traces", "p50_seconds"), rows, "day")
    assert '<path class="s0" d="M70.0 32.0L405.0 212.0L740.0 122.0"/>' in html
    assert '<path class="s0" d="M70.0 122.0M740.0 32.0"/>' in html
    assert "<rect" not in html


def test_a_rate_in_percent_is_drawn_from_the_texts_of_a_column() -> None:
    html = page(("Date", "Error Rate"), [("2025-09-13", "50.0%"), ("2025-09-14", "100.0%")], "day")
    assert '<path class="s0" d="M70.0 122.0L740.0 32.0"/>' in html


def test_by_anything_else_a_page_draws_the_first_groups_as_bars() -> None:
    rows: list[tuple[Cell, ...]] = [(f"<model {number}>", Decimal(30 - number)) for number in range(30)]
    html = page(("model", "total_cost"), rows, "model")
    assert html.count("<rect") == 20
    assert "<figcaption>Cost in US dollars, the first 20 of 30</figcaption>" in html
    assert 'text-anchor="end">&lt;model 19&gt;</text>' in html


def test_beside_a_bar_stands_its_value_and_nothing_where_none_is_known() -> None:
    rows: list[tuple[Cell, ...]] = [("a", 1_234_567), ("b", None), ("c", 0)]
    html = page(("name", "runs"), rows, "name")
    assert (
        '<rect class="s0" x="23.5" y="32" width="656.5" height="13"><title>a: runs 1,234,567</title>' in html
    )
    assert ">1,234,567</text>" in html
    assert html.count("<rect") == 2


@pytest.mark.parametrize(
    ("most", "margin"),
    [
        (7.2, ["0", "2", "4", "6", "8"]),
        (11_110.0, ["0", "5,000", "10,000", "15,000"]),
        (3_100_000.0, ["0", "1M", "2M", "3M", "4M"]),
        (0.0000031, ["0", "0.000001", "0.000002", "0.000003", "0.000004"]),
        (100.0, ["0", "50", "100"]),
    ],
)
def test_the_margin_of_a_chart_has_round_values(most: float, margin: list[str]) -> None:
    html = page(("day", "p50_seconds"), [("2025-09-13", 0.0), ("2025-09-14", most)], "day")
    assert re.findall(r'text-anchor="end">([0-9.,M]+)<', html) == margin


def test_dates_below_a_chart_do_not_touch_and_are_not_cut_off() -> None:
    days = [f"{date(2025, 1, 1) + timedelta(days=number)}" for number in range(365)]
    html = page(("day", "runs"), [(day, 1) for day in days], "day")
    below = re.findall(r'<text x="([0-9.]+)" y="232.0" text-anchor="(?:middle|end)">(2025-[0-9-]+)<', html)
    assert [day for _, day in below] == days[::53]
    assert html.count("<circle") == 366


def test_a_single_time_is_a_bar_not_a_line() -> None:
    assert page(("day", "runs"), [("2025-09-13", 5)], "day").count("<rect") == 1


def test_days_that_follow_one_another_are_said_as_the_first_and_the_last() -> None:
    missing = ["2025-02-28", "2025-03-01", "2025-03-02", "2025-03-05", "2025-12-31", "2026-01-01"]
    about = {"start": "2025-02-28", "end": "2026-01-01", "project": None, "coverage": {"missing": missing}}
    html = str(render(Table(("a",), [], about), "html"))
    assert "<p>2025-02-28 to 2026-01-01 (UTC), all projects</p>" in html
    spans = "2025-02-28 to 2025-03-02, 2025-03-05, 2025-12-31 to 2026-01-01"
    assert f"<dd>missing {spans}</dd>" in html


def test_a_list_has_no_charts() -> None:
    assert "<svg" not in page(("start_time", "total_cost"), [("2025-09-13T00:00:00Z", Decimal(1))])
