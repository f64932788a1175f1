"""How fast runs get into the store, against the floor: a raw COPY of the same texts into one jsonb column.

    python -m bench.load [RUNS] [REPEATS] [--without-peers] [--growth RUNS]

Everything happens in one run, in turn, with the same runs on the same embedded server, payloads stored
alike; the table shows medians. Each load of `lse` runs in processes of its own, from trace files to rows that
are committed, counted and vacuumed, so its memory is its own. Its two parts are measured alone as well: what
the server does with rows that were made beforehand, which no client can be faster than, and what makes the
rows. The peers get the runs out of the same trace files; one that is not installed is named. `--growth` then
loads day after day and compares the last with the first.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg

from bench import _load_peers as peers
from bench import data
from bench.measure import Measured, seconds_of, together
from lse.archive.layout import day_folder
from lse.archive.manifest import content_sha256_of, describe_folder
from lse.archive.reading import open_day, read_folder
from lse.archive.trace_file import write_trace
from lse.archive.zip import write_zip
from lse.models import ProjectDay, Trace, content_digest
from lse.settings import load_settings
from lse.store import Store
from lse.store.binary import HEADER, TRAILER
from lse.store.embedded import EmbeddedPostgres, find_binaries, server_version
from lse.store.loading import COPY_RUNS
from lse.store.migrate import upgrade
from lse.store.partitions import refresh_statistics
from lse.store.rollups import refresh_rollups
from lse.store.rows import run_row

_DATE = date(2025, 9, 13)
_WHOLE, _FIRST, _SECOND = (ProjectDay(name, _DATE) for name in ("whole", "first", "second"))
_FLOOR_TABLE = "drop table if exists floor; create table floor (data jsonb not null)"
_EMPTY = """
drop table if exists floor, peer_runs;
truncate runs, feedback, run_versions, daily_rollups, project_days;
checkpoint
"""


@dataclass(frozen=True)
class Lab:
    """Where everything is."""

    root: Path
    url: str
    traces: Sequence[Trace]

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return sum(len(trace.runs) for trace in self.traces)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(len(run.text) for trace in self.traces for run in trace.runs)

    def execute(self, statement: str) -> None:
        """Do it and commit."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="?", type=int, default=10_000)
    parser.add_argument("repeats", nargs="?", type=int, default=5)
    parser.add_argument("--growth", type=int, default=0, help="load this many runs, 10,000 a day")
    parser.add_argument("--without-peers", action="store_true", help="only lse and the floor: a minute")
    wanted, _ = parser.parse_known_args()
    programs = find_binaries(load_settings())
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as folder:
        root = Path(folder)
        with EmbeddedPostgres(root / "state", programs).running() as url:
            upgrade(url)
            lab = Lab(root, url, list(data.traces(wanted.runs, _DATE)))
            _write_days(lab)
            print(
                f"{lab.runs:,} runs, {lab.size / 1e6:.1f} MB; "
                f"Postgres {server_version(programs)}, {_storage(lab)}"
            )
            _print_table(lab, wanted.repeats, {} if wanted.without_peers else peers.installed())
            if wanted.growth:
                _print_growth(lab, wanted.growth)


def _write_days(lab: Lab) -> None:
    middle = len(lab.traces) // 2
    for day, traces in ((_WHOLE, lab.traces), (_FIRST, lab.traces[:middle]), (_SECOND, lab.traces[middle:])):
        _write(lab.root, day, traces)
    folder = day_folder(lab.root, _WHOLE)
    write_zip(folder, describe_folder(folder, _WHOLE), lab.root / "whole.zip")


def _write(root: Path, day: ProjectDay, traces: Sequence[Trace]) -> None:
    folder = day_folder(root, day)
    folder.mkdir(parents=True)
    for trace in traces:
        write_trace(folder, trace)


# The table


def _print_table(lab: Lab, repeats: int, others: Mapping[str, peers.Peer]) -> None:
    ways: dict[str, Callable[[], Measured]] = {
        "raw COPY into one jsonb column": lambda: Measured(_floor(lab)),
        "lse, from trace files": lambda: _loaded(lab, _WHOLE),
        "lse again, unchanged": lambda: _loaded(lab, _WHOLE, empty=False),
        "lse again, run by run": lambda: _loaded(lab, _WHOLE, empty=False, compare=True),
        "lse, from the zip": lambda: _loaded(lab, _WHOLE, from_zip=True),
        "lse, two processes, two days": lambda: _loaded(lab, _FIRST, _SECOND),
        "the server's part of it alone": lambda: Measured(_served(lab)),
        "the client's part of it alone": lambda: Measured(seconds_of(lambda: deque(_rows(lab), maxlen=0))),
        **{name: _peer(lab, load) for name, load in others.items()},
    }
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            measured[name].append(way())
    medians = {name: statistics.median(item.seconds for item in items) for name, items in measured.items()}
    floor = medians["raw COPY into one jsonb column"]
    print(f"{'':34}{'seconds':>9}{'runs/s':>9}{'of floor':>10}{'lse is':>9}{'peak MB':>9}  target")
    for name, seconds in medians.items():
        times = f"{seconds / medians['lse, from trace files']:.1f} x" if name in peers.TARGETS else ""
        peak = max(item.peak for item in measured[name])
        print(
            f"{name:34}{seconds:9.3f}{lab.runs / seconds:9,.0f}{floor / seconds:10.2f}{times:>9}"
            f"{f'{peak:.0f}' if peak else '':>9}  {_TARGETS.get(name, '')}"
        )
    for name in sorted(peers.TARGETS.keys() - peers.installed().keys()):
        print(f"{name}: not installed")


