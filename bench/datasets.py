"""A dataset of 100,000 traces in one pass, beside the time in which COPY alone reads the same columns.

    python -m bench.datasets [TRACES]

The rows are made by the server, in the real schema: three runs a trace, 2.7 kB of JSON each, and the feedback
of a person on every trace. One trace in three qualifies. COPY reads to nowhere what the dataset reads, so 1.0
would mean that reading is all there is to it. Memory is that of a fresh process.
"""

import argparse
import tempfile
from datetime import date
from pathlib import Path

import psycopg

from bench.measure import Measured, together
from lse.datasets import TracedRun
from lse.datasets._building import build
from lse.datasets._recipes import find_recipe
from lse.models import ProjectDay
from lse.settings import load_settings
from lse.store.embedded import EmbeddedPostgres, find_binaries
from lse.store.migrate import upgrade
from lse.store.partitions import ensure_partition
from lse.store.reading import READING, Reader

_DAY = ProjectDay("bench", date(2025, 9, 13))
_RUNS = 3

_FILL = """
insert into runs (run_date, trace_id, run_id, parent_run_id, content_hash, start_time, end_time, sanitized,
                  project, name, run_type, status, tags, data)
select %(day)s::date, trace_id, run_id, nullif(trace_id, run_id), md5(run_id::text)::uuid, started, started,
       false, %(project)s, 'step', 'chain', 'success', '{}',
       jsonb_build_object(
           'id', run_id, 'trace_id', trace_id, 'name', 'step', 'status', 'success', 'start_time', started,
           'dotted_order', to_char(started, 'YYYYMMDD"T"HH24MISSUS"Z"') || run_id,
           'extra', jsonb_build_object('runtime', words),
           'inputs', jsonb_build_object('input_data', jsonb_build_object(
               'request_id', trace_id, 'name', 'Token', 'description', words, 'crypto_symbol', 'T')),
           'outputs', jsonb_build_object(
               'final_decision', case when root %% 9 = 0 then 'PASS' else 'FAIL' end, 'confidence', 0.9,
               'report', words, 'name_analysis', jsonb_build_object(
                   'meme_check', jsonb_build_object('is_meme', root %% 2 = 0),
                   'explicit_check', jsonb_build_object('is_explicit', false),
                   'trademark_check', jsonb_build_object('has_conflict', root %% 5 = 0))))
from generate_series(0, %(runs)s - 1) as n,
     lateral (select n - n %% 3 as root,
                     %(day)s::timestamp at time zone 'UTC' + n * interval '1 ms' as started) as begun,
     lateral (select lpad(to_hex(root), 12, '0') || '70008' || left(md5(root::text), 15) as root_hex,
                     lpad(to_hex(n), 12, '0') || '70008' || left(md5(n::text), 15) as own_hex) as parts,
     lateral (select root_hex::uuid as trace_id, own_hex::uuid as run_id) as ids,
     lateral (select string_agg(translate(number::text, '0123456789', 'etaoinshrd'), ' ') as words
              from generate_series(1, 110) as i,
                   lateral (select hashint8extended(n, i) & 4095999 as number) as drawn) as texts
"""
_JUDGE = """
insert into feedback (run_date, run_id, feedback_id, project, key, content_hash, sanitized, data)
select run_date, run_id, id, project, 'final_verdict', run_id, false,
       jsonb_build_object('id', id, 'run_id', run_id, 'key', 'final_verdict',
                          'comment', 'Human verdict: PASS')
from runs, lateral (select md5('f' || run_id)::uuid as id) as made where parent_run_id is null
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("traces", nargs="?", type=int, default=100_000)
    wanted, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as folder:
        server = EmbeddedPostgres(Path(folder), find_binaries(load_settings()))
        with server.running() as url:
            upgrade(url)
            size = _fill(url, wanted.traces)
            pairs = [(together([(_copy, url)]), together([(_build, url)])) for _ in range(3)]
    copies, builds = zip(*pairs, strict=True)
    copied, built = (min(found, key=_seconds) for found in (copies, builds))
    print(
        f"{wanted.traces:,} traces, {wanted.traces * _RUNS:,} runs,"
        f" {size / 1e6:,.0f} MB of JSON; best of three"
    )
    print(f"    COPY of the columns       {copied.seconds:8.1f} s")
    print(f"    dataset in one pass       {built.seconds:8.1f} s {built.peak:8.0f} MB")
    print(f"    traces per second         {wanted.traces / built.seconds:8,.0f}")
    print(f"    of the speed of COPY      {copied.seconds / built.seconds:8.2f}   (target 0.5)")


def _seconds(measured: Measured) -> float:
    return measured.seconds


def _fill(url: str, traces: int) -> int:
    """Make the runs and the feedback; the bytes of their JSON."""
    parameters = {"day": _DAY.day.isoformat(), "project": _DAY.project, "runs": traces * _RUNS}
    with psycopg.connect(url, autocommit=True) as connection:
        ensure_partition(connection, _DAY.day)
        connection.execute(_FILL, parameters)
        connection.execute(_JUDGE)
        connection.execute("vacuum (analyze) runs, feedback")
        found = connection.execute("select sum(length(data::text)) from runs").fetchone()
    return int(found[0]) if found else 0


def _copy(url: str) -> None:
    statement = READING["runs_with_feedback"] % {
        b"project": b"'%s'" % _DAY.project.encode(),
        b"run_date": b"'%s'" % _DAY.day.isoformat().encode(),
    }
    with psycopg.connect(url) as connection, connection.cursor() as cursor:  # noqa: SIM117
        with cursor.copy(b"copy (" + statement + b") to stdout") as copy:
            for _ in copy:
                pass


def _build(url: str) -> None:
    rows = map(TracedRun._make, Reader(url).runs_with_feedback(_DAY))
    with build(iter([(_DAY, rows)]), find_recipe("token-name"), str(_DAY.day)) as built:
        lines = sum(1 for _ in built.lines())
    if lines != built.summary.kept:
        raise RuntimeError("lines and examples differ")


if __name__ == "__main__":
    main()
