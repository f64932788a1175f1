"""Comma-separated values after RFC 4180, with `\\n` line ends and formulas made inert."""

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import TypeGuard

from lse.formats import Cell, Table, inert_cell

_SPECIAL = re.compile(r'[",\r\n]')
_UNUSUAL_BEGINNING = re.compile(r"\n[^0-9A-Za-z\n]")


def render(table: Table) -> str:
    """A header line and one line per row; the last one ends with a line break, no blank line follows."""
    columns = [_fields(list(map(itemgetter(n), table.rows))) for n in range(len(table.columns))]
    lines = map(",".join, zip(*columns, strict=True))
    # An empty cell without neighbours would leave a line that many readers pass over.
    return "\n".join([",".join(map(_quoted, table.columns)), *(line or '""' for line in lines), ""])


def _fields(column: Sequence[Cell]) -> Sequence[str]:
    """The cells of a column as they stand in the file."""
    return column if _is_plain(column) else [_quoted(inert_cell(cell)) for cell in column]


def _is_plain(column: Sequence[Cell]) -> TypeGuard[Sequence[str]]:
    """Whether all cells are texts that begin with a letter or digit, so are inert, and need no quotes.

    They are looked at as one text, which takes a third of the time of looking at each (measured).
    """
    try:
        text = "\n".join(["", *column])  # type: ignore[list-item]
    except TypeError:  # one is no text
        return False
    whole = text.count("\n") == len(column) and not any(mark in text for mark in ',"\r')
    return whole and not _UNUSUAL_BEGINNING.search(text)


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""')) if _SPECIAL.search(text) else text
