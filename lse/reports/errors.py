"""How many traces had a failed run, and how many runs failed.

A run failed when its status is not `success`: one that is missing or still pending did not succeed either.
With `--name`, only runs of that name can count as failed; all traces count as before. So
`lse report errors --name zenrows_scraper` has the figures of zenrows-errors.
"""

from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("day",),
    measures=("traces", "failed_traces", "error_percent", "runs", "errors", "pending"),
    most="errors",
    takes=("by", "where", "top", "name"),
)
