"""How sizes and answers change while the store grows: synthetic runs in the real schema, day after day.

    python -m bench.growth [RUNS ...] [--search]

The rows are made by the server, 2.7 kB of JSON each, since this measures what a database of that size is
like; how fast runs get in is measured at each size with 5,000 realistic ones. A day has 20,000 runs whatever
the size, so an answer about one day should take the same time at every size. `--search` also builds the index
for searches at the last size.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from bench import data
from bench.measure import seconds_of
from lse.models import ProjectDay
from lse.reports import Request, find_report
from lse.settings import load_settings
from lse.store import Store, search_index
from lse.store.embedded import EmbeddedPostgres, find_binaries
from lse.store.migrate import upgrade
from lse.store.partitions import ensure_partition
from lse.store.queries import QUERIES
from lse.store.reading import Reader

_FIRST = date(2025, 7, 1)
_DAY_RUNS = 20_000
_REAL_RUNS = 5_000
_PROJECT = "growth"

# Ten runs a trace, ids of version 7 as LangSmith's SDKs make them, 260 words of 4,096 in each run, one run in
# twenty failed.
_FILL = """
insert into runs (run_date, trace_id, run_id, parent_run_id, content_hash, start_time, end_time,
                  prompt_tokens, completion_tokens, total_tokens, sanitized, project, name, run_type, status,
                  total_cost, tags, error, data)
select %(day)s::date, trace_id, run_id, nullif(trace_id, run_id), md5(run_id::text)::uuid, started,
       started + (n %% 90) * interval '100 ms', 100, 20, 120, false, %(project)s, name, 'tool', status,
       0.00012, array['production'], case status when 'error' then 'TimeoutError: ' || words end,
       jsonb_build_object('id', run_id, 'trace_id', trace_id, 'name', name, 'status', status,
                          'start_time', started, 'inputs', jsonb_build_object('question', words),
                          'outputs', jsonb_build_object('answer', words || ' ' || name))
from generate_series(0, %(runs)s - 1) as n,
     lateral (select %(day)s::timestamp at time zone 'UTC' + n * interval '4 s' as started,
                     n - n %% 10 as root) as begun,
     lateral (select extract(epoch from started) * 1000 as own_time,
                     extract(epoch from started - n %% 10 * interval '4 s') * 1000 as root_time) as times,
     lateral (select lpad(to_hex(own_time::bigint), 12, '0') || '7' as own_stamp,
                     lpad(to_hex(root_time::bigint), 12, '0') || '7' as root_stamp,
                     md5(root || %(day)s::text) as root_hex, md5(n || %(day)s::text) as own_hex) as parts,
     lateral (select (root_stamp || left(root_hex, 3) || '8' || right(root_hex, 15))::uuid as trace_id,
                     (own_stamp || left(own_hex, 3) || '8' || right(own_hex, 15))::uuid as run_id) as ids,
     lateral (select case when n %% 20 = 7 then 'error' else 'success' end as status,
                     case n %% 10 when 7 then 'zenrows_scraper' else 'step ' || n %% 10 end as name) as kinds,
     lateral (select string_agg('word' || (hashint8extended(n, i) & 4095), ' ') as words
              from generate_series(1, 130) as i) as texts
