"""Every kind of damage to every copy: found, named, repaired, taken back; and no alarm without one."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
from day_of_copies import DAY, DayOfCopies

from lse.archive.fetch_record import read_fetch_record, write_fetch_record
from lse.archive.versions import read_log
from lse.errors import DifferencesFound
from lse.pipeline import restore
from lse.pipeline.verifying import Depth
from lse.resources import Resources


@dataclass(frozen=True)
class Damage:
    do: Callable[[DayOfCopies], object]
    says: str
    """In one of the lines that name it"""
    depth: Depth = "default"


def _swap(first: Path, second: Path) -> None:
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _add_trace(day: DayOfCopies) -> None:
    path, stranger = day.traces()[0], str(uuid4())
    other = path.with_name(f"{path.name[:7]}{stranger}.json")
    other.write_bytes(path.read_bytes().replace(path.name[7:43].encode(), stranger.encode()))


def _duplicate(day: DayOfCopies) -> None:
    path = day.traces()[0]
    shutil.copy(path, path.with_name(f"235959{path.name[6:]}"))


def _flip_text(day: DayOfCopies) -> None:
    path = day.traces()[1]
    day.flip(path, path.read_bytes().index(b"noise") + 20)


def _flip_manifest(day: DayOfCopies) -> None:
    day.flip(day.zip, day.zip.read_bytes().index(b"manifest.json") + 40)


def _flip_in_zip(day: DayOfCopies, name: str) -> None:
    day.flip(day.zip, day.zip.read_bytes().index(name.encode()) + len(name) + 60)


def _flip_header(day: DayOfCopies) -> None:
    day.flip(day.zip, 11)  # the time of the first member, which no reader looks at


def _flip_record(day: DayOfCopies) -> None:
    path = day.folder / "_fetch.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {"content_sha256": "0" * 64}))


def _flip_figure(day: DayOfCopies) -> None:
    path = day.folder / "_fetch.json"
    path.write_bytes(path.read_bytes().replace(b'"walks": 1', b'"walks": 3'))


def _put_other_record(day: DayOfCopies) -> None:
    record = read_fetch_record(day.folder)
    assert record is not None
    write_fetch_record(day.folder, replace(record, content_sha256="0" * 64))


def _delete_all_files(day: DayOfCopies) -> None:
    for path in [*day.traces(), day.attachment(), day.folder / "superseded.jsonl"]:
        path.unlink()


def _one_file_each(day: DayOfCopies) -> None:
    day.traces()[2].unlink()
    _flip_text(day)
    day.object.unlink()


def _row(statement: str) -> Callable[[DayOfCopies], object]:
    return lambda day: day.sql(statement)


_COPY_ROW = """
insert into runs (run_date, trace_id, run_id, content_hash, start_time, sanitized, project, tags, data)
select run_date, '{0}', '{0}', content_hash, start_time, false, project, '{{}}',
       jsonb_build_object('id', '{0}', 'trace_id', '{0}') from runs limit 1
