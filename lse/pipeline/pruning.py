"""`prune`: take copies of old days away, so that they can be recovered, where others are proved whole."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lse.archive.files import sync_directory
from lse.archive.layout import archived_files, project_slug
from lse.archive.manifest import content_sha256_of
from lse.archive.prune_record import PruneRecord, write_prune_record
from lse.archive.zip import open_zip
from lse.errors import (
    AccessError,
    ConfigurationError,
    DifferencesFound,
    IncompleteError,
    LseError,
    UsageError,
)
from lse.models import ProjectDay, StepResult
from lse.pipeline.common import as_fetched, counted, options, pruned, settled
from lse.pipeline.copies import Copies
from lse.pipeline.listing import ListedDay, list_days
from lse.pipeline.target_copy import find_copies, holds
from lse.pipeline.verifying import Depth, compare_copies
from lse.resources import Resources
from lse.settings import as_error

logger = logging.getLogger(__name__)

COPIES = ("files", "zip", "target")
"""What can be pruned. The store is never: its rows are what reports read."""

_PLACES = {"files": "this disk", "zip": "this disk", "target": "the target", "store": "the store"}
"""Where each copy is; what fails together is one place."""

TRASH = ".trash"
"""The folder below LSE_DATA_DIR and LSE_ARCHIVE_DIR that keeps what was pruned until a person removes it."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What becomes of one old day."""

    day: ProjectDay
    copies: tuple[str, ...]
    """What is taken away, of `COPIES`"""
    bytes: int
    """How much that is"""
    left: str
    """Where the day is whole after that"""
    reason: str = ""
    """Why nothing is taken away; empty when it is"""
    exit_code: int = 0
    """What the reason means, by the usual exit codes"""


def prune(
    resources: Resources,
    projects: Iterable[str] | None,
    *,
    keep_days: int,
    what: Collection[str],
    max_share: float = 10,
    execute: bool = False,
    tell: Callable[[Pruned], None] = lambda each: None,  # noqa: ARG005
) -> list[Pruned]:
    """Take the copies `what` of days over `keep_days` days ago away; without `execute`, only say so.

    Each day is verified at once before, and left as it is unless it is settled, no copy differs, and it stays
    whole in two places of three: this disk, the target, the store. Where the target's would be the last
    archive, it is read in full. What is taken away is moved to a trash, never deleted.

    Raises `UsageError` before anything is looked at closely when that takes more than `max_share` percent of
    the archived days.
    """
    _check(what)
    listed = list_days(resources, projects, ask_target="target" in what)
    last = resources.now().date() - timedelta(days=keep_days)
    due = [each for each in listed if each.date < last and _takes(each, what)]
    _require_share(len(due), len(listed), max_share)
    results = []
    for each in due:
        results.append(_prune_day(resources, each, _takes(each, what), execute=execute))
        tell(results[-1])
    return results


def stays_pruned(resources: Resources, day: ProjectDay, step: str) -> StepResult | None:
    """The outcome of a sweep's step that would bring back what was pruned; None when it is to run.

    The command of that step runs it all the same.
    """
    record = pruned(resources, day)
    if record is None:
        return None
    no_zip = "zip" in record.pruned_at and not resources.zip_path(day).exists()
    no_files = "files" in record.pruned_at and not _has_files(resources, day)
    entry = resources.ledger.ledger(day) if resources.ledger else None
    stays = {
        "pack": no_files or no_zip,
        "upload": no_zip or "target" in record.pruned_at,
        "load": no_files and entry is not None and entry.loaded_at is not None,
    }
    if not stays.get(step):
        return None
    return StepResult(step, "unchanged", f"pruned: {', '.join(sorted(record.pruned_at))}; nothing to {step}")


def _has_files(resources: Resources, day: ProjectDay) -> bool:
    """Whether the trace files are there, all of them."""
    return bool(archived_files(resources.folder(day))) and as_fetched(resources, day)


def _check(what: Collection[str]) -> None:
    if unknown := sorted(set(what) - set(COPIES)) or ([] if what else ["nothing"]):
        raise UsageError(f"{unknown[0]} cannot be pruned.", hint=f"There are: {', '.join(COPIES)}.")


def _takes(each: ListedDay, what: Collection[str]) -> tuple[str, ...]:
    """The copies of `what` that are there."""
    return tuple(copy for copy in COPIES if copy in what and _size(each, copy) is not None)


def _size(each: ListedDay, copy: str) -> int | None:
    return {"files": each.files_bytes, "zip": each.zip_bytes, "target": each.target_bytes}[copy]


