"""What an earlier exporter left is read: shapes, versions of a run, days, feedback, and what is no run."""

import json
import random
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from earlier_tool import (
    MORNING,
    SAVED,
    SAVED_LATER,
    SavedFile,
    Shape,
    feedback,
    one_day,
    run,
    uid,
    write_folder,
    write_zip,
)
from hypothesis import given
from hypothesis import strategies as st

from lse.archive.earlier import EarlierFolder, Saved, Unreadable, merge_imported, read_earlier
from lse.archive.earlier_index import EarlierIndex
from lse.archive.identity import Unplaced, identify_run
from lse.archive.trace_file import make_trace
from lse.models import ProjectDay, Trace, content_hash, parse_run

CHAT = ProjectDay("chat", date(2025, 9, 13))


def index(folder: Path) -> EarlierIndex:
    return EarlierIndex(EarlierFolder(folder), lambda done, total: None)


def saved(file: SavedFile) -> Saved:
    return Saved(file.name, file.name.split("/")[0], file.content)


def as_served(text: str) -> Trace:
    found = identify_run(text.encode())
    return make_trace(found.trace_id, [found])


# --- one file


@pytest.mark.parametrize(("shape", "project"), [("enhanced", "chat"), ("legacy", "chat"), ("bare", None)])
def test_each_shape_gives_the_inner_run(shape: Shape, project: str | None) -> None:
    found = read_earlier(saved(SavedFile(run(2, 1), shape)))

    assert (found.run.id, found.run.trace_id, found.run.parent_id) == (
        UUID(uid(2)),
        UUID(uid(1)),
        UUID(uid(1)),
    )
    assert found.project == project
    assert json.loads(found.run.text) == run(2, 1)
    assert b"\n" not in found.run.text


def test_the_text_of_a_run_is_that_of_the_file_but_for_line_breaks() -> None:
    content = b"""{
  "metadata": {"project_name": "chat", "extracted_at": "2025-09-14T01:02:03"},
  "trace": {
    "id": "%(id)s", "trace_id": "%(id)s",
    "start_time": "2025-09-13 08:30:00", "end_time": null,
    "inputs": {"huge": 1e400, "zero": -0, "long": 12345678901234567890, "twice": 1, "twice": 2}
  }
}""" % {b"id": uid(1).encode()}

    found = read_earlier(Saved("x.json", "chat", content))

    assert found.run.text == (
        b'{ "id": "%(id)s", "trace_id": "%(id)s", "start_time": "2025-09-13 08:30:00", "end_time": null, '
        b'"inputs": {"huge": 1e400, "zero": -0, "long": 12345678901234567890, "twice": 1, "twice": 2} }'
    ) % {b"id": uid(1).encode()}
    assert not found.run.ended


def test_times_as_python_prints_them_are_utc() -> None:
    text = read_earlier(saved(SavedFile(run(1)))).run.text

    assert parse_run(text).start_time == datetime.fromisoformat("2025-09-13T08:30:00.622037+00:00")
    assert parse_run(text).end_time == datetime.fromisoformat("2025-09-13T08:30:02.622037+00:00")


def test_a_feedback_record_keeps_its_fields_and_says_its_source_as_langsmith_does() -> None:
    found = read_earlier(saved(SavedFile(run(1, feedback_records=[feedback(901, 1)]))))

    (item,) = found.feedback
    assert (item.id, item.run_id) == (UUID(uid(901)), UUID(uid(1)))
    assert json.loads(item.text) == {**feedback(901, 1), "feedback_source": {"type": "api"}}


def test_a_feedback_record_without_ids_is_counted_and_spoils_nothing() -> None:
    records = [feedback(901, 1), feedback(902, 1, id=None), "odd"]

    found = read_earlier(saved(SavedFile(run(1, feedback_records=records))))

    assert (len(found.feedback), found.odd_feedback) == (1, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"metadata": {}}',
        b'{"trace": null, "metadata": {}}',
        b'{"trace": {"id": "x"}, "metadata": {}}',
        b'{"trace": {}, "metadata": [',
        b'{"id": "%s"}' % uid(1).encode(),
        b'{"id": "%(id)s", "trace_id": "%(id)s", "start_time": "soon"}' % {b"id": uid(1).encode()},
        b"[" * 100_000,
    ],
)
def test_what_is_no_run_is_refused_without_quoting_it(content: bytes) -> None:
    with pytest.raises(Unplaced) as refused:
        read_earlier(Saved("x.json", "chat", content))
    assert "soon" not in str(refused.value)


