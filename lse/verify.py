"""Compare the copies of a project day, by id and content hash. Reads values, writes nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar
from uuid import UUID

from lse.models import Inventory

Kind = Literal["missing", "differs", "extra", "damaged"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Difference:
    """One item on which two copies disagree."""

    kind: Kind
    copy: str
    """The copy that disagrees with the reference."""
    item: str
    """What it is about, such as `run <id> of trace <id>`."""

    def __str__(self) -> str:
        return {
            "missing": f"{self.item} is missing in {self.copy}",
            "differs": f"{self.item} differs in {self.copy}",
            "extra": f"{self.item} is only in {self.copy}",
            "damaged": f"{self.copy}: {self.item}",
        }[self.kind]


def compare(reference: Inventory, other: Inventory) -> Iterator[Difference]:
    """Where `other` disagrees with `reference`, in the order of ids. Damage in `other` comes first.

    What the store keeps in quarantine is there, but not as a row; it is no difference.
    """
    yield from damage(other)
    yield from _compare_runs(reference, other)
    for kind, feedback_id in _compare(reference.feedback, other.feedback):
        if kind != "missing" or reference.feedback[feedback_id] not in other.quarantined:
            yield Difference(kind, other.copy, f"feedback {feedback_id}")
    kept = other.unplaced | other.quarantined
    for content in sorted(reference.unplaced - kept):
        yield Difference("missing", other.copy, f"unplaced run with content {content}")
    if "store" not in (reference.copy, other.copy):
        yield from _compare_superseded(reference, other)


def _compare_runs(reference: Inventory, other: Inventory) -> Iterator[Difference]:
    """Run by run; a trace of several runs that is in one copy only is named once."""
    sizes = {"missing": _trace_sizes(reference), "extra": _trace_sizes(other), "differs": Counter[UUID]()}
    found: dict[tuple[Kind, UUID], list[UUID]] = defaultdict(list)
    for kind, run_id in _compare(reference.runs, other.runs):
        trace_id, content = reference.runs.get(run_id) or other.runs[run_id]
        if kind != "missing" or content not in other.quarantined:
            found[kind, trace_id].append(run_id)
    for (kind, trace_id), run_ids in found.items():
        if len(run_ids) > 1 and len(run_ids) == sizes[kind][trace_id]:
            yield Difference(kind, other.copy, f"trace {trace_id} with its {len(run_ids)} runs")
            continue
        for run_id in run_ids:
            yield Difference(kind, other.copy, f"run {run_id} of trace {trace_id}")


def _trace_sizes(inventory: Inventory) -> Counter[UUID]:
    return Counter(trace_id for trace_id, _ in inventory.runs.values())


def _compare_superseded(reference: Inventory, other: Inventory) -> Iterator[Difference]:
    """The store is an index of what runs are now; earlier texts are in the archive's own copies."""
    for content in sorted(reference.superseded ^ other.superseded):
        kind: Kind = "missing" if content in reference.superseded else "extra"
        yield Difference(kind, other.copy, f"earlier text with content {content}")


def damage(inventory: Inventory) -> Iterator[Difference]:
    """What of a copy could not be read."""
    for sentence in inventory.damage:
        yield Difference("damaged", inventory.copy, sentence)


def _compare(reference: Mapping[UUID, Value], other: Mapping[UUID, Value]) -> Iterator[tuple[Kind, UUID]]:
    for key in sorted(reference.keys() | other.keys()):
        if key not in other:
            yield "missing", key
        elif key not in reference:
            yield "extra", key
        elif reference[key] != other[key]:
            yield "differs", key
