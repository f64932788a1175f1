"""Markdown: a table of GitHub's kind, whatever is in the cells."""

import re

from lse.formats import Cell, Table, number_columns, one_line, plain

_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&:@$]|(?<=www)\.)", re.IGNORECASE)
"""The characters that CommonMark and GitHub's additions to it give a meaning inside of a table's cell."""


def render(table: Table) -> str:
    """A head, a line that aligns numbers to the right, and a line per row."""
    ruler = ["---:" if number else "---" for number in number_columns(table)]
    lines = [map(_escaped, table.columns), ruler, *(map(_escaped, row) for row in table.rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _escaped(cell: Cell) -> str:
    if not isinstance(cell, str):
        return plain(cell)
    return _MARKUP.sub(r"\\\1", one_line(cell))
