"""How fast runs get into the store, against the floor: a raw COPY of the same texts into one jsonb column.

    python bench/load.py [runs] [repeats]

Both run in turn, in one process, on the same rows and the same embedded server; the table shows medians.
"""

import argparse
import statistics
import tempfile
from datetime import date
from pathlib import Path

import psycopg

from bench import data
from bench.measure import peak_memory, seconds_of
from lse.models import ProjectDay, Trace
from lse.settings import load_settings
from lse.store import Store
from lse.store.embedded import EmbeddedPostgres, find_binaries
from lse.store.migrate import upgrade

_DAY = ProjectDay("bench", date(2025, 9, 13))
_FLOOR_TABLE = """
drop table if exists floor;
create table floor (data jsonb not null);
do $$ begin
    if 'lz4' = any (select unnest(enumvals) from pg_settings where name = 'default_toast_compression') then
        alter table floor alter column data set compression lz4;
    else
        alter table floor alter column data set storage external;
    end if;
end $$;
checkpoint;
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="?", type=int, default=10_000)
    parser.add_argument("repeats", nargs="?", type=int, default=3)
    wanted, _ = parser.parse_known_args()
    traces = list(data.traces(wanted.runs, _DAY.day))
    size = sum(len(run.text) for trace in traces for run in trace.runs)
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as folder:
        server = EmbeddedPostgres(Path(folder), find_binaries(settings))
        with server.running() as url:
            upgrade(url)
            before = peak_memory()
            figures = [_measure(url, traces) for _ in range(wanted.repeats)]
    floor, first, again = (statistics.median(column) for column in zip(*figures, strict=True))
    print(f"{wanted.runs:,} runs, {size / 1e6:.1f} MB, {size / wanted.runs / 1e3:.1f} kB a run")
    print(f"{'':26}{'seconds':>9}{'runs/s':>10}{'MB/s':>8}{'of floor':>10}")
    for name, seconds in (("raw COPY into jsonb", floor), ("load", first), ("load again, unchanged", again)):
        rate, speed = wanted.runs / seconds, size / seconds / 1e6
        print(f"{name:26}{seconds:9.2f}{rate:10,.0f}{speed:8.1f}{floor / seconds:10.2f}")
    print(f"peak memory above the rows themselves: {peak_memory() - before:.0f} MB")


def _measure(url: str, traces: list[Trace]) -> tuple[float, float, float]:
    store = Store(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FLOOR_TABLE)
        floor = seconds_of(lambda: _copy_raw(connection, traces))
        connection.execute("drop table floor; truncate runs, project_days; checkpoint")
    first = seconds_of(lambda: store.load(_DAY, traces))
    again = seconds_of(lambda: store.load(_DAY, traces))
    return floor, first, again


def _copy_raw(connection: psycopg.Connection[tuple[object, ...]], traces: list[Trace]) -> None:
    with connection.cursor() as cursor, cursor.copy("copy floor from stdin (format binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for trace in traces:
            for run in trace.runs:
                length = (len(run.text) + 1).to_bytes(4, "big")
                copy.write(b"\0\1" + length + b"\1" + run.text)
        copy.write(b"\xff\xff")


if __name__ == "__main__":
    main()
