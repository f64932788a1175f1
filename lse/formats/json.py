"""JSON: a list of objects, one per row."""

import json

from lse.formats import Table


def render(table: Table) -> str:
    """The rows as a list of objects keyed by column, two spaces of indentation, ASCII only."""
    return json.dumps([dict(zip(table.columns, row, strict=True)) for row in table.rows], indent=2) + "\n"
