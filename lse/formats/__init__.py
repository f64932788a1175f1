"""How tables are written. One file of this folder is one format: its `render(table)` gives the text."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Cell = str | int | float | Decimal | None

# What spreadsheets take for the start of a formula, or skip before one (OWASP).
_FORMULA = re.compile(r"\s*[=+\-@]|[\x00-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(
    # C0 and C1 controls but for tab and line break, and the marks that change the direction of writing
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows, ready to be written."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    about: Mapping[str, Any] | None = None
    """What is to be said besides the rows, in the formats that can"""


def render(table: Table, form: str) -> str:
    """The table as text in the format of this name, which ends with a line break."""
    return str(importlib.import_module(f"{__name__}.{form}").render(table))


def plain(cell: Cell) -> str:
    """The cell as text: exact, never with an exponent where Python can write it without, nothing for None."""
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return "" if cell is None else str(cell)


def number_columns(table: Table) -> list[bool]:
    """Which columns hold numbers, and so are aligned to the right."""
    columns = [[row[n] for row in table.rows if row[n] is not None] for n in range(len(table.columns))]
    return [bool(cells) and not any(isinstance(cell, str) for cell in cells) for cells in columns]


def inert_cell(cell: Cell) -> str:
    """The cell as text; what a spreadsheet could take for a formula gets an apostrophe, numbers do not."""
    if isinstance(cell, str):
        return f"'{cell}" if _FORMULA.match(cell) else cell
    return plain(cell)


def one_line(text: str) -> str:
    """`text` on one line: line breaks and tabs, which names may hold, as spaces; the rest as in `visible`."""
    return visible(" ".join(text.split("\n")).replace("\t", " "))


def visible(text: str) -> str:
    """`text` without characters that move the cursor, change colours or reverse the writing."""
    return _UNSEEN.sub("", text)
