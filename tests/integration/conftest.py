"""The sandbox and the machine that the tests of the steps share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab


@pytest.fixture
def lab(tmp_path: Path, database_url: str) -> Iterator[Lab]:
    """A machine of the test's own, with a sandbox of its own."""
    made = Lab(tmp_path, database_url)
    yield made
    made.sandbox.__exit__()
