"""What goes in comes out: the value in the store is the value of the archived text, byte for byte of it."""

import json
import os
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import conninfo
from test_store import DAY, run, trace

from bench import data
from lse.archive.identity import identify_run
from lse.archive.reading import read_folder
from lse.archive.trace_file import make_trace, write_trace
from lse.models import RawRun, parse_run
from lse.store import Store
from lse.store.binary import RUN_COLUMNS

GENUINE = Path(os.environ.get("LSE_GENUINE_DATA", ""), "chat_langchain_trace_runs.jsonl")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False, width=32)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
members = st.fixed_dictionaries(
    {"outputs": values, "tags": st.lists(texts, max_size=3), "name": texts, "error": st.none() | texts},
    optional={
        "total_tokens": st.integers(-(2**63), 2**63 - 1),
        "total_cost": st.decimals(allow_nan=False, allow_infinity=False, places=12).map(float),
        "parent_run_id": st.uuids().map(str),
        "status": st.sampled_from(["success", "error", "pending"]),
        "end_time": st.none() | st.datetimes().map(lambda time: time.isoformat()),
    },
)


def exact(text: bytes | str) -> Any:
    """The JSON value, numbers exact; -0 is 0, as in Postgres."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def stored(store: Store) -> dict[UUID, Any]:
    found = store.query("select run_id, data::text as data from runs", {})
    return {row["run_id"]: exact(row["data"]) for row in found}


@settings(max_examples=15)
@given(st.lists(members, min_size=1, max_size=30))
def test_the_stored_value_is_that_of_the_text_for_any_run(postgres_store: Store, runs: list[Any]) -> None:
    raws = [run(number, **changes) for number, changes in enumerate(runs)]
    result = postgres_store.load(DAY, [trace(*raws)], overwrite=True)
    assert result.stored + result.quarantined == len(raws)
    assert result.quarantined == 0
    found = stored(postgres_store)
    for raw in raws:
        if raw.ended or raw.id not in found:
            assert found[raw.id] == exact(raw.text)


@settings(max_examples=15)
@given(st.lists(members, min_size=1, max_size=30))
def test_the_typed_columns_are_what_the_run_says(postgres_store: Store, runs: list[Any]) -> None:
    raws = [
        run(number, **{**changes, "end_time": "2025-09-13T10:12:00"}) for number, changes in enumerate(runs)
    ]
    postgres_store.load(DAY, [trace(*raws)], overwrite=True)
    names = sorted(
        set(RUN_COLUMNS) & set(type(parse_run(raws[0].text)).__struct_fields__) - {"error", "tags"}
    )
    rows = {row["run_id"]: row for row in postgres_store.query("select * from runs", {})}
    for raw in raws:
        typed = parse_run(raw.text)
        assert {name: rows[raw.id][name] for name in names} == {name: getattr(typed, name) for name in names}
        assert rows[raw.id]["tags"] == list(typed.tags)


@pytest.fixture(scope="module")
def postgres_store(postgres_url: str, template: str) -> Any:
    """One database for all examples of a property: each loads over what the one before left."""
    name = f"lse_test_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        yield Store(conninfo.make_conninfo(postgres_url, dbname=name))
        admin.execute(f"drop database {name} with (force)".encode())


def genuine() -> list[RawRun]:
    return [identify_run(text) for text in GENUINE.read_bytes().splitlines()]


@pytest.mark.skipif(not GENUINE.exists(), reason="the genuine trace is private")
def test_a_genuine_trace_comes_back_as_the_same_values(store: Store) -> None:
    runs = genuine()
    store.load(DAY, [make_trace(runs[0].trace_id, runs)])
    assert stored(store) == {raw.id: exact(raw.text) for raw in runs}


DIGEST = """
    select md5(string_agg(md5((to_jsonb(runs) - 'loaded_at' - 'changed_xid')::text), '' order by run_id))
    from runs
"""


@pytest.mark.parametrize("batch_runs", [3, 2_000])
def test_a_store_rebuilt_from_the_archive_has_equal_rows(
    store: Store, database_url: str, tmp_path: Path, batch_runs: int
) -> None:
    traces = list(data.traces(40, DAY.day))
    for item in traces:
        write_trace(tmp_path, item)
    store.load(DAY, traces)
    [before] = store.query(DIGEST, {})
    rollups = store.query("select * from daily_rollups order by 1, 2, 3, 4, 5, 6", {})
    with psycopg.connect(database_url) as connection:
        connection.execute("truncate runs, daily_rollups, project_days")
    store.load(DAY, read_folder(tmp_path).traces(), batch_runs=batch_runs)
    assert store.query(DIGEST, {}) == [before]
    assert store.query("select * from daily_rollups order by 1, 2, 3, 4, 5, 6", {}) == rollups