# --- a folder


def test_a_folder_gives_traces_whole_on_the_day_of_their_root(tmp_path: Path) -> None:
    with index(write_folder(tmp_path, one_day())) as found:
        review = ProjectDay("Token Review", CHAT.day)
        assert [(each.day, each.runs, each.traces, each.twins, each.feedback) for each in found.days] == [
            (review, 2, 1, 0, 0),
            (CHAT, 6, 2, 1, 1),
        ]
        traces = {trace.id: [run.id.int for run in trace.runs] for trace in found.traces(CHAT)}
        assert traces == {UUID(uid(1)): [1, 2, 3, 4], UUID(uid(10)): [10, 11]}
        assert found.unreadable == []


def test_a_trace_without_its_root_is_on_the_day_of_its_dotted_order(tmp_path: Path) -> None:
    after = datetime.fromisoformat("2025-09-14 00:10:00")
    order = f"20250913T235900000000Z{uid(1)}.20250914T001000000000Z{uid(2)}"
    with index(write_folder(tmp_path, [SavedFile(run(2, 1, after, dotted_order=order))])) as found:
        assert [each.day for each in found.days] == [CHAT]


def test_a_trace_without_root_and_order_is_on_the_day_of_its_earliest_start(tmp_path: Path) -> None:
    after = datetime.fromisoformat("2025-09-14 00:10:00")
    files = [SavedFile(run(2, 1, after, dotted_order=None)), SavedFile(run(3, 1, dotted_order=None))]
    with index(write_folder(tmp_path, files)) as found:
        assert [(each.day, each.runs) for each in found.days] == [(CHAT, 2)]


def test_an_ended_version_beats_a_later_unended_one_and_then_the_later_save_counts(tmp_path: Path) -> None:
    later, latest = SAVED + timedelta(hours=1), SAVED_LATER
    unended = run(1, end_time=None, status="pending")
    files = [
        SavedFile(run(1, name="first")),
        SavedFile(run(1, name="second"), at=later),
        SavedFile(unended, at=latest),
    ]
    with index(write_folder(tmp_path, files)) as found:
        (trace,) = found.traces(CHAT)
        assert [json.loads(run.text)["name"] for run in trace.runs] == ["second"]
        assert found.days[0].twins == 2


def test_feedback_that_only_an_earlier_version_has_stays(tmp_path: Path) -> None:
    files = [
        SavedFile(run(1, feedback_records=[feedback(901, 1), feedback(902, 1, comment="old")])),
        SavedFile(run(1, feedback_records=[feedback(902, 1, comment="new")]), at=SAVED_LATER),
    ]
    with index(write_folder(tmp_path, files)) as found:
        (trace,) = found.traces(CHAT)
        assert [json.loads(item.text)["comment"] for item in trace.feedback] == ["Good sources.", "new"]
        assert found.days[0].feedback == 2


def test_a_bare_run_is_of_the_one_project_that_its_folder_names(tmp_path: Path) -> None:
    named, bare = SavedFile(run(1), project="My Project"), SavedFile(run(2), "bare", project="My Project")
    with index(write_folder(tmp_path / "one", [named, bare])) as found:
        assert [(each.day.project, each.runs) for each in found.days] == [("My Project", 2)]
    other = SavedFile(run(3), project="MyProject")
    with index(write_folder(tmp_path / "two", [named, bare, other])) as found:
        assert [(each.day.project, each.runs) for each in found.days] == [("My Project", 1), ("MyProject", 2)]


def test_a_zip_is_read_like_its_folder(tmp_path: Path) -> None:
    files = [SavedFile(run(1)), SavedFile(run(2, 1), "legacy"), SavedFile(run(3, 1), "bare")]
    with (
        index(write_folder(tmp_path / "a", files)) as plain,
        index(write_zip(tmp_path / "b", files)) as zipped,
    ):
        assert zipped.digest(CHAT) == plain.digest(CHAT)
        assert list(zipped.traces(CHAT)) == list(plain.traces(CHAT))


