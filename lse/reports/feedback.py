"""What people and evaluators said: how many records of feedback, and their average score.

A record counts for the day of the trace it is about. Records without a score, such as comments, are in
`feedback` and not in the average.
"""

from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("key",), measures=("feedback", "scored", "average_score"), most="feedback", reads="feedback"
)
