"""How well a project is archived, as a score from 0 to 100 that says what it is made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date


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


@dataclass(frozen=True, slots=True)
class Figures:
    """What is scored: how many days and runs a status lists; None is what only the ledger knows."""

    first_day: date
    days: int
    """From the first day to yesterday"""
    incomplete: int
    """Those of them that are partial, unproved or missing"""
    with_runs: int
    """Archived days that have runs"""
    not_uploaded: int | None
    not_equal: int | None
    """Days that were never compared, or whose copies differ"""
    quarantined: int | None
    failed: int
    """Days on which the last try of a step failed"""


NOTHING = Health(0, ())
"""The health of a project of which nothing is archived."""


def health(figures: Figures, *, target: bool) -> Health:
    """The score of a project; `target` says whether archives are to be uploaded at all.

    40 points are for days that are proved complete, 20 for uploads, 20 for comparisons of the copies: each
    times the share of days that have it, rounded down. 10 each are for an empty quarantine, and for no step
    that failed when it was last tried. What is unknown gives no points.
    """
    parts = tuple(_parts(figures, target))
    return Health(sum(part.points for part in parts), parts)


def _parts(figures: Figures, target: bool) -> Iterator[HealthPart]:
    days, with_runs = figures.days, figures.with_runs
    yield _share(
        "complete", 40, days, figures.incomplete, f"days since {figures.first_day} are proved complete"
    )
    if target:
        yield _share("uploaded", 20, with_runs, figures.not_uploaded, "days with runs are in the target")
    else:
        yield HealthPart("uploaded", 20, 20, "no target is set")
    yield _share("verified", 20, with_runs, figures.not_equal, "days with runs have copies that were equal")
    yield _none("quarantine", 10, figures.quarantined, "runs could not be loaded")
    yield _none("failures", 10, figures.failed, "days on which the last try of a step failed")


def _share(name: str, of: int, total: int, lacking: int | None, what: str) -> HealthPart:
    if lacking is None:
        return _unknown(name, of)
    good = total - lacking
    return HealthPart(name, of * good // total if total else of, of, f"{good:,} of {total:,} {what}")


def _none(name: str, of: int, bad: int | None, what: str) -> HealthPart:
    return _unknown(name, of) if bad is None else HealthPart(name, 0 if bad else of, of, f"{bad:,} {what}")


def _unknown(name: str, of: int) -> HealthPart:
    return HealthPart(name, 0, of, "the ledger cannot be read")
