"""A day larger than memory should be: packed, checked and restored by a process that holds little of it."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

LARGE = UUID(int=1)
SCRIPT = """
import sys
from datetime import date
from pathlib import Path
from lse.archive.holding import holding_of
from lse.archive.restore import restore_zip
from lse.archive.zip import describe_zip, open_zip, packed_zip
from lse.models import ProjectDay, count_entries

def peak():  # of this process alone; getrusage counts what its parent held, too
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024

root, day = Path(sys.argv[1]), ProjectDay("big", date(2025, 9, 13))
with packed_zip(root / "day", day, root / "day.zip") as (manifest, info):
    pass
assert describe_zip(root / "day.zip") == info
packing = peak()
found = 0
with open_zip(root / "day.zip") as archive:
    archive.check()
    for entry in archive.manifest.files:
        if entry.path.endswith(".json"):
            found += count_entries(holding_of(entry.path, archive.blocks(entry)).runs)
restored, _ = restore_zip(root / "day.zip", root / "again", day, force=False)
assert restored == manifest
print(manifest.counts["bytes"], manifest.counts["runs"], found, packing, peak())
"""


def run_text(trace: UUID, run: int, size: int, rng: Random) -> bytes:
    noise = rng.randbytes(1_000).hex().encode()
    return b'{"id":"%s","trace_id":"%s","outputs":"%s"}' % (
        str(UUID(int=run)).encode(),
        str(trace).encode(),
        noise * (size // len(noise)),
    )


def write_trace_of(folder: Path, trace: UUID, runs: int, size: int) -> None:
    """A trace file, written run by run as its form says."""
    rng = Random(trace.int)
    with (folder / f"000000_{trace}.json").open("wb") as file:
        file.write(b'{"format":"lse-trace/1","trace_id":"%s","runs":[\n' % str(trace).encode())
        for run in range(runs):
            text = run_text(trace, trace.int + run, size, rng)
            file.write(text + (b",\n" if run < runs - 1 else b"\n"))
        file.write(b'],"feedback":[\n],"files":[\n]}\n')


@pytest.fixture
def big_day(tmp_path: Path) -> Path:
    """500 MB in one trace, 60 MB in many, and 30 MB that cannot be deflated."""
    folder = tmp_path / "day"
    folder.mkdir()
    write_trace_of(folder, LARGE, runs=500, size=1_000_000)
    for number in range(300):
        write_trace_of(folder, UUID(int=2**64 + number * 100), runs=10, size=20_000)
    payload = os.urandom(30_000_000)
    (folder / f"{sha256(payload).hexdigest()}.bin").write_bytes(payload)
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell peak memory")
def test_memory_does_not_grow_with_the_day_nor_with_its_largest_trace(big_day: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(big_day.parent)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    size, runs, found, packing, all_together = map(int, done.stdout.split())
    assert size == sum(path.stat().st_size for path in big_day.iterdir())
    assert runs == found == 3_500
    assert packing < 100
    assert all_together < 100
    restored = big_day.parent / "again"
    assert {path.name for path in restored.iterdir()} == {path.name for path in big_day.iterdir()}
