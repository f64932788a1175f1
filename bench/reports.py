"""How long reports take: a million synthetic runs over 90 days, beside two floors measured in the same run.

    python -m bench.reports [RUNS]

One floor is an index-only count over the same rows, the other DuckDB that answers the same question from
Parquet with the same columns, sorted by day. The rows are made by the server, without payloads: reports do
not read them. All figures are medians of six in milliseconds, on open connections, after three rounds that
are not counted. Rounds are interleaved, and each question is the first in every third of them, since the one
after DuckDB finds the processor's caches full of other things. Beside the time by the clock stands that of
the processors, of client and server together, which the load of others on the machine disturbs less.
"""

import argparse
import contextlib
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from bench.measure import peak_memory, seconds_of
from lse.formats import Document
from lse.reports import Request, find_report
from lse.settings import load_settings
from lse.store.connection import connect
from lse.store.embedded import EmbeddedPostgres, find_binaries
from lse.store.migrate import upgrade
from lse.store.partitions import ensure_partition
from lse.store.queries import QUERIES
from lse.store.reading import Reader

_FIRST = date(2025, 7, 1)
_DAYS = 90
_ROUNDS = 3
"""In each of these every question is the first once; the first of them is not counted."""
_PROJECTS = ("bench", "second")

# Ten runs a trace, of seven names; one in twenty fails, with one of four messages, most with ids or numbers.
_FILL = """
insert into runs (run_date, trace_id, run_id, content_hash, start_time, end_time, prompt_tokens,
                  completion_tokens, total_tokens, sanitized, project, name, run_type, status, prompt_cost,
                  completion_cost, total_cost, tags, error, model, data)
select %(day)s::date, trace_id, run_id, run_id, started, started + random() * random() * interval '60 s',
       n * 7 %% 3000, n %% 400, n * 7 %% 3000 + n %% 400, false, %(project)s,
       (array['plan', 'retrieve', 'ChatOpenAI', 'zenrows_scraper', 'write', 'parse', 'research'])[n %% 7 + 1],
       (array['chain', 'retriever', 'llm', 'tool', 'llm', 'parser', 'chain'])[n %% 7 + 1], status,
       0.00001 * (n %% 300), 0.00004 * (n %% 40), 0.00001 * (n %% 300) + 0.00004 * (n %% 40),
       array['production', 'v' || n %% 5],
       case status when 'error' then (array[
           'HTTPError(''422 Client Error: Unprocessable Entity for url: https://example.org/' || n || ''')',
           'TimeoutError: no answer after ' || n %% 90 || ' s',
           'RateLimitError: Error code: 429 - request ' || run_id,
           'ValueError: could not convert string to float'])[n / 20 %% 4 + 1] end,
       (array[null, null, 'gpt-4o', null, 'claude-haiku', null, null])[n %% 7 + 1],
       jsonb_build_object('id', run_id, 'trace_id', trace_id)
from generate_series(0, %(runs)s - 1) as n,
     lateral (select md5(%(project)s || %(day)s || n / 10)::uuid as trace_id,
                     md5(%(project)s || %(day)s || n || 'run')::uuid as run_id,
                     %(day)s::timestamp at time zone 'UTC' + n * interval '5 s' as started,
                     case n %% 20 when 3 then 'error' else 'success' end as status) as values
"""

_FEEDBACK = """
insert into feedback (run_date, run_id, feedback_id, project, key, score, content_hash, sanitized, data)
select run_date, run_id, run_id, project, 'stars', 0.5, run_id, false,
       jsonb_build_object('id', run_id, 'run_id', run_id)
from runs where run_date = %(day)s and project = %(project)s and run_id::text < '08'
"""

_COPY = """
copy (select run_date, project, trace_id::text, run_id::text, name, run_type, status, model, start_time,
             latency, prompt_tokens, completion_tokens, total_tokens, prompt_cost, completion_cost,
             total_cost, error
      from runs order by run_date, project, trace_id) to stdout (format csv, header)
"""

