"""Build a dataset: traces in, one after the other; canonical lines out, whatever the order they came in."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from lse.datasets import DatedRuns, NoExamples, Recipe
from lse.datasets._hashing import canonical
from lse.datasets._mapping import Dropped, Mapper
from lse.datasets._selection import Entry, entry_of, part_of, select
from lse.datasets._traces import TraceDocument, traces
from lse.models import ProjectDay

_IN_MEMORY = 32 * 2**20
"""Bytes of examples that are kept in memory; more go to a temporary file."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many traces there were and what became of them; `kept` and `dropped` add up to `considered`."""

    considered: int
    kept: int
    dropped: dict[str, int]
    """By reason."""
    split: dict[str, int]
    """Examples in each part; empty when the recipe does not split."""


def summary_lines(
    considered: int, kept: int, dropped: Mapping[str, int], split: Mapping[str, int]
) -> list[str]:
    """What became of the traces, for people."""
    said = [f"{considered:,} traces considered, {kept:,} kept"]
    said += [f"{count:,} dropped: {reason}" for reason, count in dropped.items()]
    return said + [f"{count:,} in {name}" for name, count in split.items()]


class Built:
    """A dataset that was built: its lines in order, their hash, and what became of the traces."""

    def __init__(self, spool: IO[bytes], entries: list[Entry], summary: Summary) -> None:
        self._spool = spool
        self._entries = entries
        self.summary = summary
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        self.sha256 = digest.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """Each example as a line of LangSmith's JSONL, with its line end; may be asked for repeatedly."""
        for entry in self._entries:
            self._spool.seek(entry.offset)
            yield self._spool.read(entry.size)


@contextmanager
def build(days: DatedRuns, recipe: Recipe, window: str) -> Iterator[Built]:
    """The dataset that `recipe` makes of the runs of `days`; each run is looked at once and let go.

    `window` names the days, such as `2025-09-01/2025-09-30`.

    Raises `NoExamples` when no trace becomes an example.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        intake = _Intake(recipe, window, spool)
        for day, runs in days:
            for trace in traces(runs, recipe.rules.feedback):
                intake.take(trace, day)
        kept = select(intake.entries, recipe.rules, intake.dropped)
        summary = _summary(intake, kept)
        if not kept:
            raise _nothing(summary, recipe)
        yield Built(spool, kept, summary)


class _Intake:
    """Takes traces in: examples go to the spool, their keys and the reasons of the others stay."""

    def __init__(self, recipe: Recipe, window: str, spool: IO[bytes]) -> None:
        self._recipe = recipe
        self._mapper = Mapper(recipe, window)
        self._spool = spool
        self.entries: list[Entry] = []
        self.dropped: Counter[str] = Counter()
        self.considered = 0

    def take(self, trace: TraceDocument, day: ProjectDay) -> None:
        """Make an example of `trace`, or count why it is none."""
        self.considered += 1
        try:
            example = self._mapper.example(trace, day)
        except Dropped as reason:
            self.dropped[str(reason)] += 1
            return
        rules = self._recipe.rules
        if rules.split is not None:
            example.metadata["dataset_split"] = [part_of(example, rules.split)]
        line = canonical(self._mapper.redacted(example).document()) + b"\n"
        offset = self._spool.tell()
        self._spool.write(line)
        self.entries.append(entry_of(example, trace.started, rules, offset=offset, size=len(line)))


def _nothing(summary: Summary, recipe: Recipe) -> NoExamples:
    said = summary_lines(summary.considered, 0, summary.dropped, {})
    question = (
        f"Is {recipe.name} the right recipe?"
        if summary.considered
        else "The store has no trace of these days: `lse archive list` shows what there is."
    )
    return NoExamples(
        f"No trace became an example: {'; '.join(said)}.", hint=f"{question} Nothing was written."
    )


def _summary(intake: _Intake, kept: list[Entry]) -> Summary:
    parts = Counter(entry.part for entry in kept if entry.part)
    return Summary(intake.considered, len(kept), _counts(intake.dropped), _counts(parts))


def _counts(counted: Mapping[str, int]) -> dict[str, int]:
    """The largest first; without those that did not happen."""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return {name: count for name, count in ordered if count}
