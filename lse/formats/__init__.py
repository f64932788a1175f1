"""How tables are written. One file of this folder is one format: its `render(table)` gives text or bytes."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Protocol, cast

Cell = str | int | float | Decimal | None
Document = str | bytes
"""A written table: text, or the bytes of a format of `BINARY`."""

BINARY = frozenset({"parquet", "xlsx"})
"""The formats that no terminal can show."""

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


class Format(Protocol):
    """What a file of this folder offers."""

    def render(self, table: Table) -> Document:
        """The table as text that ends with a line break, or as bytes."""


def find_format(form: str) -> Format:
    """The format of this name. Raises `ConfigurationError` when the library it needs is not installed."""
    return cast(Format, importlib.import_module(f"{__name__}.{form}"))


def render(table: Table, form: str) -> Document:
    """The table in the format of this name; errors as for `find_format`."""
    return find_format(form).render(table)


def encoded(document: Document) -> bytes:
    """The bytes of a file that holds `document`."""
    return document if isinstance(document, bytes) else document.encode()


def statements(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a table is about, as names and texts; what is None or empty is left out."""
    return [(name, _said(value)) for name, value in about.items() if value not in (None, [], "")]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_said(each)}" for name, each in value.items() if each not in (None, []))
    return ", ".join(_spans(value)) if isinstance(value, list) else str(value)


def _spans(texts: Sequence[str]) -> list[str]:
    """Days that follow one another as the first and the last of them, other texts as they are."""
    spans: list[list[str]] = []
    for text in texts:
        if spans and _is_next_day(spans[-1][-1], text):
            spans[-1].append(text)
        else:
            spans.append([text])
    return [span[0] if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans]


def _is_next_day(day: str, other: str) -> bool:
    try:
        return date.fromisoformat(other) - date.fromisoformat(day) == timedelta(days=1)
    except ValueError:
        return False


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
