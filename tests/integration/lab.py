"""A sandbox with one project day in it, and a machine that archives from it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from lse.archive.layout import archived_files
from lse.archive.trace_file import read_trace_file
from lse.langsmith.http import Patience
from lse.models import ProjectDay, StepResult
from lse.pipeline import full_sweep, verify
from lse.resources import Resources
from lse.sandbox import Sandbox
from lse.sandbox.sample import SampleDay, write_sample
from lse.settings import load_settings
from lse.sources.langsmith import LangSmithSource

KEY = "sandbox-key"
DAY = ProjectDay("chat", date(2025, 9, 13))
EMPTY = ProjectDay("chat", date(2025, 9, 1))
QUICK = Patience(connect=2, read=2, body=4, total=0.3, unreachable=0.3, longest_wait=0.02, first_wait=0.002)


class Lab:
    """A sandbox, and the settings of one machine that sweeps from it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.sandbox = Sandbox(api_key=KEY).__enter__()
        self.flags: dict[str, Any] = {
            "langsmith_endpoint": self.sandbox.langsmith.url,
            "langsmith_api_key": KEY,
            "langsmith_rate_limit": False,
            "database_url": database_url,
            "data_dir": folder / "data",
            "archive_dir": folder / "archives",
            "state_dir": folder / "state",
            "target": "drive",
            "drive_api_root": self.sandbox.drive.url,
            "drive_credentials": self.sandbox.drive.write_credentials(folder / "key.json"),
        }
        self.sample: SampleDay = write_sample(
            self.sandbox.langsmith.url, KEY, end=DAY.day, days=1, traces_per_day=6, projects=[DAY.project]
        ).days[0]

    def resources(self, **flags: Any) -> Resources:
        opened = Resources(load_settings(**{**self.flags, **flags}))
        vars(opened)["source"] = LangSmithSource(opened.settings, QUICK)
        return opened

    def sweep(
        self, *skip: str, day: ProjectDay = DAY, force: bool = False, **flags: Any
    ) -> dict[str, StepResult]:
        with self.resources(**flags) as resources:
            results = full_sweep(resources, day, skip=skip, force=force)
            resources.source.close()
        return {result.step: result for result in results}

    def verify(self, *, deep: bool = False, source: bool = False, **flags: Any) -> StepResult:
        with self.resources(**flags) as resources:
            result = verify(resources, DAY, deep=deep, source=source)
            resources.source.close()
        return result

    def step(self, step: Callable[..., StepResult], day: ProjectDay = DAY, **options: Any) -> StepResult:
        with self.resources() as resources:
            try:
                return step(resources, day, **options)
            finally:
                resources.source.close()

    def expire(self, trace_id: UUID) -> None:
        """Let LangSmith delete a trace."""
        runs, project = self.sandbox.langsmith.state.runs, self.sandbox.langsmith.state.projects
        found = runs.between(project.named(DAY.project).id)
        runs.drop([run for run in found if run.trace_id == str(trace_id)])

    def on_another_machine(self) -> None:
        """Go on with empty folders and an empty database."""
        for name in ("data_dir", "archive_dir", "state_dir"):
            self.flags[name] = self.flags[name].with_name(f"other-{self.flags[name].name}")
        self.execute("truncate runs, feedback, quarantine, project_days")

    def execute(self, sql: str) -> list[Any]:
        with psycopg.connect(self.flags["database_url"]) as connection:
            done = connection.execute(sql.encode())
            return done.fetchall() if done.description else []

    @property
    def folder(self) -> Path:
        return self.flags["data_dir"] / "chat" / "2025-09-13"

    @property
    def zip(self) -> Path:
        return self.flags["archive_dir"] / "chat" / "2025-09-13.zip"

    def texts(self) -> dict[UUID, bytes]:
        return {run.id: run.text for path in self.files() for run in read_trace_file(path).runs}

    def trace(self) -> UUID:
        """The trace of the first file."""
        return read_trace_file(self.files()[0]).id

    def files(self) -> list[Path]:
        return [path for path in archived_files(self.folder) if path.suffix == ".json"]