def test_unreadable_files_are_listed_and_notes_and_our_own_files_are_not_read(tmp_path: Path) -> None:
    write_folder(tmp_path, [SavedFile(run(1))])
    day = tmp_path / "chat" / "2025-09-13"
    (day / "broken.json").write_text("{")
    (day / "_fetch.json").write_text("{")
    (day / f"083000_{uid(1)}.json").write_text("a trace file of lse")
    (day / ".hidden.json").write_text("{")
    (tmp_path / "chat_2025-09-13.zip").write_text("no zip")
    with index(tmp_path) as found:
        assert found.unreadable == [
            Unreadable("chat/2025-09-13/broken.json", "not a readable run file"),
            Unreadable("chat_2025-09-13.zip", "it is no zip that can be read"),
        ]
        assert [each.runs for each in found.days] == [1]


def test_names_that_are_no_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    write_folder(tmp_path, [SavedFile(run(1), project="a\ud800b\0c")])
    (tmp_path / "ab\udcff.json").write_bytes(b"{")
    with index(tmp_path) as found:
        assert [each.day.project for each in found.days] == ["a?b?c"]
        assert [each.place for each in found.unreadable] == ["ab\udcff.json"]


def test_a_file_that_is_gone_when_it_is_needed_is_named(tmp_path: Path) -> None:
    file = SavedFile(run(1))
    with index(write_folder(tmp_path, [file])) as found:
        (tmp_path / file.name).unlink()
        with pytest.raises(Unplaced, match=rf"{uid(1)}_010203.json is not there any more"):
            list(found.traces(CHAT))


@given(order=st.randoms(use_true_random=False), versions=st.lists(st.booleans(), min_size=1, max_size=4))
def test_the_order_of_the_files_does_not_matter(order: random.Random, versions: list[bool]) -> None:
    files = [
        SavedFile(
            run(1, name=f"version {number}", end_time=str(MORNING) if ended else None, status=None),
            at=SAVED + timedelta(minutes=number // 2),
        )
        for number, ended in enumerate(versions)
    ] + [SavedFile(run(2, 1))]
    shuffled = order.sample(files, len(files))

    first, second = (_index_of(each) for each in (files, shuffled))

    with first, second:
        assert first.days == second.days
        assert list(first.traces(CHAT)) == list(second.traces(CHAT))


class _Listed:
    """Files in the order given, also two with one name."""

    name = "listed"

    def __init__(self, files: list[SavedFile]) -> None:
        found = [saved(file) for file in files]
        self._files = {f"{content_hash(one.content)}{one.place}": one for one in found}

    def scan(self) -> list[Saved]:
        return [Saved(place, one.project, one.content) for place, one in self._files.items()]

    def read(self, places: list[str]) -> list[Saved]:
        return [Saved(place, self._files[place].project, self._files[place].content) for place in places]

    def close(self) -> None:
        pass


def _index_of(files: list[SavedFile]) -> EarlierIndex:
    return EarlierIndex(_Listed(files), lambda done, total: None)  # type: ignore[arg-type]


# --- what is archived already


def test_what_langsmith_served_stays_where_the_imported_run_ended_no_later() -> None:
    served = as_served(
        json.dumps({**run(1), "prompt_token_details": {}, "end_time": "2025-09-13T08:30:02.622037"})
    )
    imported = as_served(json.dumps(run(1)))

    assert merge_imported(served, imported) == served


def test_an_imported_run_that_ended_replaces_one_that_had_not() -> None:
    pending = as_served(json.dumps({**run(1), "end_time": None, "status": "pending"}))
    imported = as_served(json.dumps(run(1)))

    assert merge_imported(pending, imported) == imported
    assert merge_imported(imported, pending) == imported


def test_runs_and_feedback_that_are_not_archived_are_added() -> None:
    served = as_served(json.dumps(run(1)))
    found = read_earlier(saved(SavedFile(run(2, 1, feedback_records=[feedback(901, 2)]))))
    merged = merge_imported(served, make_trace(served.id, [found.run], found.feedback))

    assert [item.id.int for item in merged.runs] == [1, 2]
    assert [item.id.int for item in merged.feedback] == [901]
