"""Whether the tests ran enough of `lse`, by what SlipCover saw; run after them by `make test`."""

import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

SEEN = Path(".slipcover.json")
ENOUGH = 95.0
"""Percent of all lines and branches"""
WHOLLY = (
    "lse/archive/layout.py",
    "lse/archive/manifest.py",
    "lse/archive/restore.py",
    "lse/archive/zip/*.py",
    "lse/datasets/_redaction.py",
    "lse/formats/__init__.py",
    "lse/formats/csv.py",
    "lse/store/ledger.py",
    "lse/verify.py",
)
"""Where a mistake costs data: every line and branch"""


def main() -> None:
    """Print what share ran, and what did not where all has to; exit with 1 if that is not enough."""
    seen = json.loads(SEEN.read_text())
    percent = seen["summary"]["percent_covered"]
    print(f"{percent:.1f} % of the lines and branches of lse ran; {ENOUGH:g} % have to.")
    lacking = [line for pattern in WHOLLY for line in _lacking(pattern, seen["files"])]
    print("\n".join(lacking) or f"All of {', '.join(WHOLLY)} did.")
    sys.exit(bool(lacking) or percent < ENOUGH)


def _lacking(pattern: str, files: dict[str, dict[str, Any]]) -> list[str]:
    found = {name: file for name, file in files.items() if fnmatch(name, pattern)}
    if not found:
        return [f"{pattern}: there is no such file"]
    return [
        f"{name}: never ran line {line}"
        for name, file in found.items()
        for line in (
            *file["missing_lines"],
            *(f"{start} to {end}" for start, end in file["missing_branches"]),
        )
    ]


if __name__ == "__main__":
    main()
