"""A sandbox with sample traces, and `lse` set up for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import KEY, LAST_DAY, PROJECT, Answer, Lse, Written

from lse.sandbox import Sandbox
from lse.sandbox.sample import write_sample

__all__ = ["KEY", "LAST_DAY", "PROJECT", "Answer", "Lse", "Written"]


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