def _require_share(due: int, archived: int, max_share: float) -> None:
    if due > archived * max_share / 100:
        share = 100 * due / archived
        raise UsageError(
            f"This would take {counted(due, 'day')} of {archived:,} archived, {share:.0f} %;"
            f" at most {max_share:g} % are allowed.",
            hint=f"If that is meant: --max-share {min(100, int(share) + 1)}; or keep more: --keep-days.",
        )


def _prune_day(resources: Resources, each: ListedDay, copies: tuple[str, ...], *, execute: bool) -> Pruned:
    """Verify the day, and take `copies` away if nothing speaks against it."""
    size = sum(_size(each, copy) or 0 for copy in copies)
    try:
        with resources.lock(each.day):
            left = _left(_verified(resources, each, copies), copies)
            content = _content(resources, each.day)
            if execute:
                _take(resources, each, copies, content)
        return Pruned(each.day, copies, size, left)
    except (AccessError, ConfigurationError):
        raise  # no other day would fare better
    except (LseError, OSError) as failure:
        error = as_error(failure, resources.settings)
        return Pruned(each.day, (), 0, "", error.message, error.exit_code)


def _verified(resources: Resources, each: ListedDay, copies: Sequence[str]) -> Copies:
    """The copies of the day, compared just now. Raises an `LseError` unless they agree and are complete."""
    day = each.day
    if each.complete is not None and settled(resources, day) is None:
        raise IncompleteError(
            f"The fetch of {day} is not complete and settled.",
            hint=f"Fetch it again while LangSmith has it: lse archive full-sweep {options(day)}",
        )
    here = {copy for copy in ("files", "zip") if _size(each, copy) is not None} - {*each.pruned, *copies}
    depth: Depth = "default" if here or "target" in copies else "deep"
    result, found = compare_copies(resources, day, depth=depth)
    if result.exit_code:
        raise _Doubtful(result)
    return found


class _Doubtful(LseError):
    """A comparison that found differences, or could not prove that there are none."""

    def __init__(self, result: StepResult) -> None:
        super().__init__("; ".join([result.summary, *result.details[:1]]), hint=result.hint)
        self.exit_code = result.exit_code


def _left(found: Copies, copies: Collection[str]) -> str:
    """The places where the day stays whole. Raises `IncompleteError` when there are less than two."""
    places = list(dict.fromkeys(_PLACES[copy] for copy in found.held if copy not in copies))
    if len(places) < 2:
        raise IncompleteError(f"It would be left in {' '.join(places) or 'no place'} only.")
    return ", ".join(places)


def _take(resources: Resources, each: ListedDay, copies: Collection[str], content: str) -> None:
    """Note what is pruned, then move it: a copy that is gone without a note would be missed."""
    day, now = each.day, resources.now()
    before = pruned(resources, day)
    earlier = before.pruned_at if before and before.content_sha256 == content else {}
    times = {**earlier, **dict.fromkeys(copies, now.isoformat(timespec="seconds"))}
    record = PruneRecord(content, each.runs or 0, each.traces or 0, times)
    write_prune_record(resources.settings.data_dir, day, record)
    place = Path(TRASH) / f"{now:%Y%m%dT%H%M%SZ}" / project_slug(day.project)
    if "files" in copies:
        folder = resources.folder(day)
        _move(archived_files(folder), resources.settings.data_dir / place / folder.name)
    if "zip" in copies:
        _move([resources.zip_path(day)], resources.settings.archive_dir / place)
    if "target" in copies:
        for stored in find_copies(resources, day):
            if holds(stored, content):
                resources.target.trash(stored.path)


def _content(resources: Resources, day: ProjectDay) -> str:
    """The content hash of the day. Raises `DifferencesFound` when files and zip hold the same runs only."""
    path, before = resources.zip_path(day), pruned(resources, day)
    found = {before.content_sha256} if before else set()
    if _has_files(resources, day):
        found.add(content_sha256_of(resources.folder(day)))
    if path.exists():
        with open_zip(path) as archive:
            found.add(archive.manifest.content_sha256)
    if len(found) != 1:
        raise DifferencesFound(
            f"The zip of {day} is not that of its trace files.",
            hint=f"Pack it again: lse archive zip {options(day)}",
        )
    return found.pop()


def _move(paths: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in paths:
        path.rename(folder / path.name)
    sync_directory(folder)
    for parent in {path.parent for path in paths}:
        sync_directory(parent)
