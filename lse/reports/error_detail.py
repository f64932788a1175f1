"""Every failed run: when, where, and with which message.

The message is cut to 300 characters; `lse runs show` has the whole one.
"""

from lse.reports.engine import Listing

REPORT = Listing(
    columns=("start_time", "project", "name", "type", "status", "trace_id", "run_id", "fingerprint", "error"),
    failed_only=True,
    takes=("where", "top", "name"),
)
