"""How well a project is archived, as a score from 0 to 100 that says what it is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from lse.store import LedgerEntry


@dataclass(frozen=True, slots=True)
class HealthPart:
    """One part of the score."""

    name: str
    points: int
    of: int
    """Points that there are to be had"""
    why: str
    """The rule, with the figures that it was given"""


@dataclass(frozen=True, slots=True)
class Health:
    """The score of one project, from 0 to 100, and its parts, whose points add up to it."""

    score: int
    parts: tuple[HealthPart, ...]


def health(entries: Sequence[LedgerEntry], yesterday: date, *, ledger: bool, target: bool) -> Health:
    """The score of a project with `entries`.

    `ledger` says whether the ledger could be read: what only it knows gives no points without. `target` says
    whether archives are to be uploaded at all.

    40 points are for days that are proved complete, 20 for uploads, 20 for comparisons of the copies: each
    times the share of days that have it, rounded down. 10 each are for an empty quarantine, and for no step
    that failed when it was last tried. A project of which nothing is archived has none.
    """
    archived = [entry.run_date for entry in entries if entry.fetched_at or entry.packed_at or entry.loaded_at]
    if not archived:
        return Health(0, ())
    parts = tuple(_parts(entries, min(archived), yesterday, ledger=ledger, target=target))
    return Health(sum(part.points for part in parts), parts)


def _parts(
    entries: Sequence[LedgerEntry], first: date, yesterday: date, *, ledger: bool, target: bool
) -> Iterator[HealthPart]:
    complete = sum(entry.complete is True and entry.run_date <= yesterday for entry in entries)
    with_runs = [entry for entry in entries if entry.runs or entry.packed_at or entry.loaded_at]
    uploaded = sum(entry.uploaded_at is not None for entry in with_runs)
    agree = sum(entry.verified_at is not None and not entry.differences for entry in with_runs)
    quarantined = sum(entry.quarantined or 0 for entry in entries)
    failed = sum(entry.failed_step is not None for entry in entries)
    due = max((yesterday - first).days + 1, 0)
    yield _share("complete", 40, complete, due, f"days since {first} are proved complete")
    if target:
        part = _share("uploaded", 20, uploaded, len(with_runs), "days with runs are in the target")
        yield _as_known(part, ledger)
    else:
        yield HealthPart("uploaded", 20, 20, "no target is set")
    part = _share("verified", 20, agree, len(with_runs), "days with runs have copies that were equal")
    yield _as_known(part, ledger)
    yield _as_known(_none("quarantine", 10, quarantined, "runs could not be loaded"), ledger)
    yield _none("failures", 10, failed, "days on which the last try of a step failed")


def _as_known(part: HealthPart, ledger: bool) -> HealthPart:
    """The part, without points where the ledger that it comes from could not be read."""
    return part if ledger else replace(part, points=0, why="the ledger cannot be read")


def _share(name: str, of: int, good: int, total: int, what: str) -> HealthPart:
    points = of * min(good, total) // total if total else of
    return HealthPart(name, points, of, f"{good:,} of {total:,} {what}")


def _none(name: str, of: int, bad: int, what: str) -> HealthPart:
    return HealthPart(name, 0 if bad else of, of, f"{bad:,} {what}")
