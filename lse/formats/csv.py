"""Comma-separated values after RFC 4180, with `\\n` line ends and formulas made inert."""

import csv
import io

from lse.formats import Table, inert_cell


def render(table: Table) -> str:
    """A header line and one line per row; the last one ends with a line break, no blank line follows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([inert_cell(cell) for cell in row] for row in table.rows)
    return text.getvalue()