_TARGETS = {
    "lse, from trace files": "0.70 of floor, 200 MB",
    "lse again, unchanged": "2.20 of floor",
    "lse, two processes, two days": "0.95 of floor",
    "the server's part of it alone": "what the best client would reach",
    **peers.TARGETS,
}


def _floor(lab: Lab) -> float:
    lab.execute(_EMPTY)
    lab.execute(_FLOOR_TABLE)
    lab.execute(f"alter table floor alter column data set {_storage(lab)}")
    with psycopg.connect(lab.url, autocommit=True) as connection:
        return seconds_of(lambda: _copy_raw(connection, lab.traces))


def _copy_raw(connection: psycopg.Connection[tuple[object, ...]], traces: Sequence[Trace]) -> None:
    with connection.cursor() as cursor, cursor.copy("copy floor from stdin (format binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for trace in traces:
            for run in trace.runs:
                length = (len(run.text) + 1).to_bytes(4, "big")
                copy.write(b"\0\1" + length + b"\1" + run.text)
        copy.write(b"\xff\xff")


def _storage(lab: Lab) -> str:
    """How the store keeps payloads on this server; the floor and the peers do likewise."""
    asked = "select attcompression from pg_attribute where attrelid = 'runs'::regclass and attname = 'data'"
    with psycopg.connect(lab.url) as connection:
        [(compression,)] = connection.execute(asked.encode()).fetchall()
    return "compression lz4" if compression in ("l", b"l") else "storage external"


def _loaded(
    lab: Lab, *days: ProjectDay, empty: bool = True, from_zip: bool = False, compare: bool = False
) -> Measured:
    if empty:
        lab.execute(_EMPTY)
    zip_path = lab.root / "whole.zip"
    folders = [lab.root / "none" if from_zip else day_folder(lab.root, day) for day in days]
    return together(
        [(_load, lab.url, day, folder, zip_path, compare) for day, folder in zip(days, folders, strict=True)]
    )


def _load(url: str, day: ProjectDay, folder: Path, zip_path: Path, compare: bool) -> None:
    """As the step `load`: files are hashed first, and a day that is loaded already is done then."""
    store = Store(url)
    with open_day(folder, zip_path) as archive:
        content = archive.content_sha256 or content_sha256_of(folder)
        if compare or store.loaded(day, content) is None:
            store.load(day, archive.traces(), content=content)


def _served(lab: Lab) -> float:
    """How long the server takes for rows that need not be waited for, with rollups and vacuum."""
    lab.execute(_EMPTY)
    rows = list(_rows(lab))
    with psycopg.connect(lab.url) as connection:
        return seconds_of(lambda: _send(connection, rows, lab.runs))


def _send(connection: psycopg.Connection[Any], rows: Sequence[bytes], runs: int) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY_RUNS) as copy:
        for block in (HEADER, *rows, TRAILER):
            copy.write(block)
    refresh_rollups(connection, _WHOLE)
    connection.commit()
    connection.autocommit = True
    refresh_statistics(connection, _DATE, runs)


def _rows(lab: Lab) -> Iterator[bytes]:
    """The rows of the day, made from its trace files as a load makes them."""
    folder = day_folder(lab.root, _WHOLE)
    content_sha256_of(folder)
    for trace in read_folder(folder).traces():
        for run in trace.runs:
            yield from run_row(_WHOLE, run, content_digest(run.text))


def _peer(lab: Lab, load: peers.Peer) -> Callable[[], Measured]:
    def measure() -> Measured:
        lab.execute(_EMPTY)
        return Measured(load(lab.url, day_folder(lab.root, _WHOLE), _storage(lab)))

    return measure


# Growth


def _print_growth(lab: Lab, runs: int) -> None:
    """Load day after day, each of other runs, into one store; the rate of the first and the last tenth."""
    lab.execute(_EMPTY)
    rates = []
    for number in range(max(2, runs // lab.runs)):
        day = ProjectDay("growth", _DATE + timedelta(days=number))
        renewed = [
            data.renewed(trace, day.day, seed)
            for seed, trace in zip(itertools.count(number * len(lab.traces)), lab.traces, strict=False)
        ]
        began = time.perf_counter()
        Store(lab.url).load(day, renewed)
        rates.append(lab.runs / (time.perf_counter() - began))
    tenth = max(1, len(rates) // 10)
    first, last = statistics.median(rates[:tenth]), statistics.median(rates[-tenth:])
    print(
        f"growth to {len(rates) * lab.runs:,} runs: {first:,.0f} runs/s at first, {last:,.0f} at last,"
        f" {last / first - 1:+.0%} (target: less than 15 % down)"
    )


if __name__ == "__main__":
    main()
