"""How many traces had a failed `zenrows_scraper` run, per day.

A trace counts once, however many of its scraper runs failed and at whatever depth. A run failed when its
name is exactly `zenrows_scraper` and its status is not `success`: one that is missing or still pending
did not succeed either.
"""

from lse.models.filter import named
from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("day",),
    measures=("traces", "failed_traces", "error_rate"),
    most="failed_traces",
    subject=named("zenrows_scraper"),
    titles=("Date", "Total Traces", "Zenrows Errors", "Error Rate"),
    takes=(),
)