"""
_SWAP_ROWS = """
with pair as (select run_id, content_hash, row_number() over (order by run_id) as n from runs limit 2)
update runs set content_hash = other.content_hash from pair as own join pair as other on other.n = 3 - own.n
where runs.run_id = own.run_id
"""
_FIRST = "(select min(run_id::text)::uuid from runs)"

DAMAGES = {
    "a bit of a run in a file": Damage(_flip_text, "differs in files"),
    "any bit of a file": Damage(lambda day: day.flip(day.traces()[0]), "files"),
    "a file cut short": Damage(lambda day: _truncate(day.traces()[0]), "is damaged"),
    "a file gone": Damage(lambda day: day.traces()[3].unlink(), "is missing in files"),
    "a file twice": Damage(_duplicate, "is only in files"),
    "two files swapped": Damage(lambda day: _swap(*day.traces()[:2]), "another trace than it says"),
    "a file added": Damage(_add_trace, "is only in files"),
    "a bit of an attachment": Damage(lambda day: day.flip(day.attachment()), "not what its name says"),
    "an attachment gone": Damage(lambda day: day.attachment().unlink(), "is missing in files"),
    "a bit of earlier texts": Damage(
        lambda day: day.flip(day.folder / "superseded.jsonl", 3), "earlier text with content"
    ),
    "every file gone": Damage(_delete_all_files, "every trace file of chat/2025-09-13 is missing in files"),
    "the record of the fetch": Damage(_flip_record, "_fetch.json"),
    "a figure of that record": Damage(_flip_figure, "_fetch.json"),
    "the record of the fetch gone": Damage(
        lambda day: (day.folder / "_fetch.json").unlink(), "record: _fetch.json is gone"
    ),
    "half of that record": Damage(
        lambda day: _truncate(day.folder / "_fetch.json"), "_fetch.json is not as it was written"
    ),
    "the record of another fetch": Damage(_put_other_record, "does not say what the last fetch left"),
    "a bit of a trace in the zip": Damage(
        lambda day: _flip_in_zip(day, day.traces()[1].name), ".json in 2025-09-13.zip"
    ),
    "a bit of the attachment in the zip": Damage(
        lambda day: _flip_in_zip(day, day.attachment().name), ".bin in 2025-09-13.zip"
    ),
    "a bit of the zip's manifest": Damage(_flip_manifest, "zip: "),
    "a bit that no reader of zips looks at": Damage(_flip_header, "has other bytes than were packed"),
    "the zip cut short": Damage(lambda day: _truncate(day.zip), "is not a readable zip"),
    "the zip gone": Damage(lambda day: day.zip.unlink(), "is missing in zip"),
    "a bit of the target's object": Damage(lambda day: day.flip(day.object), "differs in target"),
    "the target's object cut short": Damage(lambda day: _truncate(day.object), "differs in target"),
    "the target's object gone": Damage(lambda day: day.object.unlink(), "is missing in target"),
    "a row gone": Damage(_row(f"delete from runs where run_id = {_FIRST}"), "is missing in store"),
    "every row gone": Damage(_row("delete from runs"), "is missing in store"),
    "the hash of a row": Damage(
        _row(f"update runs set content_hash = gen_random_uuid() where run_id = {_FIRST}"), "differs in store"
    ),
    "the hashes of two rows swapped": Damage(_row(_SWAP_ROWS), "differs in store"),
    "a row added": Damage(lambda day: day.sql(_COPY_ROW.format(uuid4())), "is only in store"),
    "feedback gone": Damage(_row("delete from feedback"), "is missing in store"),
    "feedback changed": Damage(
        _row("update feedback set content_hash = gen_random_uuid()"), "differs in store"
    ),
    "the ledger's entry gone": Damage(_row("delete from project_days"), "is missing in ledger"),
    "a figure of the ledger": Damage(_row("update project_days set runs = runs + 1"), "differs in ledger"),
    "the ledger's hash of the zip": Damage(
        _row("update project_days set zip_md5 = reverse(zip_md5)"), "differs in ledger"
    ),
    "the payload of a row": Damage(
        _row(f'update runs set data = data || \'{{"name": "x"}}\' where run_id = {_FIRST}'),
        "the row of",
        "deep",
    ),
    "a column of a row": Damage(
        _row(f"update runs set status = 'error' where run_id = {_FIRST}"), "the row of", "deep"
    ),
    "the score of feedback": Damage(_row("update feedback set score = 0.6"), "the row of", "deep"),
    "files and zip damaged in different places, the target gone": Damage(_one_file_each, "differs in files"),
}


@pytest.fixture
def day(tmp_path: Path, database_url: str) -> DayOfCopies:
    """A sound day."""
    return DayOfCopies(tmp_path, database_url)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found_named_repaired_and_taken_back(day: DayOfCopies, kind: str) -> None:
    damage, golden = DAMAGES[kind], day.content()
    damage.do(day)
    before = day.all_bytes(), day.rows(without={"verified_at", "differences"})["runs"]
    found = day.compare(damage.depth)
    assert any(damage.says in str(each) for each in found.differences), list(map(str, found.differences))
    damaged = day.exact()
    assert (damaged[0], damaged[1]["runs"]) == before
    fixed = day.fix(depth=damage.depth)
    assert (fixed.failed, list(map(str, fixed.copies.differences))) == ((), [])
    assert fixed.result.exit_code == 0
    assert_equal(day.content(), golden)
    assert day.undo().state == "done"
    assert_equal(day.exact(), damaged)
    assert day.compare(damage.depth).differences == found.differences
    assert day.fix(depth=damage.depth).result.exit_code == 0


def test_what_a_repair_counted_anew_is_taken_back_as_well(day: DayOfCopies) -> None:
    for table in ("runs", "daily_rollups", "daily_traces", "daily_feedback"):
        day.sql(f"delete from {table}")
    damaged = day.exact()
    assert day.fix().failed == ()
    assert day.exact()[1]["daily_traces"] != []
    assert day.undo().state == "done"
    assert_equal(day.exact(), damaged)


def test_what_an_earlier_version_did_not_put_aside_is_counted_again(day: DayOfCopies) -> None:
    day.sql(f"delete from runs where run_id = {_FIRST}")
    damaged = day.exact()[1]
    assert day.fix().failed == ()
    unsaved = list(day.root.glob("state/repairs/*/*_rows/daily_feedback.*"))
    assert unsaved
    for path in unsaved:
        path.unlink()
    day.sql("delete from daily_feedback")
    assert day.undo().state == "done"
    found = day.exact()[1]
    assert [found[name] for name in ("runs", "daily_feedback")] == [
        damaged[name] for name in ("runs", "daily_feedback")
    ]


def test_no_good_copy_is_replaced_from_files_that_could_not_be_repaired(day: DayOfCopies) -> None:
    for path in [*day.traces(), day.attachment(), day.folder / "_fetch.json"]:
        path.unlink()
    day.object.unlink()
    _flip_header(day)
    day.sql(f"update project_days set fetch_record = null; delete from runs where run_id = {_FIRST}")
    zipped, rows = day.zip.read_bytes(), day.rows()["runs"]
    day.flip(day.zip, zipped.index(b".json") + 100)
    zipped = day.zip.read_bytes()
    fixed = day.fix()
    assert fixed.result.exit_code == 3
    assert {each.copy for each, _ in fixed.failed} >= {"files", "zip"}
    assert day.zip.read_bytes() == zipped
    assert set(day.rows()["runs"]) >= set(rows)


def test_what_shows_only_after_the_worst_is_repaired_next(day: DayOfCopies) -> None:
    golden = day.content()
    for path in [*day.traces(), day.attachment()]:
        path.unlink()
    _truncate(day.zip)
    day.sql(f"delete from runs where run_id = {_FIRST}; delete from project_days")
    assert day.compare().differences  # which is noted in the ledger
    damaged = day.exact()
    assert day.fix().result.exit_code == 0
    assert day.content()[0] == golden[0]
    assert day.undo().state == "done"
    assert_equal(day.exact(), damaged)


@pytest.mark.parametrize(
    "change",
    [
        lambda day: day.traces()[1].write_bytes(b"later"),
        lambda day: day.traces()[1].unlink(),
        lambda day: day.flip(day.object),
        _row(f"delete from runs where run_id = {_FIRST}"),
    ],
)
def test_what_came_after_a_repair_is_not_lost_by_taking_it_back(
    day: DayOfCopies, change: Callable[[DayOfCopies], object]
) -> None:
    _flip_text(day)
    day.flip(day.object)
    day.sql(f"delete from runs where run_id = {_FIRST}")
    assert day.fix().result.exit_code == 0
    change(day)
    before = day.exact()
    with pytest.raises(DifferencesFound, match="changed since the repair"):
        day.undo()
    assert_equal(day.exact(), before)


def test_a_ledger_without_the_record_of_a_fetch_learns_it_by_a_comparison(day: DayOfCopies) -> None:
    golden = day.rows()["project_days"]
    day.sql("update project_days set fetch_record = null")
    assert day.verify().exit_code == 0
    assert [json.loads(row)["fetch_record"] for row in day.rows()["project_days"]] == [
        json.loads(row)["fetch_record"] for row in golden
    ]


def test_what_a_repair_removes_is_not_counted_any_more(day: DayOfCopies) -> None:
    golden = day.content()
    day.load_a_stranger()
    assert day.content()[1]["daily_feedback"] != golden[1]["daily_feedback"]
    assert day.fix().result.exit_code == 0
    assert_equal(day.content(), golden)


def assert_equal(found: tuple[object, object], wanted: tuple[object, object]) -> None:
    assert found[0] == wanted[0]
    assert found[1] == wanted[1]


def test_a_sound_day_raises_no_alarm(tmp_path: Path, database_url: str) -> None:
    for seed in range(5):
        day = DayOfCopies(tmp_path / str(seed), database_url, seed)
        before = day.content()
        for depth in ("quick", "default", "deep"):
            assert day.compare(depth).differences == []
        assert day.verify().exit_code == 0
        assert day.fix().batch is None
        assert day.content() == before
        day.sql("truncate runs, feedback, project_days, daily_rollups, daily_traces, daily_feedback")


def _flip_second_line(day: DayOfCopies) -> None:
    path = day.folder / "_log.jsonl"
    day.flip(path, path.read_bytes().index(b"\n") + 20)


def _drop_last_line(day: DayOfCopies) -> None:
    path = day.folder / "_log.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("do", "says", "left"),
    [
        (_flip_second_line, "log: line 2 of _log.jsonl is damaged", 2),
        (_drop_last_line, "log: _log.jsonl lacks 1 line of 3", 2),
        (lambda day: (day.folder / "_log.jsonl").unlink(), "log: _log.jsonl lacks 3 lines of 3", 0),
    ],
)
def test_a_damaged_log_concerns_no_run_and_keeps_its_whole_lines(
    day: DayOfCopies, do: Callable[[DayOfCopies], object], says: str, left: int
) -> None:
    do(day)
    found, damaged = day.verify(), day.exact()
    assert (found.exit_code, found.details) == (3, (says,))
    assert (found.figures["differences"], found.figures["notes"]) == (1, 1)
    fixed = day.fix("damaged-log")
    assert (fixed.failed, fixed.result.exit_code) == ((), 0)
    assert len(read_log(day.folder)) == left
    assert day.undo().state == "done"
    assert_equal(day.exact(), damaged)


def test_a_folder_comes_back_with_what_the_ledger_knows_of_its_fetch(day: DayOfCopies) -> None:
    before = read_fetch_record(day.folder)
    assert before is not None
    shutil.rmtree(day.folder)
    assert "record: _fetch.json is gone" in map(str, day.compare().differences)
    assert day.fix().result.exit_code == 0
    assert read_fetch_record(day.folder) == replace(before, log_lines=0)
    assert day.undo().state == "done"
    with Resources(day.settings) as opened:
        restore(opened, DAY)
    assert read_fetch_record(day.folder) == replace(before, log_lines=0)
    assert day.verify().exit_code == 0


def test_a_record_that_nothing_proves_stays_and_says_what_writes_it_anew(day: DayOfCopies) -> None:
    path = day.folder / "_fetch.json"
    path.write_bytes(path.read_bytes()[:-10])
    day.sql("update project_days set fetch_record = null")
    before, fixed = day.all_bytes(), day.fix()
    assert fixed.result.exit_code == 3
    assert [str(each) for each in fixed.copies.differences] == [
        "record: _fetch.json is not as it was written"
    ]
    ((_, error),) = fixed.failed
    assert error.hint.endswith("lse archive fetch --project chat --date 2025-09-13")
    assert day.all_bytes() == before
