"""How many tokens runs took.

LangSmith adds the tokens of a run's descendants to its own, so only runs of type `llm` count, and nothing
is counted twice. `--where type=embedding` asks for those of another type.
"""

from lse.models.filter import RunFilter
from lse.reports.engine import Grouped

REPORT = Grouped(
    by=("model",),
    measures=("runs", "prompt_tokens", "completion_tokens", "total_tokens"),
    most="total_tokens",
    where=RunFilter.parse(["type=llm"]),
)
