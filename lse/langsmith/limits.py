"""The request rates of `limits.toml`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` within `seconds`."""

    calls: int
    seconds: float


_FILE = Path(__file__).with_name("limits.toml")
LIMITS = {name: Rate(**limit) for name, limit in tomllib.loads(_FILE.read_text("utf-8")).items()}
"""The published rates by name."""
