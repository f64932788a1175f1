"""The environment of a program that a test starts."""

import os
from pathlib import Path


def bare_environment(home: Path) -> dict[str, str]:
    """Nothing of the developer's but where programs are."""
    return {"PATH": os.environ["PATH"], "HOME": str(home)}
