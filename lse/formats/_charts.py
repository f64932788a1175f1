"""Charts as SVG: lines over time, bars over anything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lse.formats import Cell, Table, one_line

_KINDS = {
    "Error rate in percent": ("error_percent", "error_rate"),
    "Volume": ("traces", "runs", "total_traces"),
    "Latency in seconds": ("p50_seconds", "p90_seconds", "p95_seconds", "p99_seconds"),
    "Cost in US dollars": ("total_cost",),
}
"""The charts by title, each with the columns that it shows when the table has them."""
_TIMES = (["day"], ["week"], ["month"])
_MOST_BARS = 20
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 220, 70, 24, 24
_ROW, _NAMES, _LONGEST = 16, 260, 36


@dataclass(frozen=True, slots=True)
class _Chart:
    """Numbers to draw: a label for each place, and a value of each series there."""

    labels: list[str]
    series: dict[str, list[float | None]]

    @property
    def most(self) -> float:
        """The largest value, or 1 where there is none."""
        return max((value for values in self.series.values() for value in values if value), default=1.0)


def charts(table: Table) -> str:
    """The charts that suit the columns of a table grouped by something, as HTML; nothing for other tables.

    Grouped by time alone, the groups are drawn as lines in its order, otherwise the first 20 as bars.
    """
    by = (table.about or {}).get("by")
    if not by or not table.rows:
        return ""
    over_time = by in _TIMES
    rows = sorted(table.rows, key=lambda row: str(row[0])) if over_time else table.rows[:_MOST_BARS]
    labels = [", ".join(one_line(str(cell)) for cell in row[: len(by)]) for row in rows]
    drawn = ""
    for title, columns in _KINDS.items():
        series = _series(table.columns, rows, columns)
        if series:
            svg = (_lines if over_time else _bars)(_Chart(labels, series))
            cut = "" if len(rows) == len(table.rows) else f", the first {len(rows)} of {len(table.rows):,}"
            drawn += f"<figure>\n<figcaption>{title}{cut}</figcaption>\n{svg}</figure>\n"
    return drawn


def _series(
    names: Sequence[str], rows: Sequence[Sequence[Cell]], columns: Sequence[str]
) -> dict[str, list[float | None]]:
    places = {name.lower().replace(" ", "_"): place for place, name in enumerate(names)}
    return {name: [_number(row[places[name]]) for row in rows] for name in columns if name in places}


def _number(cell: Cell) -> float | None:
    """The cell as a number, a percentage among them."""
    return float(cell.removesuffix("%") if isinstance(cell, str) else cell) if cell is not None else None


def _lines(chart: _Chart) -> str:
    step = (_WIDTH - _LEFT - 20) / max(len(chart.labels) - 1, 1)
    scale = (_HEIGHT - _TOP - _BOTTOM) / chart.most
    floor = _HEIGHT - _BOTTOM
    parts = [
        _legend(chart),
        f'<path class="axis" d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - 20}"/>',
        _label(_LEFT - 6, _TOP + 4, _short(chart.most), "end"),
        _label(_LEFT - 6, floor, "0", "end"),
        _label(_LEFT, _HEIGHT - 6, chart.labels[0]),
    ]
    if len(chart.labels) > 1:
        parts.append(_label(_WIDTH - 20, _HEIGHT - 6, chart.labels[-1], "end"))
    for number, values in enumerate(chart.series.values()):
        points = [
            None if value is None else (f"{_LEFT + place * step:.1f}", f"{floor - value * scale:.1f}")
            for place, value in enumerate(values)
        ]
        parts += _line(number, points)
    return _svg(parts, _HEIGHT)


def _line(number: int, points: list[tuple[str, str] | None]) -> list[str]:
    """A line with a gap where nothing is known, and a dot for each point."""
    drawn, dots, pen = "", [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        drawn += f"{pen}{point[0]} {point[1]}"
        dots.append(f'<circle class="s{number}" cx="{point[0]}" cy="{point[1]}" r="2"/>')
        pen = "L"
    return [f'<path class="s{number}" d="{drawn}"/>', *dots] if dots else []


def _bars(chart: _Chart) -> str:
    scale = (_WIDTH - _NAMES - 100) / chart.most
    parts, top = [_legend(chart)], _TOP
    for place, label in enumerate(chart.labels):
        shown = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
        parts.append(_label(_NAMES - 6, top + 11, shown, "end"))
        for number, values in enumerate(chart.series.values()):
            parts += _bar(number, top, values[place], scale)
            top += _ROW
        top += 4
    return _svg(parts, top)


def _bar(number: int, top: int, value: float | None, scale: float) -> list[str]:
    """A bar with its value behind it; nothing for what is not known."""
    if value is None:
        return []
    width = max(value, 0) * scale
    bar = f'<rect class="s{number}" x="{_NAMES}" y="{top}" width="{width:.1f}" height="{_ROW - 4}"/>'
    return [bar, _label(_NAMES + width + 6, top + 11, _short(value))]


def _short(value: float) -> str:
    """A value to read beside a chart, to four digits or to the whole number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _legend(chart: _Chart) -> str:
    return "".join(
        f'<text class="s{number}" x="{_LEFT + number * 130}" y="14">{name.replace("_", " ")}</text>'
        for number, name in enumerate(chart.series)
    )


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: list[str], height: int) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
