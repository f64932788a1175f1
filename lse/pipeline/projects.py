"""Which projects the archive knows, and what to say of one that it does not know."""

import difflib
import shlex
from collections.abc import Collection, Iterable
from contextlib import suppress

from lse.archive import catalogue
from lse.errors import AccessError, ConfigurationError, TemporaryError, UsageError
from lse.resources import Resources
from lse.store.queries import QUERIES

_NAMED = 5
_PATTERN = set("*?[")


def archived_projects(resources: Resources) -> set[str]:
    """The names of the projects of which something is in the ledger or on disk."""
    return _on_disk(resources) | set(resources.ledger.projects() if resources.ledger is not None else ())


def require_archived(resources: Resources, projects: Iterable[str]) -> None:
    """Raise `UsageError` for the first of `projects` of which nothing is in the ledger or on disk."""
    require_known(projects, archived_projects(resources))


def require_readable(resources: Resources, project: str) -> None:
    """As `require_archived`, for what is read where reports and searches read, such as from a replica."""
    noted = {name for (name,) in resources.reader.tuples(QUERIES["projects"].decode(), {})}
    if project not in noted:
        require_known([project], noted | _on_disk(resources))


def require_projects(resources: Resources, projects: Iterable[str]) -> None:
    """Raise `UsageError` for the first of `projects` that neither the archive nor the source knows.

    Similar ones are named. What was archived stays a project when the source has it no more. A source that
    does not answer cannot contradict.
    """
    known = archived_projects(resources)
    for project in projects:
        if project not in known:
            with suppress(TemporaryError, AccessError, ConfigurationError):
                resources.source.project(project)


def require_known(projects: Iterable[str], known: Collection[str]) -> None:
    """Raise `UsageError` for the first of `projects` that is not among `known`; it names similar ones."""
    for project in projects:
        if project not in known:
            raise UsageError(
                f"Nothing of a project called {project!r} is archived.",
                hint=_alternatives(project, known) + _next_command(project),
            )


def _on_disk(resources: Resources) -> set[str]:
    return catalogue.archived_projects(resources.settings.data_dir, resources.settings.archive_dir)


def _next_command(project: str) -> str:
    if _PATTERN & set(project):
        return "A pattern is not taken here: name a project. `lse status` lists them."
    return f"Archive it first: lse archive full-sweep --project {shlex.quote(project)} --last 7d"


def _alternatives(project: str, known: Collection[str]) -> str:
    if similar := difflib.get_close_matches(project, known, n=3):
        return f"Is it {' or '.join(similar)}? "
    if not known:
        return ""
    more = ", …" if len(known) > _NAMED else ""
    return f"There are: {', '.join(sorted(known)[:_NAMED])}{more}. "
