"""The step `fetch`: bring the trace files of a day up to date, and prove that no run is missing."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

from lse.archive.assemble import SpoolIndex, Update, runs_of_other_traces, write_traces
from lse.archive.fetch_record import FetchRecord, write_fetch_record
from lse.archive.identity import Unplaced, expiry_of, identify_feedback
from lse.archive.layout import UNPLACED, content_file_name
from lse.archive.links import links_of
from lse.archive.manifest import content_sha256_of
from lse.archive.merge import missing_parents
from lse.archive.spool import Spool
from lse.archive.versions import LogEntry, add_to_log
from lse.errors import IncompleteError, TemporaryError, UsageError
from lse.models import Progress, ProjectDay, RawFeedback, StepResult, StoredFile, Trace
from lse.pipeline.common import counted, fetch_facts, ledger_facts, no_progress, note
from lse.resources import Resources
from lse.sources import Project, Source, Window
from lse.sources._strays import add_strays
from lse.sources._walk import Proof, lanes_for, walk_until_proved

logger = logging.getLogger(__name__)

_EARLIEST = date(2000, 1, 1)
"""An earlier day is mistyped. Once fetched, every day since would count as missing."""


def require_plausible(day: ProjectDay) -> None:
    """Raise `UsageError` for a day long before there was any LangSmith."""
    if day.day < _EARLIEST:
        raise UsageError(f"{day.day} lies long before LangSmith.", hint="Is the year mistyped?")


def require_begun(resources: Resources, day: ProjectDay) -> None:
    """Raise `UsageError` for a day to come, or one of `require_plausible`."""
    require_plausible(day)
    if day.start > resources.now():
        raise UsageError(f"{day.day} has not begun yet (UTC).", hint="Fetch a day that is over.")


def fetch(resources: Resources, day: ProjectDay, progress: Progress = no_progress) -> StepResult:
    """Bring the trace files of `day` up to date with the source, and prove that none is missing.

    Raises `UsageError` for a day that has not begun or an unknown project.
    """
    require_begun(resources, day)
    source = resources.source
    project = source.project(day.project)
    window = Window(project, day.start, day.end)
    expected = source.counts(window)
    walk = f"{source.walk_name} {project.id} {day.day}"
    spool = Spool(resources.spool_folder(day), walk, resources.now(), lanes_for(expected))
    if spool.position.pages:
        logger.info("Continuing the fetch of %s after page %d.", day, spool.position.pages)
    total = expected.runs if expected else None
    watched = _until(day, resources.settings.fetch_hours, lambda runs: progress(runs, total))
    proof, index = walk_until_proved(source, window, spool, watched)
    if window.end <= resources.now():
        index = add_strays(source, window, spool, index)
    record = _assemble(resources, day, project, spool, index, proof)
    spool.discard()
    note(resources, day, **ledger_facts(record))
    return _fetched(record)


def _until(day: ProjectDay, hours: float, progress: Callable[[int], None]) -> Callable[[int], None]:
    """A progress that ends a walk of more than `hours`, after a page is on disk."""
    deadline = time.monotonic() + hours * 3600

    def advance(runs: int) -> None:
        progress(runs)
        if time.monotonic() > deadline:
            raise TemporaryError(
                f"The fetch of {day} took over {hours:g} hours.",
                hint="Run it again, and it goes on at its page; or raise LSE_FETCH_HOURS.",
            )

    return advance


def _assemble(
    resources: Resources, day: ProjectDay, project: Project, spool: Spool, index: SpoolIndex, proof: Proof
) -> FetchRecord:
    """Write the trace files from the spool, and the record of what was counted."""
    folder = resources.folder(day)
    feedback = _feedback(resources.source, index, proof.server.feedback if proof.server else None)
    files = _Files(resources.source, project, folder)
    tally, orphans = _Tally(), 0
    for update in write_traces(folder, spool, index, feedback, files.collect):
        tally.count(update)
        orphans += len(missing_parents(update.trace))
    lacks = [f"{counted(orphans, 'run')} without parent or root"] if orphans else []
    lacks += [f"{counted(files.missing, 'file')} could not be had"] if files.missing else []
    began, content = spool.position.began, content_sha256_of(folder)
    vanished = tally.vanished + runs_of_other_traces(folder, index) if proof.complete else 0
    log_lines = add_to_log(folder, tally.entry(began, vanished, content))
    record = FetchRecord(
        project=day.project,
        project_id=project.id,
        date=day.day.isoformat(),
        source=resources.source.walk_name,
        fetched_at=began,
        complete=proof.complete and not lacks,
        reason="; ".join([proof.reason, *lacks]),
        walks=proof.walks,
        runs=len(index.runs),
        traces=len(index.traces),
        feedback=sum(map(len, feedback.values())),
        missing_parents=orphans,
        unplaced=len(index.unplaced),
        stored_files=files.stored,
        missing_files=files.missing,
        server_runs=proof.server.runs if proof.server else None,
        server_traces=proof.server.traces if proof.server else None,
        server_feedback=proof.server.feedback if proof.server else None,
        content_sha256=content,
        expires_at=tally.expires_at.isoformat(timespec="seconds") if tally.expires_at else None,
        log_lines=log_lines,
    )
    write_fetch_record(folder, record)
    return record


@dataclass(slots=True)
class _Tally:
    """What the updates of a fetch's traces add up to."""

    added: int = 0
    changed: int = 0
    vanished: int = 0
    feedback: int = 0
    expires_at: datetime | None = None
    """When the source deletes the first of the traces, as far as it says so"""

    def count(self, update: Update) -> None:
        self.added += update.added
        self.changed += update.changed
        self.vanished += update.vanished
        self.feedback += update.feedback
        expiry = expiry_of(update.trace.runs[0].text)
        known = [time for time in (expiry, self.expires_at) if time is not None]
        self.expires_at = min(known, default=None)

    def entry(self, time: str, vanished: int, content_sha256: str) -> LogEntry:
        return LogEntry(time, self.added, self.changed, vanished, self.feedback, content_sha256)


