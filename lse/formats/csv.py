"""Comma-separated values after RFC 4180, with `\\n` line ends and formulas made inert."""

import csv

from lse.formats import Table, inert_cell


def render(table: Table) -> str:
    """A header line and one line per row; the last one ends with a line break, no blank line follows."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows(map(inert_cell, row) for row in table.rows)
    return "".join(lines)


class _Lines(list[str]):
    """Lines, written with both kinds of line break as their end, so that either is quoted in a cell."""

    def write(self, line: str) -> None:
        """Take one line."""
        self.append(line.removesuffix("\r\n") + "\n")
