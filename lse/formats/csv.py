"""Comma-separated values after RFC 4180, with `\\n` line ends and formulas made inert."""

import csv
import io
from collections.abc import Iterable

from lse.formats import Table, inert_cell


def render(table: Table) -> str:
    """A header line and one line per row; the last one ends with a line break, no blank line follows."""
    rows = ([inert_cell(cell) for cell in row] for row in table.rows)
    return "".join(map(_line, (table.columns, *rows)))


def _line(cells: Iterable[str]) -> str:
    """One line. Written with both kinds of line break as its end, so that either is quoted in a cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"
