"""Imports of an earlier exporter's data: what comes in, what stays, resuming, and taking it back exactly."""

import json
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from earlier_tool import (
    SAVED_LATER,
    SavedFile,
    feedback,
    one_day,
    run,
    uid,
    write_folder,
    write_table,
    write_zip,
)
from fetch_records import fetch_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lse.archive.earlier_index import EarlierIndex
from lse.archive.fetch_record import read_fetch_record, write_fetch_record
from lse.archive.identity import identify_run
from lse.archive.import_batch import Batch
from lse.archive.layout import trace_files
from lse.archive.manifest import content_sha256_of
from lse.archive.trace_file import make_trace, read_trace_file, write_trace
from lse.archive.versions import read_log
from lse.errors import ConfigurationError, DifferencesFound, IncompleteError, TemporaryError, UsageError
from lse.models import ProjectDay, StepResult
from lse.pipeline import importing as pipeline
from lse.pipeline import load, pack, verify
from lse.resources import Resources
from lse.settings import load_settings
from lse.store.events import Events

CHAT = ProjectDay("chat", date(2025, 9, 13))
REVIEW = ProjectDay("Token Review", CHAT.day)


class Place:
    """One machine with a store, and the folder of an earlier exporter."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.old = folder / "old"
        self.url = database_url
        self.data = folder / "data"
        self.flags: dict[str, Any] = {
            "database_url": database_url,
            "data_dir": self.data,
            "archive_dir": folder / "archives",
            "state_dir": folder / "state",
        }

    def resources(self, **flags: Any) -> Resources:
        return Resources(load_settings(**{**self.flags, **flags}))

    def bring_in(self, place: str | None = None, **flags: Any) -> dict[ProjectDay, StepResult]:
        """Import everything, as the command does."""
        with self.resources(**flags) as resources, self.index(place) as index:
            batch = pipeline.begin_import(resources, index)
            days = [found.day for found in index.days]
            results = {day: pipeline.import_day(resources, batch, index, day) for day in days}
            if not any(result.state == "differences" for result in results.values()):
                batch.finish()
        return results

    def take_back(self, day: ProjectDay, number: int = -1) -> StepResult:
        with self.resources() as resources:
            return pipeline.roll_back_day(resources, pipeline.imports(resources)[number], day)

    def take_all_back(self) -> None:
        with self.resources() as resources:
            batch = pipeline.imports(resources)[-1]
            for day in pipeline.days_to_roll_back(batch):
                pipeline.roll_back_day(resources, batch, day)

    def batches(self) -> list[Batch]:
        with self.resources() as resources:
            return pipeline.imports(resources)

    def index(self, place: str | None = None) -> EarlierIndex:
        return EarlierIndex(pipeline.open_earlier(place or str(self.old)), lambda done, total: None)

    def step(self, step: Callable[..., StepResult], day: ProjectDay = CHAT) -> StepResult:
        with self.resources() as resources:
            return step(resources, day)

    def archive(self, texts: Iterable[dict[str, Any]], *, complete: bool = True, loaded: bool = True) -> None:
        """Archive runs of one trace of the day as a fetch would leave them."""
        runs = [identify_run(json.dumps(text).encode()) for text in texts]
        folder = self.data / "chat" / "2025-09-13"
        folder.mkdir(parents=True, exist_ok=True)
        write_trace(folder, make_trace(runs[0].trace_id, runs))
        record = replace(FETCHED, complete=complete, content_sha256=content_sha256_of(folder))
        write_fetch_record(folder, record)
        if loaded:
            self.step(load)

    def texts(self, day: ProjectDay = CHAT) -> dict[int, dict[str, Any]]:
        """The archived runs by the number in their ids."""
        with self.resources() as resources:
            traces = [read_trace_file(path) for path in trace_files(resources.folder(day))]
        return {run.id.int: json.loads(run.text) for trace in traces for run in trace.runs}

    def tree(self) -> dict[str, bytes]:
        """Every file of the archive, by its path."""
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in sorted(self.data.rglob("*"))
            if path.is_file()
        }

    def digest(self) -> list[Any]:
        """What the store holds, but for the times at which it was written."""
        with psycopg.connect(self.url) as connection:
            return [connection.execute(statement).fetchall() for statement in STORED]

    def execute(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


FETCHED = fetch_record(
    project_id=uid(999),
    source="langsmith v1",
    fetched_at="2025-09-17T00:00:00+00:00",
    runs=1,
    traces=1,
    server_runs=1,
    server_traces=1,
)

STORED = (
    b"select project, run_date, trace_id, run_id, content_hash, data from runs order by 1, 2, 3, 4",
    b"select project, run_date, run_id, feedback_id, content_hash from feedback order by 1, 2, 3, 4",
    b"select run_date, trace_id, run_id, content_hash from run_versions order by 1, 2, 3, 4",
    b"select project, run_date, name, status, runs, traces from daily_rollups order by 1, 2, 3, 4",
    b"select project, run_date, content_hash from quarantine order by 1, 2, 3",
    b"select project, run_date, complete, runs, api from project_days order by 1, 2",
)


@pytest.fixture
def place(tmp_path: Path, database_url: str) -> Place:
    return Place(tmp_path, database_url)


def served(number: int, trace: int | None = None, **changes: Any) -> dict[str, Any]:
    """A run as LangSmith serves it: other times, more fields."""
    values = run(number, trace)
    times = {name: str(values[name]).replace(" ", "T") for name in ("start_time", "end_time")}
    return {**values, **times, "prompt_token_details": {}, **changes}


def address_of(conninfo: str, scheme: str = "postgresql") -> str:
    """The address of a database as people write it, with a password."""
    with psycopg.connect(conninfo) as connection:
        info = connection.info
        return f"{scheme}://{info.user}:secret@/{info.dbname}?host={info.host}&port={info.port}"


def record_of(place: Place) -> Any:
    record = read_fetch_record(place.data / "chat" / "2025-09-13")
    assert record is not None
    return record


# --- what comes in


def test_everything_arrives_in_the_files_and_in_the_store(place: Place) -> None:
    write_folder(place.old, one_day())

    results = place.bring_in()

    assert {day: (result.state, result.exit_code) for day, result in results.items()} == {
        REVIEW: ("done", 0),
        CHAT: ("done", 0),
    }
    assert results[CHAT].figures["added"] == 6
    assert results[CHAT].figures["feedback"] == 1
    assert place.texts()[2] == run(2, 1)
    assert place.execute("select count(*), count(distinct trace_id) from runs") == [(8, 3)]
    assert place.execute("select comment from feedback") == [("Good sources.",)]
    assert place.execute("select count(*) from runs where run_date = '2025-09-13'") == [(8,)]


def test_an_imported_day_is_not_said_to_be_complete(place: Place) -> None:
    write_folder(place.old, one_day())
    place.bring_in()

    record = record_of(place)

    assert (record.source, record.complete, record.runs, record.traces, record.feedback) == (
        "import",
        False,
        6,
        2,
        1,
    )
    assert record.reason == "imported; nothing proves that no run is missing"
    assert [entry.added for entry in read_log(place.data / "chat" / "2025-09-13")] == [6]
    assert set(place.execute("select complete, failed_step, failure from project_days")) == {
        (False, None, None)
    }


def test_an_import_is_told_as_an_event_and_is_no_failure(place: Place) -> None:
    write_folder(place.old, one_day())
    place.bring_in()

    told = place.execute("select kind, severity, step, data from events where project = 'chat'")
    assert ("day.imported", "info", "import", {"runs": 6, "traces": 2, "feedback": 1}) in told
    assert Events(place.url).failures(datetime(2025, 1, 1, tzinfo=UTC)) == []


def test_an_imported_day_is_packed_and_verified_like_any_other(place: Place) -> None:
    write_folder(place.old, one_day())
    place.bring_in()

    assert place.step(pack).state == "done"
    checked = place.step(verify)
    assert (checked.figures["differences"], checked.figures["runs"]) == (0, 6)


def test_importing_twice_is_importing_once(place: Place) -> None:
    write_folder(place.old, one_day())
    place.bring_in()
    tree, stored = place.tree(), place.digest()

    again = place.bring_in()

    assert {result.state for result in again.values()} == {"unchanged"}
    assert (place.tree(), place.digest()) == (tree, stored)
    assert len(place.batches()) == 1


def test_zips_and_the_table_give_the_same_runs(place: Place, empty_database_url: str) -> None:
    files = [SavedFile(run(1, feedback_records=[feedback(901, 1)])), SavedFile(run(2, 1))]
    write_zip(place.old, files)
    place.bring_in()
    texts = place.texts()
    place.take_all_back()
    write_table(empty_database_url, files)

    results = place.bring_in(address_of(empty_database_url))

    assert results[CHAT].figures["added"] == 2
    assert place.texts() == texts
    assert place.execute("select count(*) from feedback") == [(1,)]


def test_the_table_is_also_found_under_the_address_of_its_own_tool(
    place: Place, empty_database_url: str
) -> None:
    write_table(empty_database_url, [SavedFile(run(1))])
    address = address_of(empty_database_url, scheme="postgresql+asyncpg")

    with place.index(address) as index:
        assert [(found.day, found.runs) for found in index.days] == [(CHAT, 1)]
        assert "secret" not in index.source.name


def test_a_database_that_is_not_the_tools_is_refused(place: Place, empty_database_url: str) -> None:
    for url in (empty_database_url, place.url):
        with pytest.raises(UsageError, match="has no table `runs` of the earlier tool"):
            place.index(address_of(url))


def test_a_wrong_place_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        place.index(str(place.folder / "nowhere"))
    with pytest.raises(TemporaryError, match="does not answer"):
        place.index("postgresql://127.0.0.1:9/x")
    with pytest.raises(ConfigurationError):
        place.index("postgresql://127.0.0.1:x:9/x?nonsense=1")


def test_the_plan_says_what_is_new_equal_and_different_and_writes_nothing(place: Place) -> None:
    place.archive([served(1), run(2, 1)])
    tree = place.tree()
    write_folder(place.old, [SavedFile(run(number, 1 if number > 1 else None)) for number in (1, 2, 3)])

    with place.resources() as resources, place.index() as index:
        (planned,) = pipeline.plan_import(resources, index, ["chat"])

    assert (planned.new, planned.equal, planned.different) == (1, 0, 2)
    assert place.tree() == tree
    place.bring_in()
    with place.resources() as resources, place.index() as index:
        (planned,) = pipeline.plan_import(resources, index, ["chat"])
    assert (planned.new, planned.equal, planned.different) == (0, 1, 2)


# --- what is archived already


def test_what_langsmith_served_stays_and_what_it_lost_is_added(place: Place) -> None:
    place.archive([served(1), served(2, 1)])
    write_folder(place.old, [SavedFile(run(1)), SavedFile(run(2, 1)), SavedFile(run(3, 1))])

    result = place.bring_in()[CHAT]

    assert (result.figures["added"], result.figures["changed"], result.exit_code) == (1, 0, 0)
    assert place.texts() == {1: served(1), 2: served(2, 1), 3: run(3, 1)}


def test_a_proved_day_stays_proved(place: Place) -> None:
    place.archive([served(1)])
    write_folder(place.old, [SavedFile(run(1)), SavedFile(run(2, 1))])
    before = record_of(place)

    place.bring_in()

    after = record_of(place)
    assert after == replace(before, content_sha256=after.content_sha256, log_lines=1)
    assert after.complete
    assert after.content_sha256 != before.content_sha256


def test_an_imported_run_that_ended_replaces_one_that_had_not(place: Place) -> None:
    place.archive([served(1, end_time=None, status="pending")])
    write_folder(place.old, [SavedFile(run(1))])

    result = place.bring_in()[CHAT]

    assert (result.figures["added"], result.figures["changed"]) == (0, 1)
    assert place.texts() == {1: run(1)}
    assert place.execute("select status from runs") == [("success",)]


def test_a_later_fetch_replaces_what_was_imported(place: Place) -> None:
    write_folder(place.old, [SavedFile(run(1))])
    place.bring_in()
    place.archive([served(1)])

    with pytest.raises(IncompleteError, match="chat/2025-09-13 changed since the import"):
        place.take_back(CHAT)
    assert place.texts() == {1: served(1)}


def test_a_day_whose_files_were_changed_by_hand_is_refused(place: Place) -> None:
    place.archive([served(1)])
    (file,) = trace_files(place.data / "chat" / "2025-09-13")
    file.write_bytes(file.read_bytes().replace(b"step 1", b"step X"))
    write_folder(place.old, [SavedFile(run(2, 1))])

    with pytest.raises(DifferencesFound, match="are not those that the last fetch left"):
        place.bring_in()


def test_a_day_that_is_only_in_its_zip_is_refused(place: Place) -> None:
    place.archive([served(1)])
    place.step(pack)
    shutil.rmtree(place.data)
    write_folder(place.old, [SavedFile(run(2, 1))])

    with pytest.raises(UsageError, match="The trace files of chat/2025-09-13 are not in") as refused:
        place.bring_in()
    assert refused.value.hint == "Bring them back first: lse archive restore --project chat --date 2025-09-13"


def test_a_run_that_cannot_be_loaded_is_archived_and_in_quarantine(place: Place) -> None:
    write_folder(
        place.old, [SavedFile(run(1)), SavedFile(run(2, 1, name="a\0b\ud800", inputs={"x": float("nan")}))]
    )

    result = place.bring_in()[CHAT]

    assert (result.state, result.exit_code) == ("partial", 4)
    assert sorted(place.texts()) == [1, 2]
    assert place.execute("select count(*) from quarantine") == [(1,)]
    place.take_all_back()
    assert place.execute("select count(*) from quarantine") == [(0,)]


def test_a_row_that_is_gone_from_the_store_meanwhile_is_found(place: Place) -> None:
    write_folder(place.old, [SavedFile(run(1)), SavedFile(run(2, 1))])
    place.execute(
        "create function lose() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger lose before insert on runs "
        f"for each row when (new.run_id = '{uid(2)}') execute function lose()"
    )

    result = place.bring_in()[CHAT]

    assert (result.state, result.exit_code) == ("differences", 3)
    assert result.details == (f"run {uid(2)} is missing in store",)


# --- broken off, and taken back


def test_an_import_that_broke_off_goes_on_and_can_be_taken_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.archive([served(1)])
    tree, stored = place.tree(), place.digest()
    write_folder(place.old, [SavedFile(run(2, 1)), SavedFile(run(20)), SavedFile(run(30), project="other")])
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "load", _broken)
        with pytest.raises(KeyboardInterrupt):
            place.bring_in()
    assert place.tree() != tree

    with pytest.raises(IncompleteError, match="The import of chat/2025-09-13 was interrupted"):
        place.take_back(CHAT)
    results = place.bring_in()

    assert {result.state for result in results.values()} == {"done"}
    assert len(place.batches()) == 1
    place.take_all_back()
    assert (place.tree(), place.digest()) == (tree, stored)


def test_days_that_were_done_are_not_done_again(place: Place) -> None:
    write_folder(place.old, one_day())
    with place.resources() as resources, place.index() as index:
        batch = pipeline.begin_import(resources, index)
        pipeline.import_day(resources, batch, index, CHAT)
    journal = place.folder / "state" / "imports" / batch.name / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"event": "done", "proj')  # a kill in the middle of a line

    results = place.bring_in()

    assert results[CHAT].summary == "done before the interruption"
    assert results[REVIEW].state == "done"


def test_taking_back_goes_on_where_it_broke_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.archive([served(1)])
    tree, stored = place.tree(), place.digest()
    write_folder(place.old, [SavedFile(run(2, 1)), SavedFile(run(20))])
    place.bring_in()
    with monkeypatch.context() as patched:
        patched.setattr(Batch, "put_back", _broken)
        with pytest.raises(KeyboardInterrupt):
            place.take_all_back()
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "load", _broken)
        with pytest.raises(KeyboardInterrupt):
            place.take_all_back()

    place.take_all_back()

    assert (place.tree(), place.digest()) == (tree, stored)


def test_a_day_that_was_packed_since_stays(place: Place) -> None:
    write_folder(place.old, [SavedFile(run(1))])
    place.bring_in()
    place.step(pack)

    with pytest.raises(IncompleteError, match="was packed since the import"):
        place.take_back(CHAT)


def test_an_earlier_import_stays_until_the_later_one_is_taken_back(place: Place) -> None:
    write_folder(place.old, [SavedFile(run(1))])
    place.bring_in()
    write_folder(place.old, [SavedFile(run(2, 1))])
    place.bring_in()
    with pytest.raises(IncompleteError, match="changed since the import"):
        place.take_back(CHAT, 0)

    place.take_back(CHAT, 1)
    place.take_back(CHAT, 0)

    assert place.tree() == {}
    assert place.execute("select count(*) from runs") == [(0,)]


def test_an_import_into_the_earlier_tools_own_folder_leaves_its_files_alone(place: Place) -> None:
    place.old = place.data
    write_folder(place.data, one_day())
    tree = place.tree()

    place.bring_in()
    assert place.tree().items() > tree.items()
    place.take_all_back()

    assert place.tree() == tree


def test_without_hard_links_copies_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.archive([served(1, end_time=None, status="pending")])
    tree, stored = place.tree(), place.digest()
    write_folder(place.old, [SavedFile(run(1)), SavedFile(run(2, 1))])
    monkeypatch.setattr(Path, "hardlink_to", _no_links)

    place.bring_in()
    place.take_all_back()

    assert (place.tree(), place.digest()) == (tree, stored)


def _broken(*_: Any, **__: Any) -> StepResult:
    raise KeyboardInterrupt


def _no_links(self: Path, other: Path) -> None:
    raise OSError(18, "Invalid cross-device link")


FILES = st.lists(
    st.builds(
        lambda number, late, ended: SavedFile(
            run(number, 1 if number > 1 else None)
            | ({} if ended else {"end_time": None, "status": "pending"})
            | ({"feedback_records": [feedback(900 + number, number)]} if late else {}),
            **({"at": SAVED_LATER} if late else {}),
        ),
        st.integers(1, 4),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
ARCHIVED = st.lists(st.tuples(st.integers(2, 5), st.booleans()), max_size=3, unique_by=lambda each: each[0])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(files=FILES, archived=ARCHIVED, seed=st.randoms(use_true_random=False))
def test_an_import_in_any_order_and_twice_is_one_import_and_goes_away_without_a_trace(
    place: Place, files: list[SavedFile], archived: list[tuple[int, bool]], seed: random.Random
) -> None:
    for folder in (place.old, place.data, place.folder / "state"):
        shutil.rmtree(folder, ignore_errors=True)
    place.execute("truncate runs, feedback, run_versions, daily_rollups, quarantine, project_days")
    if archived:
        pending = {"end_time": None, "status": "pending"}
        place.archive(
            [served(1), *(served(number, 1, **({} if ended else pending)) for number, ended in archived)]
        )
    place.data.mkdir(exist_ok=True)
    before = place.tree(), place.digest()

    write_folder(place.old, files)
    place.bring_in()
    after = place.tree(), place.digest()
    place.bring_in()
    assert (place.tree(), place.digest()) == after

    if place.batches():
        place.take_all_back()
    assert (place.tree(), place.digest()) == before

    shutil.rmtree(place.old)
    write_folder(place.old, seed.sample(files, len(files)))
    place.bring_in()
    assert set(place.tree()) == set(after[0])


# --- without an import


def test_to_db_loads_a_folder_that_holds_only_the_earlier_tools_files(place: Place) -> None:
    write_folder(place.data, one_day())

    result = place.step(load)

    assert (result.state, result.figures["inserted"], result.figures["feedback"]) == ("done", 6, 1)
    assert place.step(load, REVIEW).figures["inserted"] == 2
    assert place.step(load).state == "unchanged"
    with pytest.raises(UsageError, match="Nothing of chat/2025-09-12 is archived"):
        place.step(load, ProjectDay("chat", date(2025, 9, 12)))


def test_to_db_prefers_our_own_trace_files(place: Place) -> None:
    write_folder(place.data, [SavedFile(run(7))])
    place.archive([served(1)])

    assert place.execute("select run_id::text from runs") == [(uid(1),)]
