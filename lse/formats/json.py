"""JSON: the rows as objects. A decimal number is a text with all its digits, since readers round numbers."""

import json
from typing import Any

from lse.formats import Table, plain


def render(table: Table) -> str:
    """The rows as a list of objects keyed by column, two spaces of indentation, ASCII only.

    With `about`, one object of that and the list as `rows`.
    """
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    document: Any = rows if table.about is None else {**table.about, "rows": rows}
    return json.dumps(document, indent=2, default=plain) + "\n"
