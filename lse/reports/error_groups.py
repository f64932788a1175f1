"""Failed runs whose messages say the same: how many, first and last seen, and which are new.

Messages say the same when they differ only in numbers, ids, addresses, paths and quoted texts. An error is
new when it was first seen on the last day asked for, or since `--new-since`; the days before say what is old.
"""

from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("fingerprint", "error"),
    measures=("errors", "failed_traces", "first_seen", "last_seen", "new"),
    most="errors",
    failed_only=True,
    takes=("by", "where", "top", "name", "new_since"),
)
