"""Feedback in memory, and the statistics that runs show of it."""

import json
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import stdev
from typing import Any

from lse.sandbox.langsmith import times

_FIELDS = (
    "id",
    "created_at",
    "modified_at",
    "run_id",
    "trace_id",
    "session_id",
    "start_time",
    "key",
    "score",
    "value",
    "comment",
    "correction",
    "feedback_source",
    "feedback_group_id",
    "comparative_experiment_id",
    "extra",
)
_ONLY_SENT = frozenset({"feedback_config", "extend_trace_retention", "address", "error"})
CHANGEABLE = ("score", "value", "correction", "comment")


@dataclass(frozen=True, eq=False)
class Feedback:
    """One piece of feedback: `members` is the exact JSON text per key, `values` the same as Python values."""

    members: Mapping[str, bytes]
    values: Mapping[str, Any]
    id: str
    run_id: str | None
    key: str
    created: datetime
    modified: datetime

    @property
    def order(self) -> tuple[datetime, str]:
        """Oldest first, then by id."""
        return self.created, self.id

    @property
    def extends_retention(self) -> bool:
        """Whether it moves its trace to the long retention, which is LangSmith's default."""
        return self.run_id is not None and self.values.get("extend_trace_retention") is not False

    def text(self) -> bytes:
        """The feedback as the API shows it."""
        stamps = {
            "created_at": f'"{times.naive(self.created)}"'.encode(),
            "modified_at": f'"{times.naive(self.modified)}"'.encode(),
        }
        shown = dict.fromkeys(_FIELDS, b"null") | dict(self.members) | stamps
        pairs = (json.dumps(k).encode() + b":" + v for k, v in shown.items() if k not in _ONLY_SENT)
        return b"{" + b",".join(pairs) + b"}"


class FeedbackStore:
    """All feedback, found by id, by run, and in order of creation."""

    def __init__(self) -> None:
        self._by_id: dict[str, Feedback] = {}
        self._by_run: dict[str, list[Feedback]] = {}

    def __iter__(self) -> Iterator[Feedback]:
        return iter(self._by_id.values())

    def get(self, feedback_id: str) -> Feedback | None:
        """The feedback with this id."""
        return self._by_id.get(feedback_id.lower())

    def put(self, item: Feedback) -> None:
        """Keep `item`, in place of the feedback with the same id."""
        if known := self._by_id.get(item.id):
            self.drop(known)
        self._by_id[item.id] = item
        if item.run_id is not None:
            insort(self._by_run.setdefault(item.run_id, []), item, key=lambda each: each.order)

    def drop(self, item: Feedback) -> None:
        """Forget `item`."""
        del self._by_id[item.id]
        if item.run_id is not None:
            self._by_run[item.run_id].remove(item)

    def on(self, run_id: str) -> Sequence[Feedback]:
        """The feedback on a run, oldest first."""
        return self._by_run.get(run_id, ())

    def find(self, run_ids: Sequence[str], keep: Callable[[Feedback], bool]) -> list[Feedback]:
        """What `keep` accepts, on these runs or (without any) of all there is; latest first."""
        pool: Iterable[Feedback] = (
            (item for run_id in dict.fromkeys(run_ids) for item in self.on(run_id.lower()))
            if run_ids
            else self._by_id.values()
        )
        return sorted((item for item in pool if keep(item)), key=lambda each: each.order, reverse=True)


def stats(items: Sequence[Feedback], *, detailed: bool = False) -> dict[str, Any] | None:
    """Per key: how many, the mean of the numeric scores, and counts of the categories; None without feedback.

    `detailed` adds what only the v2 API shows.
    """
    by_key: dict[str, list[Feedback]] = {}
    for item in items:
        by_key.setdefault(item.key, []).append(item)
    return {key: _key_stats(group, detailed) for key, group in by_key.items()} or None


def _key_stats(group: Sequence[Feedback], detailed: bool) -> dict[str, Any]:
    scores = [float(s) for item in group if isinstance(s := item.values.get("score"), int | float)]
    labels: dict[str, int] = {}
    for item in group:
        if isinstance(label := item.values.get("value"), str):
            labels[label] = labels.get(label, 0) + 1
    shown: dict[str, Any] = {
        "n": len(group),
        "avg": sum(scores) / len(scores) if scores else None,
        "values": labels,
    }
    if not detailed:
        return shown | {"show_feedback_arrow": False}
    return shown | {
        "min": min(scores, default=None),
        "max": max(scores, default=None),
        "stdev": stdev(scores) if len(scores) > 1 else None,
        "errors": sum(item.values.get("error") is True for item in group),
        "comments": [text for item in group if isinstance(text := item.values.get("comment"), str)],
        "sources": sorted({_source(item) for item in group}),
        "contains_thread_feedback": False,
    }


def _source(item: Feedback) -> str:
    source = item.values.get("feedback_source")
    return str(source.get("type")) if isinstance(source, dict) else "api"
