"""Text: aligned columns for people, the same whatever the terminal."""

import unicodedata

from lse.formats import Table, number_columns, one_line, plain


def render(table: Table) -> str:
    """A head and a line per row; numbers to the right, texts to the left, nothing cut off."""
    rows = [[one_line(plain(cell)) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(_width(row[n]) for row in rows) for n in range(len(table.columns))]
    to_right = number_columns(table)
    return "".join("  ".join(map(_padded, row, widths, to_right)).rstrip() + "\n" for row in rows)


def _padded(cell: str, width: int, to_right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if to_right else cell + space


def _width(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, marks upon others none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
