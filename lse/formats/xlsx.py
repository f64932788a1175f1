"""Excel workbooks in which numbers are numbers and no text is a formula; equal tables give equal bytes."""

import io
import re
import zipfile
from datetime import datetime
from typing import Any

from lse.errors import ConfigurationError, UsageError
from lse.formats import Cell, Table, statements, visible

try:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.xml.functions import tostring
except ImportError as missing:
    raise ConfigurationError(
        "The format xlsx needs the library openpyxl.", hint="Type: pip install 'lse[xlsx]'"
    ) from missing

_MOST_ROWS = 1_048_576
"""Of a sheet, its head included (Microsoft's specification of Excel)."""
_LONGEST = 32_767
"""Characters of a cell (Microsoft's specification of Excel)."""
_EPOCH = datetime(1980, 1, 1)  # noqa: DTZ001 - the first time that a zip can state, and it states no zone
_NOT_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")


def render(table: Table) -> bytes:
    """A workbook with the rows on one sheet and what they are about on another.

    Excel keeps 15 digits of a number, and cells end after 32,767 characters. Raises `UsageError` for more
    rows than a sheet holds.
    """
    if len(table.rows) >= _MOST_ROWS:
        raise UsageError(
            f"A sheet holds no {len(table.rows):,} rows.", hint="Type: --format parquet, or csv."
        )
    book = Workbook(write_only=True)
    _add_sheet(book, "report", [table.columns, *table.rows])
    if table.about is not None:
        _add_sheet(book, "about", statements(table.about))
    file = io.BytesIO()
    book.save(file)
    book.properties.created = book.properties.modified = _EPOCH
    return _without_times(file, {"docProps/core.xml": tostring(book.properties.to_tree())})


def _add_sheet(book: "Workbook", title: str, rows: Any) -> None:
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append([_cell(sheet, value) for value in row])


def _cell(sheet: Any, value: Cell) -> Any:
    """Text is marked as such, and quoted so that it stays text when somebody edits the cell."""
    if not isinstance(value, str):
        return value
    text = _NOT_XML.sub("", visible(value))[:_LONGEST]
    if not text:
        return None
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    cell.quotePrefix = True
    return cell


def _without_times(file: io.BytesIO, instead: dict[str, bytes]) -> bytes:
    """The same zip with fixed times, and with the contents of `instead`."""
    copy = io.BytesIO()
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            member = zipfile.ZipInfo(name, _EPOCH.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(member, instead.get(name) or source.read(name))
    return copy.getvalue()