class _Files:
    """Stores the files that runs link to, each once, and counts."""

    def __init__(self, source: Source, project: Project, folder: Path) -> None:
        self._source = source
        self._project = project
        self._folder = folder
        self.stored = 0
        self.missing = 0

    def collect(self, trace: Trace, known: Sequence[StoredFile]) -> list[StoredFile]:
        """The files of `trace`; one that was stored before is not fetched again."""
        before = {(file.run_id, file.name): file for file in known}
        found = []
        for link in (link for run in trace.runs for link in links_of(run)):
            file = before.get((link.run_id, link.name))
            if file is None or not (self._folder / content_file_name(file.sha256)).exists():
                file = self._source.download(self._project, link, self._folder)
            if file is None:
                self.missing += 1
                continue
            self.stored += 1
            found.append(file)
        return found


def _feedback(source: Source, index: SpoolIndex, expected: int | None) -> dict[UUID, list[RawFeedback]]:
    """The feedback of each run: of those that show some, and of all when the source counts more than that."""
    found = _feedback_on(source, index.with_feedback)
    if expected is not None and sum(map(len, found.values())) < expected:
        found |= _feedback_on(source, index.runs - index.with_feedback)
        if (number := sum(map(len, found.values()))) < expected:
            logger.warning("The source counts %d feedback records, and gives %d.", expected, number)
    return found


def _feedback_on(source: Source, run_ids: Collection[UUID]) -> dict[UUID, list[RawFeedback]]:
    found: dict[UUID, list[RawFeedback]] = defaultdict(list)
    for text in source.feedback(map(str, sorted(run_ids))):
        try:
            item = identify_feedback(text)
        except Unplaced as error:
            raise TemporaryError(f"The source sent feedback that names no run: {error}.") from error
        found[item.run_id].append(item)
    return found


def _fetched(record: FetchRecord) -> StepResult:
    found = f"{counted(record.runs, 'run')} of {counted(record.traces, 'trace')}"
    found += f", {counted(record.feedback, 'feedback record')}, {counted(record.stored_files, 'stored file')}"
    whole = record.complete and not record.unplaced
    unplaced = f"; {record.unplaced} runs name no trace and are kept in {UNPLACED}" if record.unplaced else ""
    state = "complete" if record.complete else "partial"
    return StepResult(
        "fetch",
        "done" if whole else "partial",
        f"{found}; {state}: {record.reason}{unplaced}",
        {**fetch_facts(record), "fetched_at": record.fetched_at},
        hint="" if whole else "Run it again later; a day that stays partial is shown by `lse status`.",
        exit_code=0 if whole else IncompleteError.exit_code,
    )
