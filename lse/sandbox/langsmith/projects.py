"""Projects, which the API calls sessions."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TENANT = "6d0f5a8e-1c2b-5e3d-9f4a-7b8c9d0e1f2a"
"""The one workspace of the sandbox."""


@dataclass(slots=True)
class Project:
    """One project. `start` is None when it was created by its first run."""

    id: str
    name: str
    start: datetime | None = None
    end: datetime | None = None
    description: str | None = None
    extra: dict[str, Any] | None = field(default_factory=dict)
    reference_dataset_id: str | None = None
    default_dataset_id: str | None = None
    trace_tier: str | None = None

    @property
    def kind(self) -> str:
        """The type that the v2 API shows: a project with a reference dataset is an experiment."""
        return "EXPERIMENT" if self.reference_dataset_id else "PROJECT"


def project_id(name: str) -> str:
    """The id that a project of this name gets: always the same."""
    return str(uuid.uuid5(uuid.UUID(TENANT), name))


class Projects:
    """All projects. Two may share a name: after a renaming, or when they were added one by one."""

    def __init__(self) -> None:
        self._by_id: dict[str, Project] = {}

    def __iter__(self) -> Any:
        return iter(list(self._by_id.values()))

    def get(self, session_id: str) -> Project | None:
        """The project with this id."""
        return self._by_id.get(session_id.lower())

    def named(self, name: str) -> Project | None:
        """The first project with this exact name."""
        return next((project for project in self if project.name == name), None)

    def ensure(self, name: str) -> Project:
        """The project of this name, created when missing."""
        return self.named(name) or self.add(Project(project_id(name), name))

    def add(self, project: Project) -> Project:
        """Keep `project`."""
        self._by_id[project.id] = project
        return project

    def drop(self, project: Project) -> None:
        """Forget `project`; its runs are not touched."""
        del self._by_id[project.id]
