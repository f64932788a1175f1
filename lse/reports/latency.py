"""How long runs took: the exact percentiles of the seconds from start to end, by nearest rank."""

from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("name",),
    measures=("runs", "p50_seconds", "p90_seconds", "p95_seconds", "p99_seconds"),
    most="p95_seconds",
)
