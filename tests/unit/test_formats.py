"""Formats: CSV that no spreadsheet takes for formulas, JSON, and text that terminals show as it is."""

import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.formats import Table, inert_cell, render, visible
from lse.formats import csv as csv_format
from lse.formats import json as json_format

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
        "| \\=a\\|b | 0.10 |\n| wide 漢 \\<b\\> |  |\n| \\[31mred | 0.00000001 |\n"
    )


def test_text_spelled_out() -> None:
    assert render(TABLE, "text") == (
        "name               cost\n=a|b               0.10\nwide 漢 <b>\n[31mred      0.00000001\n"
    )


def test_json_keeps_every_digit_and_says_what_the_table_is_about() -> None:
    assert json.loads(render(TABLE, "json"))[2] == {"name": "\x1b[31mred", "cost": "0.00000001"}
    about = Table(TABLE.columns, TABLE.rows, {"report": "cost"})
    assert json.loads(render(about, "json")).keys() == {"report", "rows"}
