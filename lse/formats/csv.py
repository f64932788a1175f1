"""Comma-separated values after RFC 4180, with `\\n` line ends and formulas made inert."""

import csv

from lse.formats import Table, inert_cells


def render(table: Table) -> str:
    """A header line and one line per row; the last one ends with a line break, no blank line follows."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(table.columns)
    commas = len(table.columns) - 1
    for cells in map(inert_cells, table.rows):
        line = ",".join(cells)
        if _is_plain(line, commas):
            lines.append(f"{line}\n")
        else:
            writer.writerow(cells)
    return "".join(lines)


def _is_plain(line: str, commas: int) -> bool:
    """Whether no cell of `line` has to be quoted; asked of a whole line, a third of the writer's time."""
    return (
        line != "" and line.count(",") == commas and '"' not in line and "\n" not in line and "\r" not in line
    )


class _Lines(list[str]):
    """Lines, written with both kinds of line break as their end, so that either is quoted in a cell."""

    def write(self, line: str) -> None:
        """Take one line."""
        self.append(line.removesuffix("\r\n") + "\n")
