"""What runs cost in US dollars, exact to the last digit that LangSmith gave.

LangSmith adds the cost of a run's descendants to its own, so only runs of type `llm` count, and nothing
is counted twice. `--where type=tool` asks for those of another type.
"""

from lse.models.filter import RunFilter
from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("model",),
    measures=("runs", "prompt_cost", "completion_cost", "total_cost"),
    most="total_cost",
    where=RunFilter.parse(["type=llm"]),
)
