"""Charts as SVG: lines over time, bars over anything else. Pointing at a point or bar shows its value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
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
_MOST_TIMES = 7
"""Labels below a chart: so many dates stand side by side without touching"""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _FLOOR = 760, 240, 70, 740, 32, 212
_ROW, _LONGEST, _VALUES = 16, 36, 80
_LETTER = 7.5
"""About the width of a letter"""


@dataclass(frozen=True, slots=True)
class _Chart:
    """Numbers to draw: a label for each place, and a value of each series there."""

    title: str
    labels: list[str]
    series: dict[str, list[float | None]]

    @property
    def most(self) -> float:
        """The largest value, or 1 where there is none."""
        return max((value for values in self.series.values() for value in values if value), default=1.0)


def charts(table: Table) -> str:
    """The charts that suit the columns of a table grouped by something, as HTML; nothing for other tables.

    Grouped by time alone, several groups are drawn as lines in its order, otherwise the first 20 as bars.
    """
    by = (table.about or {}).get("by")
    if not by or not table.rows:
        return ""
    over_time = by in _TIMES and len(table.rows) > 1
    rows = sorted(table.rows, key=lambda row: str(row[0])) if over_time else table.rows[:_MOST_BARS]
    labels = [", ".join(one_line(str(cell)) or "none" for cell in row[: len(by)]) for row in rows]
    cut = "" if len(rows) == len(table.rows) else f", the first {len(rows)} of {len(table.rows):,}"
    drawn = ""
    for kind, columns in _KINDS.items():
        if series := _series(table.columns, rows, columns):
            chart = _Chart(f"{kind}{cut}", labels, series)
            svg = _lines(chart) if over_time else _bars(chart)
            drawn += f"<figure>\n<figcaption>{chart.title}</figcaption>\n{svg}</figure>\n"
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
    ticks = _ticks(chart.most)
    height = (_FLOOR - _TOP) / ticks[-1]
    parts = [_legend(chart, _LEFT)]
    for tick in ticks:
        y = _FLOOR - tick * height
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(_label(_LEFT - 8, y + 4, _short(tick), "end"))
    step = (_RIGHT - _LEFT) / (len(chart.labels) - 1)
    across = [_LEFT + place * step for place in range(len(chart.labels))]
    for place in range(0, len(across), math.ceil(len(across) / _MOST_TIMES)):
        last = across[place] > _RIGHT - 5 * _LETTER  # would be cut off if it were centred
        parts.append(_label(across[place], _FLOOR + 20, chart.labels[place], "end" if last else "middle"))
    for number, (name, values) in enumerate(chart.series.items()):
        points = [
            None
            if value is None
            else (f"{x:.1f}", f"{_FLOOR - value * height:.1f}", _said(name, label, value))
            for x, label, value in zip(across, chart.labels, values, strict=True)
        ]
        parts += _line(number, points)
    return _svg(chart, parts, _HEIGHT)


def _line(number: int, points: list[tuple[str, str, str] | None]) -> list[str]:
    """A line with a gap where nothing is known, and a dot for each point."""
    drawn, dots, pen = "", [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        x, y, said = point
        drawn += f"{pen}{x} {y}"
        dots.append(f'<circle class="s{number}" cx="{x}" cy="{y}" r="2">{said}</circle>')
        pen = "L"
    return [f'<path class="s{number}" d="{drawn}"/>', *dots] if dots else []


def _bars(chart: _Chart) -> str:
    shown = [label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…" for label in chart.labels]
    left = 16 + max(map(len, shown)) * _LETTER
    scale = (_WIDTH - _VALUES - left) / chart.most
    parts, top = [_legend(chart, left)], _TOP
    for place, label in enumerate(chart.labels):
        parts.append(_label(left - 8, top + 3 + len(chart.series) * _ROW / 2, shown[place], "end"))
        for number, (name, values) in enumerate(chart.series.items()):
            if (value := values[place]) is not None:  # nothing for what is not known
                width = max(value, 0) * scale
                size = f'x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_ROW - 3}"'
                parts.append(f'<rect class="s{number}" {size}>{_said(name, label, value)}</rect>')
                parts.append(_label(left + width + 6, top + 11, _exact(value)))
            top += _ROW
        top += 8
    return _svg(chart, parts, top)


def _ticks(most: float) -> list[float]:
    """From 0 to `most` or somewhat more in about four steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= most / 4 * (1 - 1e-9))
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def _short(value: float) -> str:
    """A value for the margin of a chart."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{_exact(value / size)}{letter}"
    return _exact(value)


def _exact(value: float) -> str:
    """A value to four digits or to the whole number, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{Decimal(f'{value:.4g}'):f}"


def _said(name: str, label: str, value: float) -> str:
    """What pointing at a value shows."""
    return f"<title>{escape(label)}: {_name(name)} {_exact(value)}</title>"


def _name(series: str) -> str:
    return series.removesuffix("_seconds").replace("_", " ")


def _legend(chart: _Chart, left: float) -> str:
    drawn, x = "", left
    for number, name in enumerate(map(_name, chart.series)):
        drawn += f'<circle class="s{number}" cx="{x + 4:.1f}" cy="10" r="4"/>{_label(x + 14, 14, name)}'
        x += 40 + len(name) * _LETTER
    return drawn


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(chart: _Chart, parts: list[str], height: float) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" aria-label="{chart.title}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
