"""Searching: words and substrings, with an index and without, the same runs; bounded in time."""

import io
import string
from datetime import date
from uuid import UUID

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_runs import DAY, load, numbers, raw, run_id

from lse.errors import ConfigurationError, TemporaryError, UsageError
from lse.models import ProjectDay
from lse.store import Store, search_index
from lse.store.reading import READING, Reader
from lse.store.revisions import migrations_folder

NEXT = ProjectDay("chat", date(2025, 9, 14))
OCTOBER = ProjectDay("other", date(2025, 10, 2))


@pytest.fixture
def reader(store: Store, database_url: str) -> Reader:
    """Three days in two months and two projects."""
    load(
        store,
        raw(0, run_id(0), inputs={"question": "What does the Uniswap audit say?\nSecond line"}),
        raw(1, run_id(0), outputs={"answer": ["No risk, 100% sure_thing", {"deep": "Größe"}]}),
        raw(2, run_id(0), error="TimeoutError: audit of https://example.org/page timed out"),
    )
    load(store, raw(3, run_id(3), inputs={"question": "audit again"}), day=NEXT)
    load(store, raw(4, run_id(4), name="audit"), day=OCTOBER)
    return Reader(database_url)


def found(reader: Reader, text: str, project: str | None = None, **options: object) -> list[int]:
    return numbers(reader.search(text, DAY.day, OCTOBER.day, project, **options).runs)  # type: ignore[arg-type]


@pytest.mark.parametrize("indexed", [False, True])
def test_words_are_found_in_name_error_inputs_and_outputs(
    reader: Reader, database_url: str, indexed: bool
) -> None:
    if indexed:
        assert search_index.build(database_url, "words") == ["runs_2025_09", "runs_2025_10"]
    assert found(reader, "AUDIT") == [4, 3, 2, 0]
    assert found(reader, "audit", "chat") == [3, 2, 0]
    assert found(reader, "second") == [0]
    assert found(reader, "größe") == [1]
    assert found(reader, "audit -again", "chat") == [2, 0]
    assert found(reader, '"audit say"') == [0]
    assert found(reader, '"say audit"') == []
    assert found(reader, "uniswap or risk") == [1, 0]
    assert found(reader, "aud") == []


def test_substrings_are_found_inside_of_words_and_special_characters_mean_themselves(reader: Reader) -> None:
    assert found(reader, "UDI", substring=True) == [4, 3, 2, 0]
    assert found(reader, "100% sure_", substring=True) == [1]
    assert found(reader, "100_", substring=True) == []
    assert found(reader, "%", substring=True) == [1]
    assert found(reader, "\\", substring=True) == []
    assert found(reader, "say?\nSecond", substring=True) == [0]
    assert found(reader, '"question": "audit', substring=True) == []


def test_words_are_found_in_beginnings_and_substrings_everywhere(store: Store, reader: Reader) -> None:
    long = "early " + "x " * 600 + "late"
    load(store, raw(6, run_id(6), inputs={"question": long}), day=NEXT)
    assert found(reader, "early") == [6]
    assert found(reader, "late") == []
    assert found(reader, "late", substring=True) == [6]


def test_only_the_days_asked_for_are_searched(reader: Reader) -> None:
    assert numbers(reader.search("audit", DAY.day, DAY.day).runs) == [2, 0]
    assert numbers(reader.search("audit", NEXT.day, NEXT.day).runs) == [3]


def test_pages_of_a_search_follow_each_other(reader: Reader) -> None:
    first = reader.search("audit", DAY.day, OCTOBER.day, limit=3)
    second = reader.search("audit", DAY.day, OCTOBER.day, limit=3, after=first.cursor)
    assert (numbers(first.runs), numbers(second.runs), second.cursor) == ([4, 3, 2], [0], None)


def test_a_search_without_a_word_is_refused(reader: Reader) -> None:
    with pytest.raises(UsageError, match="no word"):
        found(reader, ".-")


def test_the_index_is_used_and_stays_with_months_that_begin_later(
    reader: Reader, store: Store, database_url: str
) -> None:
    search_index.build(database_url, "words")
    load(store, raw(5, run_id(5), name="audit"), day=ProjectDay("chat", date(2025, 11, 1)))
    assert numbers(reader.search("audit", date(2025, 11, 1), date(2025, 11, 1)).runs) == [5]
    parameters = {
        **dict.fromkeys(("project", "run_date", "trace_id", "run_id")),
        **{"start": DAY.day, "end": date(2025, 11, 1), "text": "audit", "limit": 5},
    }
    with psycopg.connect(database_url) as connection:
        connection.execute("set enable_seqscan = off; set enable_indexscan = off")
        plan = connection.execute(b"explain " + READING["search_words"], parameters).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert text.count("Bitmap Index Scan") == 3


def test_an_index_is_built_once_mended_when_half_built_and_dropped(reader: Reader, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create index runs_2025_09_search_words on runs_2025_09 (name)")  # a leftover
    assert search_index.build(database_url, "words") == ["runs_2025_09", "runs_2025_10"]
    assert search_index.build(database_url, "words") == []
    assert list(search_index.sizes(database_url)) == ["words"]
    assert search_index.sizes(database_url)["words"] > 0
    assert search_index.drop(database_url) == ["words"]
    assert search_index.sizes(database_url) == {}
    assert found(reader, "audit") == [4, 3, 2, 0]


def test_alembic_leaves_the_index_alone(
    reader: Reader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_index.build(database_url, "words")
    monkeypatch.setenv("LSE_DATABASE_URL", database_url)
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(migrations_folder()))
    command.check(config)  # raises when the schema is not the declared one


def test_an_index_for_substrings_needs_pg_trgm(reader: Reader, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        there = connection.execute("select from pg_available_extensions where name = 'pg_trgm'").fetchone()
    if there is None:
        with pytest.raises(ConfigurationError, match="pg_trgm"):
            search_index.build(database_url, "substring")
        return
    search_index.build(database_url, "substring")
    with psycopg.connect(database_url) as connection:
        connection.execute("set enable_seqscan = off")
        plan = connection.execute("explain select from runs where data::text ilike '%audit%'").fetchall()
    assert str(plan).count("search_substring") == 2
    assert found(reader, "UDI", substring=True) == [4, 3, 2, 0]


def test_a_search_that_takes_too_long_says_what_helps(reader: Reader, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("lock table runs in access exclusive mode")
        with pytest.raises(TemporaryError, match="longer than 1 s") as late:
            Reader(database_url, timeout=1).search("audit", DAY.day, DAY.day)
    assert "search-index on" in late.value.hint


def test_a_run_of_any_size_can_be_indexed(store: Store, database_url: str) -> None:
    search_index.build(database_url, "words")
    words = " ".join(f"w{n}" for n in range(300_000))
    day = [raw(0, run_id(0), inputs={"question": "x" * 3_000_000}, outputs={"a": words}, error=words)]
    load(store, *day)
    assert numbers(Reader(database_url).search("w7", DAY.day, DAY.day).runs) == [0]
    assert store.quarantined(DAY) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=string.printable + "äß漢\\%_'\"", min_size=1, max_size=20))
def test_any_text_may_be_searched_for(reader: Reader, text: str) -> None:
    if "\0" in text:
        return
    reader.search(text, DAY.day, DAY.day, substring=True)
    if any(map(str.isalnum, text)):
        reader.search(text, DAY.day, DAY.day)


def test_ids_are_not_words_of_the_text(reader: Reader) -> None:
    assert found(reader, str(UUID(int=1))) == []
