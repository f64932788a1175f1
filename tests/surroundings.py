"""The environment of a program that a test starts."""

import os
from pathlib import Path


def bare_environment(home: Path) -> dict[str, str]:
    """Nothing of the developer's but where programs are, and what lets coverage count the program's lines."""
    measuring = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {"PATH": os.environ["PATH"], "HOME": str(home), **measuring}
