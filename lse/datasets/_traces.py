"""Traces as recipes see them: runs with the root first, read only as far as somebody asks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from lse.datasets import Feedback, TracedRun
from lse.datasets._feedback import counts, records_of
from lse.datasets._hashing import exact
from lse.datasets._paths import Path, values_at
from lse.models import Run, parse_run
from lse.models.filter import Condition

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RunDocument:
    """One run as JSON; a member is only made when it is asked for."""

    def __init__(self, row: TracedRun, rule: Feedback | None) -> None:
        self.id = row.run_id
        self._row = row
        self._rule = rule
        self._members: dict[str, msgspec.Raw] | None = None
        self._values: dict[str, Any] = {}

    def member(self, name: str) -> Any:
        """The run's top-level value `name`; None when it has none."""
        if name not in self._values:
            if self._members is None:
                self._members = _MEMBERS.decode(self._row.data)
            raw = self._members.get(name)
            self._values[name] = None if raw is None else exact(raw)
        return self._values[name]

    @cached_property
    def feedback(self) -> list[dict[str, Any]]:
        """The feedback records on this run, oldest first, each with its verdict."""
        if not _may_be_judged(self._row):
            return []
        sent = exact(self._row.feedback) if self._row.feedback else []
        return records_of(sent, self.member("feedback_stats"), self._rule)

    @cached_property
    def latest_feedback(self) -> dict[str, Any]:
        """Of each key the latest record."""
        rule = self._rule
        return {
            record["key"]: record
            for record in self.feedback
            if rule is None or record["key"] != rule.key or counts(record, rule)
        }

    def meets(self, condition: Condition) -> bool:
        """Whether the run meets a condition of the kind that reports have."""
        return condition.matches(self._run, self._row.data.encode())

    @cached_property
    def _run(self) -> Run:
        return parse_run(self._row.data.encode())

    def first(self, paths: Iterable[Path], fitting: Callable[[Any], Any]) -> Any:
        """The first value that `paths` lead to in this run of which `fitting` makes one; None when none."""
        for path in paths:
            member = path[0]
            top = self.latest_feedback if member == "feedback" else self.member(str(member))
            for value in values_at(top, path[1:]):
                if (found := fitting(value)) is not None:
                    return found
        return None


class TraceDocument:
    """A trace: its root, and its runs with the root first and the others in dotted order."""

    def __init__(self, trace_id: str, rows: Sequence[TracedRun], rule: Feedback | None = None) -> None:
        self.id = trace_id
        self._rule = rule
        self._others = {row.run_id: row for row in rows}
        row = self._others.pop(trace_id, None)
        self.root = RunDocument(row, rule) if row else None
        """The root run; None when it is not archived."""
        self.started = row.started if row else 0
        """When the root started, in microseconds since 1970."""

    @cached_property
    def _children(self) -> list[RunDocument]:
        runs = [RunDocument(row, self._rule) for row in self._others.values()]
        return sorted(runs, key=lambda run: (str(run.member("dotted_order") or ""), run.id))

    def runs(self) -> Iterator[RunDocument]:
        """The root, then its descendants; those are only read when the root did not suffice."""
        if self.root is not None:
            yield self.root
        yield from self._children

    def judged(self) -> Iterator[RunDocument]:
        """The root, and its descendants when one of them may have feedback; else none of those is read."""
        if self.root is not None:
            yield self.root
        if any(map(_may_be_judged, self._others.values())):
            yield from self._children


def _may_be_judged(row: TracedRun) -> bool:
    """Whether there may be feedback on a run; takes a fraction of the time of reading it."""
    return row.feedback is not None or '"comments"' in row.data or '"verdict"' in row.data


def traces(rows: Iterable[TracedRun], rule: Feedback | None = None) -> Iterator[TraceDocument]:
    """The traces of `rows`, in which the runs of a trace stand together."""
    for trace_id, members in groupby(rows, key=attrgetter("trace_id")):
        yield TraceDocument(trace_id, list(members), rule)
