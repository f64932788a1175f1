"""Other ways to get the runs of a day's trace files into Postgres, as people write them."""

import asyncio
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlmodel import Session

from bench.measure import seconds_of
from lse.archive.layout import trace_files
from lse.archive.trace_file import read_trace_file
from lse.models import content_hash, parse_run
from lse.store.connection import connect
from lse.store.tables import RunRow

Peer = Callable[[str, Path, str], float]
"""Loads the trace files of a folder into the database at an address, payloads stored as told; seconds."""

TARGETS = {
    "dlt": "8 x slower than lse",
    "executemany upsert, as stored by default": "3.5 x slower than lse",
    "executemany upsert, stored alike": "",
    "SQLModel add_all": "",
}


def installed() -> dict[str, Peer]:
    """The peers that can run here, by name."""
    peers: dict[str, tuple[Peer, tuple[str, ...]]] = {
        "dlt": (_dlt, ("dlt", "psycopg2")),
        "executemany upsert, as stored by default": (_executemany_by_default, ("asyncpg",)),
        "executemany upsert, stored alike": (_executemany, ("asyncpg",)),
        "SQLModel add_all": (_add_all, ()),
    }
    return {
        name: peer
        for name, (peer, needed) in peers.items()
        if all(importlib.util.find_spec(module) for module in needed)
    }


def _documents(folder: Path) -> Iterator[dict[str, Any]]:
    for path in trace_files(folder):
        yield from json.loads(path.read_bytes())["runs"]


def _dlt(url: str, folder: Path, storage: str) -> float:  # noqa: ARG001 - dlt makes its table
    import dlt
    from dlt.destinations import postgres

    def rows() -> Iterator[dict[str, Any]]:
        for run in _documents(folder):
            yield {"run_id": run["id"], "trace_id": run["trace_id"], "name": run["name"], "data": run}

    with tempfile.TemporaryDirectory() as work:
        pipeline = dlt.pipeline(
            "bench", pipelines_dir=work, destination=postgres(_libpq(url)), dataset_name="peer_dlt"
        )
        table = dlt.resource(
            rows, name="peer_runs", columns={"data": {"data_type": "json"}}, primary_key="run_id",
            write_disposition="merge",
        )  # fmt: skip
        seconds = seconds_of(lambda: pipeline.run(table))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema peer_dlt cascade")
        connection.execute("drop schema if exists peer_dlt_staging cascade")
    return seconds


# What an earlier exporter made: every index twice over or unused, and checks that look into the payload.
_TABLE = """
create table peer_runs (
    id serial primary key, run_id varchar(255) not null unique, trace_id varchar(255) not null,
    project varchar(255) not null, run_date date not null, data jsonb not null,
    created_at timestamp default current_timestamp,
    check (data ->> 'run_id' = run_id), check (data ->> 'trace_id' = trace_id),
    check (data ->> 'project' = project), check ((data ->> 'run_date')::date = run_date)
);
create unique index on peer_runs (run_id);
create index on peer_runs (trace_id);
create index on peer_runs (project);
create index on peer_runs (run_date);
create index on peer_runs (project, run_date);
"""
_UPSERT = """
insert into peer_runs (run_id, trace_id, project, run_date, data)
values (:run_id, :trace_id, :project, current_date, cast(:data as jsonb))
on conflict (run_id) do update set trace_id = excluded.trace_id, project = excluded.project,
    run_date = excluded.run_date, data = excluded.data
"""


def _executemany_by_default(url: str, folder: Path, storage: str) -> float:  # noqa: ARG001 - that is the point
    """As people write it, who do not choose how Postgres compresses: by pglz."""
    return _executemany(url, folder, "compression default")


def _executemany(url: str, folder: Path, storage: str) -> float:
    """Every document in memory, then one statement with a list, in one transaction."""
    from sqlalchemy.ext.asyncio import create_async_engine

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLE.encode())
        connection.execute(f"alter table peer_runs alter column data set {storage}".encode())

    async def load() -> None:
        engine = create_async_engine("postgresql+asyncpg://", connect_args=_socket(url))
        rows = [
            {"run_id": run["id"], "trace_id": run["trace_id"], "project": "peer", "data": json.dumps(run)}
            for run in list(_documents(folder))
        ]
        async with engine.begin() as connection:
            await connection.execute(sa.text(_UPSERT), rows)
        await engine.dispose()

    return seconds_of(lambda: asyncio.run(load()))


def _add_all(url: str, folder: Path, storage: str) -> float:  # noqa: ARG001 - the table of lse has it
    def rows() -> Iterator[RunRow]:
        for path in trace_files(folder):
            trace = read_trace_file(path)
            for raw in trace.runs:
                run = parse_run(raw.text)
                known = {name: getattr(run, name) for name in RunRow.model_fields if hasattr(run, name)}
                yield RunRow(
                    **{**known, "tags": list(run.tags)},
                    run_date=trace.started.date(),
                    project="whole",
                    content_hash=content_hash(raw.text),
                    sanitized=False,
                    data=json.loads(raw.text),
                )

    def load() -> None:
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: connect(url, autocommit=False))
        with Session(engine) as session:
            session.add_all(rows())
            session.commit()
        engine.dispose()

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select lse_make_month('2025-09-13')")
    return seconds_of(load)


def _socket(url: str) -> dict[str, Any]:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return {
        "host": parts["host"],
        "port": str(parts["port"]),
        "user": parts["user"],
        "database": parts["dbname"],
    }


def _libpq(url: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return f"postgresql://{parts['user']}:unused@localhost:{parts['port']}/{parts['dbname']}?host={parts['host']}"
