"""Which projects a name or a pattern stands for."""

import re
from collections.abc import Callable, Iterable, Sequence

from lse.errors import UsageError

Known = Callable[[], Iterable[str]]
"""Gives the names of the projects that there are; only asked when a pattern needs them."""


def choose(projects: Sequence[str], all_projects: bool, known: Known) -> list[str]:
    """The names that `projects` stand for, each once: a plain name as it is, a pattern's matches sorted.

    In a pattern, `*` stands for any characters and `?` for one. Raises `UsageError` when nothing is chosen.
    """
    if bool(projects) == all_projects:
        problem = "--all-projects leaves no project to name." if projects else "No project is given."
        raise UsageError(problem, hint="Add --project NAME, --project 'chat-*', or --all-projects.")
    names = sorted(set(known())) if all_projects or any(map(_is_pattern, projects)) else []
    chosen = [name for project in projects for name in _matches(project, names)]
    if all_projects and not names:
        raise UsageError("There is no project yet.", hint="Name one: --project NAME.")
    return list(dict.fromkeys(chosen or names))


def _is_pattern(project: str) -> bool:
    return "*" in project or "?" in project


def _matches(project: str, names: Sequence[str]) -> list[str]:
    if not _is_pattern(project):
        return [project]
    pattern = re.escape(project).replace(r"\*", ".*").replace(r"\?", ".")
    found = [name for name in names if re.fullmatch(pattern, name, re.DOTALL)]
    if not found:
        there = f"There are: {', '.join(names[:5])}." if names else "There is no project yet."
        raise UsageError(f"No project matches {project!r}.", hint=there)
    return found
