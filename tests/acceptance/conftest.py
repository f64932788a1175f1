"""`lse` as its users run it: a process of its own, against the sandbox and a real Postgres."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lse.sandbox import Sandbox
from lse.sandbox.sample import SampleSummary, write_sample

KEY = "sandbox-key"
LAST_DAY = date(2025, 9, 14)
PROJECT = "chat-research"


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Lse:
    """Runs commands in `folder` with the given settings in the environment."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = dict(settings)

    def __call__(self, *arguments: str, timeout: float = 120, **settings: str | None) -> Answer:
        """Run `lse` with `arguments`; a setting of None is taken out of the environment."""
        wanted = {name: value for name, value in {**self.settings, **settings}.items() if value is not None}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("lse")), *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **wanted},
            capture_output=True,
            timeout=timeout,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True)
class Written:
    """A sandbox with sample traces in it."""

    sandbox: Sandbox
    summary: SampleSummary


@pytest.fixture(scope="session")
def written() -> Iterator[Written]:
    """A sandbox that holds two projects and two days of the sample application."""
    with Sandbox(api_key=KEY) as sandbox:
        yield Written(
            sandbox, write_sample(sandbox.langsmith.url, KEY, end=LAST_DAY, days=2, traces_per_day=5)
        )


@pytest.fixture
def lse(written: Written, database_url: str, tmp_path: Path) -> Lse:
    """`lse` in an empty folder, set up for the sandbox, its Drive, and a migrated database."""
    written.sandbox.drive.faults.clear()
    written.sandbox.langsmith.faults.clear()
    key = written.sandbox.drive.write_credentials(tmp_path / "drive-key.json")
    return Lse(
        tmp_path,
        {
            "LANGSMITH_ENDPOINT": written.sandbox.langsmith.url,
            "LANGSMITH_API_KEY": KEY,
            "LSE_LANGSMITH_RATE_LIMIT": "false",
            "LSE_DATABASE_URL": database_url,
            "LSE_TARGET": "drive",
            "LSE_DRIVE_API_ROOT": written.sandbox.drive.url,
            "LSE_DRIVE_CREDENTIALS": str(key),
            "LSE_DRIVE_FOLDER": tmp_path.name,
        },
    )
