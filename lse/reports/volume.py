"""How many traces and runs there were."""

from lse.reports.engine import Grouped

REPORT = Grouped(by=("day",), measures=("traces", "runs"), most="runs")
