"""`lse archive log`: which fetches changed what."""

from collections.abc import Sequence
from dataclasses import asdict

from lse.archive.versions import LogEntry, read_log
from lse.cli.output import print_json, print_line, print_table
from lse.models import ProjectDay
from lse.resources import Resources

_COLUMNS = ("project day", "time (UTC)", "added", "changed", "vanished", "feedback", "content")


def print_log(resources: Resources, days: Sequence[ProjectDay], *, json: bool) -> None:
    """Print every fetch that changed one of `days`, by day and time."""
    found = [(day, entry) for day in days for entry in read_log(resources.folder(day))]
    if json:
        print_json(
            [{"project": day.project, "date": day.day.isoformat(), **asdict(entry)} for day, entry in found]
        )
    elif found:
        print_table(_COLUMNS, [_row(day, entry) for day, entry in found])
    else:
        print_line("nothing is noted: no fetch changed anything, or the log is gone")


def _row(day: ProjectDay, entry: LogEntry) -> tuple[str, ...]:
    figures = (entry.added, entry.changed, entry.vanished, entry.feedback)
    return (str(day), entry.time[:19], *(f"{figure:,}" for figure in figures), entry.content_sha256[:12])
