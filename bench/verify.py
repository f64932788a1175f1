"""How fast a day is verified, against the floor: hashing the same bytes, and its ids and hashes by COPY.

    python -m bench.verify [RUNS] [REPEATS]

The runs are small, so that what costs per run shows. The floor reads each trace file and each member of the
zip once, hashes each whole and each run of the trace files by itself, hashes the zip's own bytes as a target
does, and copies ids and hashes of every row to the client; it compares nothing. Each runs in a process of its
own, so its memory is its own.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import psycopg

from bench.measure import Measured, together
from lse.archive.files import blocks_of
from lse.archive.layout import archived_files, day_folder
from lse.archive.trace_file import make_trace, write_trace
from lse.models import ProjectDay, RawRun
from lse.pipeline import load, pack, verify
from lse.resources import Resources
from lse.settings import Settings, load_settings
from lse.store.embedded import EmbeddedPostgres, find_binaries
from lse.store.migrate import upgrade

_DAY = ProjectDay("small", date(2025, 9, 13))
_RUNS_PER_TRACE = 25
_HASHES = """
copy (select trace_id, run_id, content_hash from runs
      where project = 'small' and run_date = '2025-09-13' order by trace_id, run_id) to stdout (format binary)
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="?", type=int, default=50_000)
    parser.add_argument("repeats", nargs="?", type=int, default=3)
    wanted, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as name:
        root = Path(name)
        with EmbeddedPostgres(root / "postgres", find_binaries(load_settings())).running() as url:
            upgrade(url)
            settings = _settings(root, url)
            _make_day(settings, wanted.runs)
            _print_table(settings, wanted.runs, wanted.repeats)


def _settings(root: Path, url: str) -> Settings:
    places = {"data_dir": root / "data", "archive_dir": root / "archives", "state_dir": root / "state"}
    return load_settings(**places, database_url=url, target=None)


def _make_day(settings: Settings, runs: int) -> None:
    folder = day_folder(settings.data_dir, _DAY)
    folder.mkdir(parents=True)
    rng = Random(1)
    for _ in range(runs // _RUNS_PER_TRACE):
        members = list(_runs(rng))
        write_trace(folder, make_trace(members[0].id, members), name_later=True)
    with Resources(settings) as resources:
        pack(resources, _DAY)
        load(resources, _DAY)


def _runs(rng: Random) -> Iterator[RawRun]:
    started = datetime(2025, 9, 13, tzinfo=UTC) + timedelta(seconds=rng.random() * 80_000)
    trace_id = UUID(int=rng.getrandbits(128), version=4)
    for number in range(_RUNS_PER_TRACE):
        run_id = UUID(int=rng.getrandbits(128), version=4) if number else trace_id
        document = {
            "id": str(run_id),
            "trace_id": str(trace_id),
            "name": "step",
            "run_type": "chain",
            "status": "success",
            "start_time": f"{started:%Y-%m-%dT%H:%M:%S.%f}",
            "inputs": {"noise": rng.randbytes(100).hex()},
        }
        yield RawRun(run_id, trace_id, None, "", True, json.dumps(document).encode(), started)


def _print_table(settings: Settings, runs: int, repeats: int) -> None:
    ways = {"the floor": _floor, "lse archive verify": _verify}
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            measured[name].append(together([(way, settings.model_dump())]))
    floor = statistics.median(item.seconds for item in measured["the floor"])
    print(f"{runs:,} runs of about 400 bytes, {_RUNS_PER_TRACE} a trace: trace files, zip, store")
    print(f"{'':24}{'seconds':>9}{'s per million':>15}{'of floor':>10}{'peak MB':>9}  target")
    for name, items in measured.items():
        seconds = statistics.median(item.seconds for item in items)
        peak = max(item.peak for item in items)
        target = "0.80 of floor, 60 s per million, 300 MB" if name != "the floor" else ""
        print(
            f"{name:24}{seconds:9.2f}{seconds / runs * 1e6:15.1f}{floor / seconds:10.2f}{peak:9.0f}  {target}"
        )


def _verify(values: dict[str, object]) -> None:
    with Resources(load_settings(**values)) as resources:
        result = verify(resources, _DAY)
    if result.figures["differences"] or "store" not in str(result.figures["copies"]):
        raise RuntimeError(result.summary)


def _floor(values: dict[str, object]) -> None:
    settings = load_settings(**values)
    for path in archived_files(day_folder(settings.data_dir, _DAY)):
        with path.open("rb") as file:
            whole = hashlib.sha256()
            for line in file:
                whole.update(line)
                hashlib.sha256(line).digest()
    [zip_path] = settings.archive_dir.rglob("*.zip")
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for block in blocks_of(zip_path):
        sha256.update(block)
        md5.update(block)
    with zipfile.ZipFile(zip_path) as archive:
        for member in archive.infolist():
            hashlib.sha256(archive.read(member)).digest()
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(_HASHES) as copy:
        for _ in copy:
            pass


if __name__ == "__main__":
    main()
