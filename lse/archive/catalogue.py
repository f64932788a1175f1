"""Which projects and days there are on disk."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lse.archive.fetch_record import FetchRecord, read_fetch_record
from lse.archive.layout import project_slug
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import open_zip

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def archived_projects(data_dir: Path, archive_dir: Path) -> set[str]:
    """The names of the projects with trace files or zips, as the fetch records, manifests and folders say."""
    names = {record.project for record in fetch_records(data_dir)}
    slugs = {project_slug(name) for name in names}
    zips = {path.name: _days(path, ".zip") for path in _folders(archive_dir)}
    there = {path.name for path in _folders(data_dir) if _days(path)} | {slug for slug in zips if zips[slug]}
    found = (_name_of(slug, zips.get(slug, [])) for slug in there - slugs)
    return names | {name for name in found if name is not None}


def fetch_records(data_dir: Path) -> Iterator[FetchRecord]:
    """The record of the last fetch of each project day, by folder and day."""
    for project in _folders(data_dir):
        for day in _days(project):
            if record := read_fetch_record(day):
                yield record


def _name_of(slug: str, zips: Iterable[Path]) -> str | None:
    """A plain name is its own slug; others stand in the manifests."""
    if project_slug(slug) == slug:
        return slug
    for path in zips:
        try:
            with open_zip(path) as archive:
                return archive.manifest.day.project
        except DamagedArchive:
            continue  # another day's zip says it too
    return None


def _days(project: Path, suffix: str = "") -> list[Path]:
    """What is named after a day, ascending."""
    found = [path for path in project.iterdir() if path.name.endswith(suffix)]
    return sorted(path for path in found if _DAY.fullmatch(path.name.removesuffix(suffix)))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
