"""`metrics`: the archive in numbers, in the text format that Prometheus reads.

Sweeps are short processes, so nothing is counted in memory: every number is asked of the ledger, the events
and the request budget.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lse.resources import Resources
from lse.store.queries import read_queries

_SQL = read_queries("metrics.sql")

METRICS = (
    ("lse_archive_lag_seconds", "gauge", "lag", "Since the end of the last day proved complete."),
    ("lse_last_complete_timestamp_seconds", "gauge", "last_complete", "The end of that day, Unix time."),
    ("lse_runs_archived_total", "gauge", "archived", "Runs that the last fetches brought."),
    ("lse_runs_quarantined", "gauge", "quarantined", "Runs that could not be loaded."),
    ("lse_partition_state", "gauge", "states", "Project days by state."),
    ("lse_step_failures", "gauge", "failures", "Failures of steps, for as long as events are kept."),
    ("lse_breaker_state", "gauge", "resting", "1 while LangSmith is left alone, since it did not answer."),
    ("lse_verify_differences", "gauge", "differences", "Differences that the last comparisons found."),
    (
        "lse_drive_bytes_total",
        "gauge",
        "uploaded_bytes",
        "Bytes of the zips that were proved to be in Drive.",
    ),
)
"""Name, type, query and meaning of each but the histogram."""


def metrics(resources: Resources) -> str:
    """Every metric as one text, ending in a newline. Needs the store."""
    return "".join(f"{line}\n" for line in _lines(resources))


def _lines(resources: Resources) -> Iterator[str]:
    for name, kind, query, meaning in METRICS:
        yield from _head(name, kind, meaning)
        for row in _rows(resources, query):
            yield _sample(name, row.pop("value"), **row)
    name = "lse_step_seconds"
    yield from _head(name, "histogram", "How long a step of a sweep took.")
    for row in _rows(resources, "step_seconds"):
        bound = "+Inf" if row["le"] == float("inf") else f"{row['le']:g}"
        yield _sample(f"{name}_bucket", row["value"], step=row["step"], le=bound)
        if bound == "+Inf":
            yield _sample(f"{name}_sum", row["total"], step=row["step"])
            yield _sample(f"{name}_count", row["value"], step=row["step"])


def _head(name: str, kind: str, meaning: str) -> Sequence[str]:
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"


def _sample(name: str, value: float, **labels: str) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value:.15g}" if shown else f"{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _rows(resources: Resources, name: str) -> list[dict[str, Any]]:
    return resources.store.query(_SQL[name].decode(), {})
