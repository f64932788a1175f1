"""`rebuild`: the database from the archives alone, and the ledger from what is noted beside them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lse.archive.fetch_record import read_fetch_record
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import describe_zip, open_zip
from lse.errors import AccessError, ConfigurationError, LseError
from lse.models import ProjectDay, StepResult
from lse.pipeline.common import ledger_facts
from lse.pipeline.listing import list_days
from lse.pipeline.loading import load
from lse.pipeline.target_copy import find_copy, stored_counts
from lse.resources import Resources
from lse.settings import as_error


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of one day."""

    day: ProjectDay
    result: StepResult


def rebuild(
    resources: Resources,
    projects: Iterable[str] | None = None,
    tell: Callable[[Rebuilt], None] = lambda each: None,  # noqa: ARG005
) -> list[Rebuilt]:
    """Load every archived day of `projects`, or of all, and write the ledger's entry of each anew.

    A day comes from its trace files, else from its zip, else from the target, which is asked for days that
    nothing here knows of. Rows that are there already are recognised and stay. A day that fails does not stop
    the others.
    """
    resources.store  # noqa: B018 - reachable and migrated, or said what to do
    ask_target = resources.settings.target is not None
    rebuilt = []
    for listed in list_days(resources, projects, ask_target=ask_target):
        rebuilt.append(Rebuilt(listed.day, _rebuilt(resources, listed.day)))
        tell(rebuilt[-1])
    return rebuilt


def _rebuilt(resources: Resources, day: ProjectDay) -> StepResult:
    try:
        with resources.lock(day):
            result = load(resources, day)
            relearn(resources, day)
            return result
    except (AccessError, ConfigurationError):
        raise  # no other day would fare better
    except (LseError, OSError) as failure:
        error = as_error(failure, resources.settings)
        return StepResult("load", "failed", error.message, hint=error.hint, exit_code=error.exit_code)


def relearn(resources: Resources, day: ProjectDay) -> None:
    """Write into the ledger what the fetch record, the zip, the target's object and the store's rows say."""
    store = resources.store
    record = read_fetch_record(resources.folder(day))
    facts = _target_facts(resources, day) | _zip_facts(resources, day)
    facts |= ledger_facts(record) if record else {}
    rows, entry = store.count_rows(day), store.ledger(day)
    if rows["runs"]:
        loaded_at = entry.loaded_at if entry else None
        facts |= {"loaded_at": loaded_at or resources.now(), "loaded_runs": rows["runs"]}
        facts |= {"quarantined": rows["quarantined"]}
    store.record(day, **facts)


def _zip_facts(resources: Resources, day: ProjectDay) -> dict[str, Any]:
    path = resources.zip_path(day)
    try:
        with open_zip(path) as archive:
            manifest = archive.manifest
    except (FileNotFoundError, DamagedArchive):
        return {}
    info, counts = describe_zip(path), manifest.counts
    return {
        "packed_at": datetime.fromtimestamp(path.stat().st_mtime, UTC),
        "content_sha256": manifest.content_sha256,
        "zip_sha256": info.sha256,
        "zip_md5": info.md5,
        "zip_size": info.size,
        **{name: counts[name] for name in ("runs", "traces", "feedback")},
    }


def _target_facts(resources: Resources, day: ProjectDay) -> dict[str, Any]:
    """Where the object is, and, where it says so, what it holds."""
    stored = find_copy(resources, day) if resources.settings.target else None
    if stored is None:
        return {}
    counts = stored_counts(stored) or {}
    return {
        "uploaded_at": resources.now(),
        "target": resources.target.name,
        "target_id": stored.id,
        "target_link": stored.link,
        **{name: counts[name] for name in ("runs", "traces", "feedback") if name in counts},
    }
