"""Aggregates over runs, as `POST /runs/stats` and projects show them."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from lse.sandbox.langsmith import feedback, times
from lse.sandbox.langsmith.feedback import Feedback
from lse.sandbox.langsmith.runs import Run
from lse.sandbox.langsmith.usage import total


def run_stats(runs: Sequence[Run], feedback_on: Callable[[str], Iterable[Feedback]]) -> dict[str, Any]:
    """Counts, latencies in seconds, tokens, costs and feedback of `runs`, which come in order of start.

    Tokens and costs are summed over the runs that state them, so that parents do not count them again.
    """
    latencies = sorted(run.latency for run in runs if run.latency is not None)
    usages = [run.usage for run in runs if run.usage is not None]
    tokens = sorted(usage.total_tokens for usage in usages)
    waits = sorted((at - run.start).total_seconds() for run in runs if (at := run.first_token) is not None)
    errors = sum(run.status == "error" for run in runs)
    summed = total(usages)
    return {
        "run_count": len(runs),
        "latency_p50": percentile(latencies, 0.5),
        "latency_p99": percentile(latencies, 0.99),
        "first_token_p50": percentile(waits, 0.5),
        "first_token_p99": percentile(waits, 0.99),
        "total_tokens": summed.total_tokens,
        "prompt_tokens": summed.prompt_tokens,
        "completion_tokens": summed.completion_tokens,
        "median_tokens": percentile(tokens, 0.5),
        "total_cost": _float(summed.total_cost),
        "prompt_cost": _float(summed.prompt_cost),
        "completion_cost": _float(summed.completion_cost),
        "error_rate": errors / len(runs) if runs else None,
        "streaming_rate": len(waits) / len(runs) if runs else None,
        "feedback_stats": feedback.stats([item for run in runs for item in feedback_on(run.id)]),
        "last_run_start_time": times.naive(runs[-1].start) if runs else None,
    }


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the ordered values lie (nearest rank); None without values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def _float(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)
