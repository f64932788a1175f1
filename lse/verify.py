"""Compare what copies of a project day hold, by id and content hash. Values in, values out."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from lse.models import Entries, Holding, read_entries

Kind = Literal["lost", "damaged", "differs", "missing", "extra"]

KINDS: tuple[Kind, ...] = ("lost", "damaged", "differs", "missing", "extra")
"""The worst first. `lost`: whole in no archive. `damaged`: not as it was written. `differs`: other content
than the reference. `missing`: not there, but in a better copy. `extra`: there, but not in the reference."""

NOTES = ("record", "log")
"""What stands beside the archive, `_fetch.json` and `_log.jsonl`: no run is concerned when it is damaged."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One item on which two copies disagree."""

    kind: Kind
    copy: str
    """The copy that disagrees with the reference: `files`, `zip`, `target`, `store`, `ledger`; of `NOTES`"""
    item: str
    """What it is about, such as `run <id> of trace <id>`; of a damaged copy, what was found"""
    trace_id: UUID | None = None
    run_ids: tuple[UUID, ...] = ()
    """The runs that it is about, where it is about runs"""
    feedback_id: UUID | None = None

    def __str__(self) -> str:
        return {
            "lost": f"{self.item} is lost: whole in no archive",
            "missing": f"{self.item} is missing in {self.copy}",
            "differs": f"{self.item} differs in {self.copy}",
            "extra": f"{self.item} is only in {self.copy}",
            "damaged": f"{self.copy}: {self.item}",
        }[self.kind]

    def each(self) -> "Iterator[Difference]":
        """This difference, or one for each of its runs where it is about several."""
        if len(self.run_ids) < 2:
            yield self
        for run_id in self.run_ids if len(self.run_ids) > 1 else ():
            yield of_run(self.kind, self.copy, self.trace_id, run_id)


def by_severity(differences: Iterable[Difference]) -> list[Difference]:
    """The worst first, notes last; of one kind in the order they were found."""
    return sorted(differences, key=lambda each: (each.copy in NOTES, KINDS.index(each.kind)))


def kinds_of(differences: Iterable[Difference]) -> dict[str, int]:
    """How many differences there are of each kind that there is one of, the worst first; `notes` last."""
    found = Counter("notes" if each.copy in NOTES else each.kind for each in differences)
    return {kind: found[kind] for kind in (*KINDS, "notes") if found[kind]}


def compare_runs(
    trace_id: UUID, reference: Holding, other: Holding, copy: str, excused: Container[UUID] = frozenset()
) -> Iterator[Difference]:
    """Run by run, where `copy`, which holds `other`, disagrees; a trace that is in one only is named once.

    What `excused` holds by its content hash, as the store's quarantine does, is not missed.
    """
    if reference.runs == other.runs:
        return
    wanted, found = dict(read_entries(reference.runs)), dict(read_entries(other.runs))
    missing = tuple(run for run in wanted if run not in found and wanted[run] not in excused)
    yield from _grouped("missing", copy, trace_id, missing, whole=not found)
    for run_id in wanted:
        if run_id in found and found[run_id] != wanted[run_id]:
            yield of_run("differs", copy, trace_id, run_id)
    extra = tuple(run for run in found if run not in wanted)
    yield from _grouped("extra", copy, trace_id, extra, whole=not wanted)


def compare_feedback(
    reference: Entries, other: Entries, copy: str, excused: Container[UUID] = frozenset()
) -> Iterator[Difference]:
    """As `compare_runs`, for feedback, by id."""
    if reference == other:
        return
    wanted, found = dict(read_entries(reference)), dict(read_entries(other))
    for item in sorted(wanted.keys() | found.keys()):
        if item not in found:
            if wanted[item] not in excused:
                yield _of_feedback("missing", copy, item)
        elif item not in wanted:
            yield _of_feedback("extra", copy, item)
        elif found[item] != wanted[item]:
            yield _of_feedback("differs", copy, item)


def of_run(kind: Kind, copy: str, trace_id: UUID | None, run_id: UUID) -> Difference:
    """A difference about one run."""
    return Difference(kind, copy, f"run {run_id} of trace {trace_id}", trace_id, (run_id,))


def _of_feedback(kind: Kind, copy: str, feedback_id: UUID) -> Difference:
    return Difference(kind, copy, f"feedback {feedback_id}", feedback_id=feedback_id)


def _grouped(
    kind: Kind, copy: str, trace_id: UUID, run_ids: tuple[UUID, ...], *, whole: bool
) -> Iterator[Difference]:
    if whole and len(run_ids) > 1:
        yield Difference(kind, copy, f"trace {trace_id} with its {len(run_ids)} runs", trace_id, run_ids)
        return
    for run_id in run_ids:
        yield of_run(kind, copy, trace_id, run_id)