"""

_SIZES = """
select whole.relname, sum(pg_relation_size(part.oid))::bigint as size
from pg_inherits join pg_class as part on part.oid = inhrelid join pg_class as whole on whole.oid = inhparent
where whole.relname like 'runs%'
group by whole.relname
union all
select 'payloads out of line', sum(pg_total_relation_size(reltoastrelid))::bigint
from pg_inherits join pg_class on oid = inhrelid
where inhparent = 'runs'::regclass
order by size desc
"""


@dataclass(frozen=True)
class Lab:
    """The database under measurement."""

    url: str
    store: Store
    reader: Reader


def main() -> None:
    """Measure and print a column for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--search", action="store_true", help="build the index for searches as well")
    wanted, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as folder:
        server = EmbeddedPostgres(Path(folder), find_binaries(load_settings()))
        with server.running() as url:
            upgrade(url)
            lab = Lab(url, Store(url), Reader(url))
            days = 0
            for runs in sorted(wanted.runs):
                days = _grow(lab, days, runs // _DAY_RUNS)
                _print(f"{days * _DAY_RUNS:,} runs in {days} days", [*_sizes(lab, days), *_times(lab, days)])
            if wanted.search:
                _print("with the index for searches", _searches(lab, days))


def _grow(lab: Lab, days: int, to: int) -> int:
    """Add days until there are `to`."""
    with psycopg.connect(lab.url, autocommit=True) as connection:
        for number in range(days, to):
            day = _FIRST + timedelta(days=number)
            key = {"project": _PROJECT, "run_date": day}
            ensure_partition(connection, day)
            connection.execute(_FILL, {"project": _PROJECT, "day": day.isoformat(), "runs": _DAY_RUNS})
            connection.execute(QUERIES["fill_rollups"], key)
            connection.execute(
                "insert into project_days (project, run_date, loaded_runs, loaded_at)"
                " values (%(project)s, %(run_date)s, 20000, now())",
                key,
            )
        connection.execute("vacuum (analyze) runs")
        connection.execute("checkpoint")
    return max(days, to)


def _sizes(lab: Lab, days: int) -> Iterator[tuple[str, str]]:
    """What each part takes, per million runs."""
    millions = days * _DAY_RUNS / 1e6
    with psycopg.connect(lab.url) as connection:
        parts = connection.execute(_SIZES).fetchall()
    for name, size in parts:
        yield f"size of {name}", f"{size / 1e6 / millions:9,.0f} MB per million"
    yield "size of all", f"{sum(size for _, size in parts) / 1e6 / millions:9,.0f} MB per million"


def _times(lab: Lab, days: int) -> Iterator[tuple[str, str]]:
    """How long answers take: about the middle day, and about all."""
    reader, last = lab.reader, _FIRST + timedelta(days=days - 1)
    day = ProjectDay(_PROJECT, _FIRST + timedelta(days=days // 2))
    one, month = Request(day.day, day.day, _PROJECT), Request(_FIRST, last, _PROJECT)
    page = reader.runs(day)
    deep = _cursor_at(lab, day, _DAY_RUNS - 200)
    run = page.runs[7]
    place = reader.find(run.trace_id)
    random_id = UUID("4bd3a0e5-5b5a-4d39-9d0c-0123456789ab")
    errors, detail = find_report("zenrows-errors"), find_report("zenrows-detail")
    questions: list[tuple[str, Callable[[], Any]]] = [
        ("connect and ask nothing", lambda: reader.query("select 1", {})),
        ("first page of a day, 100 runs", lambda: reader.runs(day)),
        ("last page of a day, 100 runs", lambda: reader.runs(day, after=deep)),
        ("a trace as a tree", lambda: reader.trace(place)),  # type: ignore[arg-type]
        ("find a trace by id", lambda: reader.find(run.trace_id)),
        ("find a run by its version 7 id", lambda: reader.find(run.run_id)),
        ("find no run, random id", lambda: reader.find(random_id)),
        ("1,000 changes from the middle", lambda: reader.changes(f"3/{day.day}/{run.trace_id}/{run.run_id}")),
        ("search a word that is not there, 1 day", lambda: reader.search("absent", day.day, day.day)),
        ("search a common word, all days", lambda: reader.search("word7", _FIRST, last)),
        ("zenrows-errors, 1 day", lambda: errors.from_store(reader, one)),
        ("zenrows-errors, all days", lambda: errors.from_store(reader, month)),
        ("zenrows-detail, 1 day", lambda: detail.from_store(reader, one)),
        ("hashes of a day, as verify reads them", lambda: sum(1 for _ in lab.store.run_hashes(day))),
    ]
    for name, question in questions:
        yield name, f"{_median(question) * 1000:9,.1f} ms"
    yield "load of 5,000 real runs", f"{_load_rate(lab, last):9,.0f} runs/s"


def _cursor_at(lab: Lab, day: ProjectDay, skipped: int) -> str:
    run = [*lab.reader.all_runs(day)][skipped]
    return f"{run.trace_id}/{run.run_id}"


def _load_rate(lab: Lab, last: date) -> float:
    """Runs a second for a day of real runs in the last month, the median of three; they are removed again."""
    traces = list(data.traces(_REAL_RUNS, last))
    rates = []
    for _ in range(3):
        rates.append(_REAL_RUNS / seconds_of(lambda: lab.store.load(ProjectDay("real", last), traces)))
        with psycopg.connect(lab.url, autocommit=True) as connection:
            connection.execute("delete from runs where project = 'real'")
            connection.execute("vacuum runs")
    return statistics.median(rates)


def _searches(lab: Lab, days: int) -> Iterator[tuple[str, str]]:
    millions = days * _DAY_RUNS / 1e6
    last = _FIRST + timedelta(days=days - 1)
    seconds = seconds_of(lambda: search_index.build(lab.url, "words"))
    yield "building it", f"{seconds / millions:9,.0f} s per million"
    yield "its size", f"{search_index.sizes(lab.url)['words'] / 1e6 / millions:9,.0f} MB per million"
    for name, text in (("a common word", "word7"), ("a word that is not there", "absent")):
        seconds = _median(lambda text=text: lab.reader.search(text, _FIRST, last))  # type: ignore[misc]
        yield f"search {name}, all days", f"{seconds * 1000:9,.1f} ms"
    yield "load of 5,000 real runs", f"{_load_rate(lab, last):9,.0f} runs/s"


def _median(question: Callable[[], object]) -> float:
    return statistics.median(seconds_of(question) for _ in range(5))


def _print(title: str, lines: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    print(title)
    for name, figure in lines:
        print(f"    {name:42}{figure}", flush=True)


if __name__ == "__main__":
    main()
