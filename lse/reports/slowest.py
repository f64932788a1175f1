"""The runs that took longest, the slowest first."""

from lse.reports.engine import Listing

REPORT = Listing(
    columns=("seconds", "start_time", "project", "name", "type", "status", "model", "trace_id", "run_id"),
    slowest=20,
)