_RANKS = ", ".join(f"quantile_disc(latency, {percent / 100})" for percent in (50, 90, 95, 99))
_BARE = (
    "regexp_replace(regexp_replace(regexp_replace(left(error, 300), '[a-z]+://[^ ''\"]+', '<url>', 'g'),"
    " '[0-9A-Za-z_-]{12,}', '<id>', 'g'), '[0-9]+', '<number>', 'g')"
)
_FAILED = "status is distinct from 'success'"
DUCKDB = {
    "zenrows-errors": "select run_date, count(distinct trace_id), count(distinct trace_id) filter"
    f" (where name = 'zenrows_scraper' and {_FAILED}) from runs group by 1 order by 1",
    "errors": f"select run_date, count(distinct trace_id), count(distinct trace_id) filter (where {_FAILED}),"
    f" count(*), count(*) filter (where {_FAILED}) from runs group by 1 order by 1",
    "error-groups": f"select {_BARE}, count(*), count(distinct trace_id), min(start_time), max(start_time)"
    f" from runs where {_FAILED} group by 1 order by 2 desc",
    "error-detail": "select start_time, project, name, run_type, status, trace_id, run_id, error from runs"
    f" where {_FAILED} order by start_time, run_id",
    "latency": f"select name, count(*), {_RANKS} from runs group by 1",
    "cost": "select model, count(*), sum(prompt_cost), sum(completion_cost), sum(total_cost) from runs"
    " where run_type = 'llm' group by 1",
    "tokens": "select model, count(*), sum(prompt_tokens), sum(completion_tokens), sum(total_tokens)"
    " from runs where run_type = 'llm' group by 1",
    "volume": "select run_date, count(distinct trace_id), count(*) from runs group by 1 order by 1",
    "slowest": "select latency, start_time, project, name, run_type, status, model, trace_id, run_id"
    " from runs where latency is not null order by latency desc, start_time, run_id limit 20",
    "feedback": "select key, count(*), count(score), avg(score) from feedback group by 1",
}
"""The same questions in DuckDB's SQL; its groups of errors are by simpler patterns than ours."""

_ONLY_COUNT = """
select count(*) from runs
where run_date between %(start)s and %(end)s and (%(project)s::text is null or project = %(project)s)
"""


