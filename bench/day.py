"""How fast one project day is packed, loaded, verified and reported on, against plain reading and counting.

python -m bench.day [runs] [repeats]
"""

import argparse
import hashlib
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench import data
from bench.measure import peak_memory, seconds_of
from lse.archive.layout import archived_files
from lse.archive.trace_file import write_trace
from lse.formats import Document
from lse.models import ProjectDay
from lse.pipeline import load, pack, report, verify
from lse.pipeline.reporting import Origin
from lse.reports import Request
from lse.resources import Resources
from lse.settings import load_settings

_DAY = ProjectDay("bench", date(2025, 9, 13))
_COUNT = (
    "select count(distinct trace_id) as traces from runs where project = %(project)s and run_date = %(start)s"
)


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds, and those of the floor it is held against."""

    name: str
    seconds: float
    floor: str
    floor_seconds: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="?", type=int, default=10_000)
    parser.add_argument("repeats", nargs="?", type=int, default=3)
    wanted, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as folder:
        root = Path(folder)
        settings = load_settings(
            data_dir=root / "data", archive_dir=root / "archives", state_dir=root / "state"
        )
        with Resources(settings) as resources:
            size = _write_day(resources, wanted.runs)
            before = peak_memory()
            rows = _measure(resources, wanted.repeats)
            peak = peak_memory() - before
    print(f"one project day of {wanted.runs:,} runs, {size / 1e6:.1f} MB of trace files")
    print(f"{'':34}{'seconds':>9}   {'floor':38}{'seconds':>9}{'times':>8}")
    for row in rows:
        times = row.seconds / row.floor_seconds
        print(f"{row.name:34}{row.seconds:9.4f}   {row.floor:38}{row.floor_seconds:9.4f}{times:8.1f}")
    print(f"peak memory above the start: {peak:.0f} MB")


def _write_day(resources: Resources, runs: int) -> int:
    folder = resources.folder(_DAY)
    folder.mkdir(parents=True)
    return sum(write_trace(folder, trace).stat().st_size for trace in data.traces(runs, _DAY.day))


def _measure(resources: Resources, repeats: int) -> list[Row]:
    """Each step once for real, then the repeatable ones several times; medians."""
    parameters = Request(_DAY.day, _DAY.day, _DAY.project).parameters
    store = resources.store
    packed = seconds_of(lambda: pack(resources, _DAY))
    loaded = seconds_of(lambda: load(resources, _DAY))
    read = _median(repeats, lambda: _read_all(resources))
    count = _median(repeats, lambda: store.query(_COUNT, parameters))

    def times(work: Callable[[], object]) -> float:
        return _median(repeats, work)

    hashed, counted = ("read and SHA-256 every file", read), ("count the traces of the day", count)
    return [
        Row("pack (zlib)", packed, *hashed),
        Row("load from trace files", loaded, *hashed),
        Row("verify files, zip and store", times(lambda: verify(resources, _DAY)), *hashed),
        Row(
            "zenrows-errors from files", times(lambda: _report(resources, "zenrows-errors", "files")), *hashed
        ),
        Row(
            "zenrows-errors from the store",
            times(lambda: _report(resources, "zenrows-errors", "store")),
            *counted,
        ),
        Row(
            "zenrows-detail from the store",
            times(lambda: _report(resources, "zenrows-detail", "store")),
            *counted,
        ),
    ]


def _report(resources: Resources, name: str, origin: Origin) -> Document:
    return report(resources, name, Request(_DAY.day, _DAY.day, _DAY.project), origin=origin)


def _read_all(resources: Resources) -> None:
    for path in archived_files(resources.folder(_DAY)):
        hashlib.sha256(path.read_bytes()).digest()


def _median(repeats: int, work: Callable[[], object]) -> float:
    return statistics.median(seconds_of(work) for _ in range(repeats))


if __name__ == "__main__":
    main()
