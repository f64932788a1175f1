"""A day whose folder holds nothing but the earlier exporter's files is read as it is."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from lse.archive.earlier import EarlierFolder, is_run_file, safe_name
from lse.archive.earlier_index import EarlierIndex
from lse.archive.layout import archived_files, project_slug
from lse.models import ProjectDay, Trace
from lse.pipeline.common import no_progress
from lse.resources import Resources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EarlierDay:
    """The runs of one day that the earlier exporter left, as traces."""

    index: EarlierIndex
    days: tuple[ProjectDay, ...]
    """The day, under each name that its project has in the files"""

    def traces(self) -> Iterator[Trace]:
        """Every trace whose root is of the day, with its runs from the next day's folder."""
        for day in self.days:
            yield from self.index.traces(day)

    def unplaced(self) -> list[bytes]:
        """Nothing: what names no trace is no run file."""
        return []


def has_earlier_files(resources: Resources, day: ProjectDay) -> bool:
    """Whether the earlier exporter's run files are all that there is of `day` below the data folder."""
    if archived_files(resources.folder(day)) or resources.zip_path(day).exists():
        return False
    folders = [resources.settings.data_dir / part for part in _parts(day, day.day)]
    return any(is_run_file(path.name) for folder in folders if folder.is_dir() for path in folder.iterdir())


@contextmanager
def open_earlier_day(resources: Resources, day: ProjectDay) -> Iterator[EarlierDay]:
    """The earlier exporter's runs of `day` below the data folder.

    It put each run into the folder of the run's own day, so the next one is looked at as well.
    """
    parts = [part for each in (day.day, day.day + timedelta(days=1)) for part in _parts(day, each)]
    names = (day.project, safe_name(day.project))
    with EarlierIndex(EarlierFolder(resources.settings.data_dir, parts), no_progress) as index:
        found = (each.day for each in index.days if each.day.day == day.day and each.day.project in names)
        if index.unreadable:
            logger.warning("Files of %s cannot be read; `lse import --dry-run` names them.", day)
        yield EarlierDay(index, tuple(found))


def _parts(day: ProjectDay, date: date) -> list[str]:
    """The folders of a date, under the names that either tool gives the project."""
    names = {project_slug(day.project), safe_name(day.project)} - {"", ".", ".."}
    return [f"{name}/{date.isoformat()}" for name in sorted(names)]