class OpenReader(Reader):
    """A reader on one connection that stays open."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._open = connect(url)
        self._schedule = Path(f"/proc/{self._open.info.backend_pid}/schedstat")

    def server_seconds(self) -> float:
        """The processor time that the server spent on this connection, without parallel workers."""
        return int(self._schedule.read_text().split()[0]) / 1e9

    @contextlib.contextmanager
    def _reading(self) -> Iterator[psycopg.Connection[Any]]:
        with self._open.transaction():
            yield self._open


@dataclass(frozen=True)
class Took:
    """How long something took, in milliseconds."""

    clock: float
    processors: float


@dataclass(frozen=True)
class Lab:
    """The databases under measurement."""

    url: str
    reader: OpenReader
    duck: duckdb.DuckDBPyConnection
    parquet: Path


def main() -> None:
    """Measure and print a line for each report and window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="?", type=int, default=1_000_000)
    wanted, _ = parser.parse_known_args()
    gc.set_threshold(50_000)  # as the command does
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", find_binaries(load_settings()))
        with server.running() as url:
            upgrade(url)
            _fill(url, wanted.runs // _DAYS // len(_PROJECTS))
            lab = Lab(url, OpenReader(url), duckdb.connect(config={"threads": 2}), Path(folder))
            _export(lab)
            middle = _FIRST + timedelta(days=_DAYS // 2)
            _measure(lab, Request(middle, middle, _PROJECTS[0]))
            _measure(lab, Request(_FIRST, _FIRST + timedelta(days=_DAYS - 1)))
            _measure_command(lab, middle)


def _fill(url: str, runs: int) -> None:
    """`runs` runs for each project and day."""
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(_DAYS):
            day = _FIRST + timedelta(days=number)
            ensure_partition(connection, day)
            for project in _PROJECTS:
                connection.execute(_FILL, {"project": project, "day": day.isoformat(), "runs": runs})
                connection.execute(_FEEDBACK, {"project": project, "day": day})
                connection.execute(QUERIES["fill_rollups"], {"project": project, "run_date": day})
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")


def _export(lab: Lab) -> None:
    """The columns that reports read as Parquet, by day, in groups of 20,000 rows."""
    with psycopg.connect(lab.url) as connection:
        for name, statement in (
            ("runs", _COPY),
            (
                "feedback",
                "copy (select run_date, project, key, score from feedback) to stdout (format csv, header)",
            ),
        ):
            with (
                connection.cursor().copy(statement.encode()) as rows,
                (lab.parquet / "x.csv").open("wb") as file,
            ):
                file.writelines(rows)
            lab.duck.execute(
                f"copy (select * from read_csv('{lab.parquet}/x.csv', sample_size=-1))"
                f" to '{lab.parquet}/{name}.parquet' (row_group_size 20480)"
            )


def _measure(lab: Lab, request: Request) -> None:
    [counted] = lab.reader.query(_ONLY_COUNT, request.parameters)
    print(f"{request}, {request.project or 'all projects'}: {counted['count']:,} runs")
    print(f"    milliseconds by the clock and of processors; the machine's load is {os.getloadavg()[0]:.1f}")
    print(f"    {'':16}{'lse':>16}{'count':>16}{'DuckDB':>16}{'of count':>10}{'of DuckDB':>15}")
    for name, question in DUCKDB.items():
        ours, floor, duck = _medians(
            lab.reader,
            lambda name=name: _answer(lab, name, request),  # type: ignore[misc]
            lambda: lab.reader.query(_ONLY_COUNT, request.parameters),
            lambda question=question: _ask_duck(lab, question, request),  # type: ignore[misc]
        )
        times = "".join(f"{took.clock:9.1f}{took.processors:7.1f}" for took in (ours, floor, duck))
        print(
            f"    {name:16}{times}{ours.clock / floor.clock:10.2f}"
            f"{ours.clock / duck.clock:9.2f}{ours.processors / duck.processors:6.2f}",
            flush=True,
        )


def _answer(lab: Lab, name: str, request: Request) -> Document:
    """The whole report, from the question to its bytes."""
    report = find_report(name)
    return report.render(report.from_store(lab.reader, request), request, "csv")


def _ask_duck(lab: Lab, question: str, request: Request) -> None:
    project = f" and project = '{request.project}'" if request.project else ""
    window = f"where run_date between '{request.start}' and '{request.end}'{project}"
    source = "feedback" if " from feedback" in question else "runs"
    rows = f"(select * from '{lab.parquet}/{source}.parquet' {window}) as {source}"
    lab.duck.execute(question.replace(f"from {source}", f"from {rows}")).fetchall()


def _medians(reader: OpenReader, *questions: Callable[[], object]) -> list[Took]:
    """The medians of the rounds for each, which begin with another question each time."""
    taken: list[list[Took]] = [[] for _ in questions]
    for turn in range(_ROUNDS * len(questions)):
        for place in range(len(questions)):
            asked = (turn + place) % len(questions)
            taken[asked].append(_took(reader, questions[asked]))
    return [_median(each[len(questions) :]) for each in taken]


def _median(taken: list[Took]) -> Took:
    return Took(*(statistics.median(figures) for figures in zip(*map(astuple, taken), strict=True)))


def _took(reader: OpenReader, question: Callable[[], object]) -> Took:
    began = time.process_time() + reader.server_seconds()
    clock = seconds_of(question)
    return Took(clock * 1000, (time.process_time() + reader.server_seconds() - began) * 1000)


def _measure_command(lab: Lab, day: date) -> None:
    """The whole command, from the shell's call to its end."""
    command = [str(Path(sys.executable).with_name("lse")), "report", "zenrows-errors", "-d", day.isoformat()]
    environment = {"LSE_DATABASE_URL": lab.url, "HOME": str(lab.parquet), "PATH": "/usr/bin:/bin"}
    before = os.times()
    clock = [
        seconds_of(lambda: subprocess.run(command, env=environment, capture_output=True, check=True))
        for _ in range(5)
    ]
    after = os.times()
    spent = (after.children_user + after.children_system - before.children_user - before.children_system) / 5
    print(
        f"    lse report zenrows-errors --date {day}: {statistics.median(clock) * 1000:,.0f} ms,"
        f" {spent * 1000:,.0f} ms of processors on average"
    )
    print(f"    this process held {peak_memory():,.0f} MB")


if __name__ == "__main__":
    main()
